//! What precedes the first change: facts, checks, plan. Reads only.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use junio_api::Layout;
use junio_api::config::InitDocuments;
use junio_bundle::Bundle;
use junio_host::{Docker, Facts, facts};
use junio_pki::KubeconfigId;
use junio_templates::patch::Target;

use crate::error::Cause;
use crate::init::certs;
use crate::journal::Journal;
use crate::patches::{self, PatchesError};
use crate::phase_id::PhaseId;
use crate::plan::Plan;
use crate::preflight::{self, Input, Verdict};
use crate::render;
use crate::run::Run;

/// Facts and findings about this host.
pub(crate) struct Examined {
    pub(crate) facts: Facts,
    pub(crate) bundle: Option<Arc<Bundle>>,
    pub(crate) docker: Option<Docker>,
    pub(crate) findings: Vec<Verdict>,
    pub(crate) checks: usize,
}

/// Looks at everything at once. `ours`: an earlier run of ours made changes here. `judged`: somebody wants the findings, so
/// that other hosts are asked too.
pub(crate) async fn examine(
    documents: &InitDocuments,
    layout: &Layout,
    bundle: &std::path::Path,
    overlay: bool,
    ours: bool,
    judged: bool,
) -> Examined {
    let wanted = preflight::images_of(documents, overlay);
    let path = bundle.to_owned();
    // A host that is being looked at again has had its bundle checked; parts are checked again when they are used.
    let bundle_check = tokio::task::spawn_blocking(move || preflight::check_bundle(&path, &wanted, !ours));
    let ports = preflight::ports_of(documents);
    let socket = layout.docker_socket();
    let etcd = async {
        match documents.cluster.etcd.external.as_ref().filter(|_| judged) {
            Some(external) => preflight::external_etcd(external, layout.root()).await,
            None => Vec::new(),
        }
    };
    let (facts, docker, bundle_check, external_etcd) =
        tokio::join!(facts::gather(layout, &ports), Docker::connect(&socket), bundle_check, etcd);
    let (bundle, verdict) = match bundle_check {
        Ok(checked) => checked,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    let proxies = proxies();
    let (findings, checks) = preflight::evaluate(&Input {
        facts: &facts,
        documents,
        ours,
        overlay,
        bundle: verdict,
        external_etcd,
        proxies: &proxies,
    });
    Examined { facts, bundle, docker: docker.ok(), findings, checks }
}

/// The plan for this host. Patches are read, and tried on everything that they are for, before anything is changed.
pub(crate) fn plan(
    run: &Run<'_>,
    documents: &InitDocuments,
    facts: &Facts,
    layout: &Layout,
    overlay: bool,
) -> Result<Plan, Cause> {
    const ID: PhaseId = PhaseId::Preflight;
    let mut plan = Plan::new(documents, facts, layout, overlay, proxies(), SystemTime::now())?;
    let Some(directory) = documents.init.patches.as_ref().map(|patches| &patches.directory).filter(|d| !d.is_empty())
    else {
        return Ok(plan);
    };
    run.line_as(ID, "patches", format!("Reading patches from path {directory:?}"));
    let found = patches::read(Path::new(directory))?;
    if !found.files.is_empty() {
        run.line_as(ID, "patches", format!("Found the following patch files: [{}]", found.files.join(" ")));
    }
    for (name, reason) in found.ignored {
        run.warn(ID, format!("patches: ignoring the file {name:?}: {reason}"));
    }
    plan.kubelet_config = found.patches.apply(Target::Kubelet, plan.kubelet_config).map_err(PatchesError::from)?;
    plan.patches = found.patches;
    render::try_patches(&plan)?;
    Ok(plan)
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
