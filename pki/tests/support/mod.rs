//! Inputs of the reference node, and a PKI directory made for it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use junio_pki::{KeyAlgorithm, KeyPool, KubeconfigId, KubeconfigParams, PkiParams, PkiReport};

pub const HOUR: Duration = Duration::from_secs(3600);
pub const SERVER: &str = "https://10.78.0.11:6443";

pub fn params(algorithm: KeyAlgorithm) -> PkiParams {
    PkiParams {
        node_name: "ka-1".to_owned(),
        advertise_address: [10, 78, 0, 11].into(),
        service_address: [10, 96, 0, 1].into(),
        endpoint_host: None,
        dns_domain: "cluster.local".to_owned(),
        api_server_sans: Vec::new(),
        etcd_server_sans: Vec::new(),
        etcd_peer_sans: Vec::new(),
        local_etcd: true,
        algorithm,
        certificate_validity: 8760 * HOUR,
        ca_validity: 87600 * HOUR,
        start: SystemTime::now(),
    }
}

pub fn kubeconfig_params() -> KubeconfigParams {
    KubeconfigParams {
        cluster_name: "kubernetes".to_owned(),
        node_name: "ka-1".to_owned(),
        endpoint_server: SERVER.to_owned(),
        local_server: SERVER.to_owned(),
        validity: 8760 * HOUR,
        start: SystemTime::now(),
    }
}

/// A temporary `/etc/kubernetes` with everything in it.
pub struct Made {
    pub root: tempfile::TempDir,
    pub report: PkiReport,
}

impl Made {
    pub fn new(algorithm: KeyAlgorithm) -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        let pool = KeyPool::start(algorithm, 16);
        let report = junio_pki::create_all(&params(algorithm), &root.path().join("pki"), &pool).expect("creates");
        junio_pki::kubeconfig_files::create(
            &KubeconfigId::INIT,
            &kubeconfig_params(),
            &root.path().join("pki"),
            root.path(),
            &pool,
        )
        .expect("creates");
        Self { root, report }
    }

    pub fn pki(&self) -> PathBuf {
        self.root.path().join("pki")
    }

    pub fn kubernetes(&self) -> &Path {
        self.root.path()
    }
}
