//! Whole files of ssh_config.
