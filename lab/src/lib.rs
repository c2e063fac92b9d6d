//! junio-lab
