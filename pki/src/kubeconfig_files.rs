//! kubeadm's five kubeconfig files on a control-plane host, made or reused.

use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use junio_api::names;

use crate::cert_list::{CertId, Usage};
use crate::create::{FileOutcome, Outcome, load_authority};
use crate::error::{Drift, PkiError};
use crate::issue::{Authority, Leaf, Sans};
use crate::key_pool::KeyPool;
use crate::kubeconfig::{Kubeconfig, node_user};
use crate::parsed::{ParsedCertificate, rfc3339, sha256_text};
use crate::store::{self, MODE_DIRECTORY};
use crate::verify::{OnDisk, out_of_time};

/// One of the five.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KubeconfigId {
    Admin,
    SuperAdmin,
    Kubelet,
    ControllerManager,
    Scheduler,
}

impl KubeconfigId {
    /// In the order in which kubeadm writes them on the first host.
    pub const INIT: [Self; 5] =
        [Self::Admin, Self::SuperAdmin, Self::Kubelet, Self::ControllerManager, Self::Scheduler];
    /// Those of a joined control-plane host; its kubelet bootstraps itself.
    pub const JOIN: [Self; 3] = [Self::Admin, Self::ControllerManager, Self::Scheduler];

    /// For example `admin`, as in `init phase kubeconfig admin`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::SuperAdmin => "super-admin",
            Self::Kubelet => "kubelet",
            Self::ControllerManager => "controller-manager",
            Self::Scheduler => "scheduler",
        }
    }

    /// For example `admin.conf`.
    #[must_use]
    pub fn file_name(self) -> String {
        format!("{}.conf", self.name())
    }

    /// What `name` stands for.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::INIT.into_iter().find(|id| id.name() == name)
    }

    /// User name and groups.
    #[must_use]
    pub fn identity(self, node_name: &str) -> (String, Vec<String>) {
        let group = |name: &str| vec![name.to_owned()];
        match self {
            Self::Admin => ("kubernetes-admin".to_owned(), group(names::CLUSTER_ADMINS_GROUP)),
            Self::SuperAdmin => ("kubernetes-super-admin".to_owned(), group(names::MASTERS_GROUP)),
            Self::Kubelet => (node_user(node_name), group(names::NODES_GROUP)),
            Self::ControllerManager => ("system:kube-controller-manager".to_owned(), Vec::new()),
            Self::Scheduler => ("system:kube-scheduler".to_owned(), Vec::new()),
        }
    }

    /// Whether it talks to this host's API server rather than to the cluster's endpoint.
    const fn is_local(self) -> bool {
        matches!(self, Self::Kubelet | Self::ControllerManager | Self::Scheduler)
    }
}

/// What the five depend on.
#[derive(Debug, Clone)]
pub struct KubeconfigParams {
    /// `kubernetes` unless configured.
    pub cluster_name: String,
    pub node_name: String,
    /// `https://HOST:PORT` of `controlPlaneEndpoint`, or the same as `local_server`.
    pub endpoint_server: String,
    /// `https://ADDRESS:PORT` of this host's API server.
    pub local_server: String,
    pub validity: Duration,
    pub start: SystemTime,
}

impl KubeconfigParams {
    fn server(&self, id: KubeconfigId) -> &str {
        if id.is_local() { &self.local_server } else { &self.endpoint_server }
    }

    fn leaf(&self, id: KubeconfigId) -> Leaf {
        let (common_name, organizations) = id.identity(&self.node_name);
        client_leaf(id.file_name(), common_name, organizations, self.validity, self.start)
    }
}

fn client_leaf(
    name: String,
    common_name: String,
    organizations: Vec<String>,
    validity: Duration,
    start: SystemTime,
) -> Leaf {
    Leaf { name, common_name, organizations, usages: vec![Usage::Client], sans: Sans::default(), validity, start }
}

/// Makes what is missing of `ids` in `directory` with the CA of `pki`, reuses what fits, and refuses (before writing)
/// what differs. Without `ca.key` all of them must exist.
pub fn create(
    ids: &[KubeconfigId],
    params: &KubeconfigParams,
    pki: &Path,
    directory: &Path,
    pool: &KeyPool,
) -> Result<Vec<FileOutcome>, PkiError> {
    let ca = OnDisk::read(CertId::Ca.spec(), pki)?;
    let (_, ca_certificate) = ca
        .certificate
        .as_ref()
        .ok_or_else(|| PkiError::MissingCa { path: ca.certificate_path.clone(), wanted: "kubeconfigs" })?;
    let mut existing = Vec::new();
    let mut drifts = Vec::new();
    for id in ids {
        let path = directory.join(id.file_name());
        let config = Kubeconfig::load(&path)?;
        if let Some(config) = &config {
            drifts.extend(compare(
                config,
                &path,
                params.server(*id),
                ca_certificate,
                &ca.certificate_path,
                params.start,
            )?);
        }
        existing.push((*id, path, config));
    }
    if !drifts.is_empty() {
        return Err(PkiError::Drift { drifts });
    }
    let missing: Vec<_> =
        existing.iter().filter(|(.., config)| config.is_none()).map(|(_, path, _)| path.clone()).collect();
    if !missing.is_empty() && ca.key.is_none() {
        return Err(PkiError::ExternalCaIncomplete { ca: ca.certificate_path, missing });
    }
    store::ensure_directory(directory, MODE_DIRECTORY)?;
    let authority = if missing.is_empty() { None } else { Some(load_authority(CertId::Ca, pki)?) };
    let outcomes = thread::scope(|scope| {
        let running: Vec<_> = existing
            .iter()
            .map(|(id, path, config)| {
                scope.spawn(|| finish(*id, path, config.as_ref(), authority.as_ref(), params, pool))
            })
            .collect();
        running
            .into_iter()
            .map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Result<Vec<_>, _>>()
    })?;
    store::sync_directory(directory)?;
    Ok(outcomes)
}

