//! junio-phases
