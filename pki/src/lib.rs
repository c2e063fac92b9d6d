//! junio-pki