fn finish(
    id: KubeconfigId,
    path: &Path,
    existing: Option<&Kubeconfig>,
    authority: Option<&Authority>,
    params: &KubeconfigParams,
    pool: &KeyPool,
) -> Result<FileOutcome, PkiError> {
    if let Some(config) = existing {
        return Ok(outcome(id, path, config.client_certificate(path)?.as_ref(), Outcome::Reused));
    }
    let authority = authority.ok_or_else(|| PkiError::MissingCa { path: path.to_owned(), wanted: id.name() })?;
    let leaf = params.leaf(id);
    let (config, certificate) = sign(authority, &params.cluster_name, params.server(id), &leaf, pool)?;
    config.write(path)?;
    Ok(outcome(id, path, Some(&certificate), Outcome::Created))
}

fn outcome(id: KubeconfigId, path: &Path, certificate: Option<&ParsedCertificate>, outcome: Outcome) -> FileOutcome {
    FileOutcome {
        name: id.file_name(),
        path: path.to_owned(),
        key: None,
        fingerprint: certificate.map_or_else(|| sha256_text(b""), ParsedCertificate::fingerprint),
        not_after: certificate.map(|c| rfc3339(c.not_after)),
        outcome,
    }
}

fn sign(
    authority: &Authority,
    cluster: &str,
    server: &str,
    leaf: &Leaf,
    pool: &KeyPool,
) -> Result<(Kubeconfig, ParsedCertificate), PkiError> {
    let key = pool.take()?;
    let (pem, parsed) = authority.issue(leaf, &key)?;
    let config = Kubeconfig::with_client_certificate(
        cluster,
        server,
        &authority.certificate_pem,
        &leaf.common_name,
        &pem,
        key.pem(),
    );
    Ok((config, parsed))
}

/// Replaces the client certificate and key of one of the five files (`certs renew admin.conf`); its server stays as it is.
pub fn renew(
    id: KubeconfigId,
    params: &KubeconfigParams,
    pki: &Path,
    directory: &Path,
    pool: &KeyPool,
) -> Result<FileOutcome, PkiError> {
    let authority = load_authority(CertId::Ca, pki)?;
    let path = directory.join(id.file_name());
    let existing = Kubeconfig::load(&path)?;
    let server =
        existing.as_ref().and_then(Kubeconfig::current).map_or(params.server(id), |(cluster, _)| &cluster.server);
    let (config, certificate) = sign(&authority, &params.cluster_name, server, &params.leaf(id), pool)?;
    config.write(&path)?;
    store::sync_directory(directory)?;
    Ok(outcome(id, &path, Some(&certificate), Outcome::Created))
}

/// A kubeconfig for an additional user (`kubeconfig user`), signed by the CA of `pki`; at most one group.
pub fn for_user(
    user: &str,
    groups: &[String],
    params: &KubeconfigParams,
    pki: &Path,
    pool: &KeyPool,
) -> Result<Kubeconfig, PkiError> {
    let authority = load_authority(CertId::Ca, pki)?;
    let leaf = client_leaf(user.to_owned(), user.to_owned(), groups.to_vec(), params.validity, params.start);
    sign(&authority, &params.cluster_name, &params.endpoint_server, &leaf, pool).map(|(config, _)| config)
}

/// How an existing file differs from the plan.
fn compare(
    config: &Kubeconfig,
    path: &Path,
    server: &str,
    ca: &ParsedCertificate,
    ca_path: &Path,
    now: SystemTime,
) -> Result<Vec<Drift>, PkiError> {
    let Some((cluster, _)) = config.current() else {
        return Err(PkiError::Kubeconfig { path: path.to_owned(), reason: "it has no cluster".to_owned() });
    };
    let mut drifts = Vec::new();
    if cluster.server != server {
        drifts.push(Drift::Server {
            path: path.to_owned(),
            expected: server.to_owned(),
            found: cluster.server.clone(),
        });
    }
    let trusted =
        config.ca_pem(path)?.map(|pem| ParsedCertificate::from_pem(&pem, &path.display().to_string())).transpose()?;
    if trusted.is_none_or(|trusted| trusted.der != ca.der) {
        drifts.push(Drift::OtherCa { path: path.to_owned(), ca: ca_path.to_owned() });
    }
    if let Some(client) = config.client_certificate(path)? {
        drifts.extend(out_of_time(&client, path, now));
        if !client.is_signed_by(ca) {
            drifts.push(Drift::NotSignedBy { path: path.to_owned(), ca: ca_path.to_owned() });
        }
    }
    Ok(drifts)
}
