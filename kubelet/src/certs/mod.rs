//! How the kubelet proves who it is: its connection to the API server and the certificates behind it.

pub mod bootstrap;
pub mod client;
mod request;
pub mod rotate;
pub mod serving;
pub mod store;

pub use client::{ApiClient, CertsError};
pub use store::CertificateStore;
