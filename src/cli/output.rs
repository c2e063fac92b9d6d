//! The forms of output that commands offer.

use clap::ValueEnum;

/// A run that takes a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum RunOutput {
    /// Lines for people
    #[default]
    Text,
    /// Events as JSON lines on stderr, the report as one JSON object on stdout
    Json,
}

/// A list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListOutput {
    Text,
    Json,
    Yaml,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VersionOutput {
    Text,
    Json,
    Yaml,
    /// The version alone
    Short,
}
