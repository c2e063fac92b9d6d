//! What precedes the first change: facts, checks, plan. Reads only.

use std::sync::Arc;
use std::time::SystemTime;

use junio_api::Layout;
use junio_api::config::InitDocuments;
use junio_bundle::Bundle;
use junio_host::{Docker, Facts, facts};
use junio_pki::KubeconfigId;

use crate::error::Cause;
use crate::init::certs;
use crate::journal::Journal;
use crate::phase_id::PhaseId;
use crate::plan::Plan;
use crate::preflight::{self, Input, Verdict};

/// Facts and findings about this host.
pub(crate) struct Examined {
    pub(crate) facts: Facts,
    pub(crate) bundle: Option<Arc<Bundle>>,
    pub(crate) docker: Option<Docker>,
    pub(crate) findings: Vec<Verdict>,
    pub(crate) checks: usize,
}

/// Looks at everything at once. `ours`: an earlier run of ours made changes here.
pub(crate) async fn examine(
    documents: &InitDocuments,
    layout: &Layout,
    bundle: &std::path::Path,
    overlay: bool,
    ours: bool,
) -> Examined {
    let wanted = preflight::images_of(documents, overlay);
    let path = bundle.to_owned();
    // A host that is being looked at again has had its bundle checked; parts are checked again when they are used.
    let bundle_check = tokio::task::spawn_blocking(move || preflight::check_bundle(&path, &wanted, !ours));
    let ports = preflight::ports_of(documents);
    let socket = layout.docker_socket();
    let (facts, docker, bundle_check) =
        tokio::join!(facts::gather(layout, &ports), Docker::connect(&socket), bundle_check);
    let (bundle, verdict) = match bundle_check {
        Ok(checked) => checked,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    let proxies = proxies();
    let (findings, checks) =
        preflight::evaluate(&Input { facts: &facts, documents, ours, overlay, bundle: verdict, proxies: &proxies });
    Examined { facts, bundle, docker: docker.ok(), findings, checks }
}

/// The plan for this host.
pub(crate) fn plan(documents: &InitDocuments, facts: &Facts, layout: &Layout, overlay: bool) -> Result<Plan, Cause> {
    Plan::new(documents, facts, layout, overlay, proxies(), SystemTime::now())
}

/// The caller's `*_proxy` variables, which end up in the manifests as with kubeadm.
fn proxies() -> Vec<(String, String)> {
    std::env::vars().filter(|(name, value)| name.to_lowercase().ends_with("_proxy") && !value.is_empty()).collect()
}

/// How many keys a run will need: those that are not there.
pub(crate) fn missing_keys(documents: &InitDocuments, layout: &Layout, wants: impl Fn(PhaseId) -> bool) -> usize {
    let mut count = 0;
    if wants(PhaseId::CertsSa) || wants(PhaseId::CertsCa) {
        let pki_dir = layout.root().join(documents.cluster.certificates_dir.trim_start_matches('/'));
        let files = certs::files(&pki_dir, documents.cluster.etcd.external.is_none());
        count += files.iter().filter(|path| path.extension().is_some_and(|e| e == "key") && !path.exists()).count();
    }
    if wants(PhaseId::KubeconfigAdmin) {
        count += KubeconfigId::INIT.iter().filter(|id| !layout.kubernetes_dir().join(id.file_name()).exists()).count();
    }
    count
}

/// Whether an earlier run of ours made changes on this host.
pub(crate) fn open_journal(layout: &Layout) -> Result<Journal, Cause> {
    Journal::open(&layout.journal()).map_err(Cause::other)
}
