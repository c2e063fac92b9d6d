//! junio-bundle
