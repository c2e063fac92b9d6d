//! The nouns that every other crate shares: names, paths, ports, versions, secrets, hints, configuration types.
//!
//! Nothing here does I/O, knows a clock or talks to a network, except that a `Layout` can be rooted anywhere so that tests
//! work on temporary directories.

pub mod cidr;
pub mod config;
pub mod duration;
pub mod hint;
pub mod images;
pub mod names;
pub mod paths;
pub mod ports;
pub mod secret;
pub mod token;
pub mod versions;
pub mod yaml;

pub use hint::{Code, Hint};
pub use paths::Layout;
pub use secret::Secret;
pub use token::Token;
