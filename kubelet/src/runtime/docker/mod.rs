//! Docker Engine as a `PodRuntime`.

mod capability;
mod client;
mod container;
mod convert;
mod dial;
mod engine;
mod error;
mod events;
mod exec;
mod exec_sync;
mod exits;
mod image;
mod labels;
mod log_links;
mod logs;
mod naming;
mod pidfd_info;
mod process;
mod sandbox;
mod security;
mod socket;
mod stats;
mod stop;
mod streams;

pub use client::{DockerOptions, DockerRuntime};
