//! junio-templates
