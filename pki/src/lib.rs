//! Keys, certificates, kubeconfigs and bootstrap-token signatures, as kubeadm v1.36.3 writes them.
//!
//! Plain functions on directories and parameter structs: no configuration types, no network, no async. Results name
//! paths, fingerprints and what was done to each file; a key never leaves this crate except inside a `Secret` or a file
//! of mode 0600. rcgen issues, aws-lc-rs computes, x509-parser reads back.

pub mod cert_list;
pub mod certificate_key;
pub mod create;
pub mod csr;
pub mod error;
pub mod expiry;
pub mod issue;
pub mod key;
pub mod key_pool;
pub mod kubeconfig;
pub mod kubeconfig_files;
pub mod parsed;
pub mod store;
pub mod tls;
pub mod token;
pub mod verify;

mod der;

pub use cert_list::{CERTIFICATES, CertId, CertSpec};
pub use create::{FileOutcome, Outcome, PkiReport, create_all, create_one, create_service_account_keys};
pub use error::{Drift, PkiError};
pub use issue::PkiParams;
pub use key::{KeyAlgorithm, PrivateKey};
pub use key_pool::KeyPool;
pub use kubeconfig::Kubeconfig;
pub use kubeconfig_files::{KubeconfigId, KubeconfigParams};
