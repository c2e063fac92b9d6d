//! junio-host
