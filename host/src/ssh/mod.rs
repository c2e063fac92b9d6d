//! Other hosts over SSH, as strictly as OpenSSH: who they are (known_hosts, host certificates), how to reach them
//! (ssh_config, ProxyJump), who we are there (agent, key files), and root there (sudo).
//!
//! [`Connection`] is one connection with many channels. Nothing here knows a terminal: secrets come from a [`Prompter`].
//! docs/SSH.md says what is read and where this differs from OpenSSH.

mod agent;
mod channel;
mod client;
pub mod config;
mod connect;
mod connection;
mod error;
mod hint;
mod identity;
mod keyfile;
pub mod known_hosts;
mod lines;
mod login;
mod pattern;
mod prompter;
mod route;
mod send;
mod settings;
mod sudo;
mod target;
mod words;

pub use channel::{Ended, Stream};
pub use client::HostIdentity;
pub use connection::Connection;
pub use error::SshError;
pub use prompter::{NoPrompter, Prompter};
pub use settings::{HostKeyPolicy, Settings, SudoPolicy};
pub use target::Target;
