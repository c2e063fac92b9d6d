//! The checks before anything is changed: gathered facts are judged, all failures are told at once.

mod checks;
mod docker;
mod external_etcd;
mod join;
mod network;
mod verdict;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use junio_api::hint::Hint;
use junio_api::images::Image;
use junio_api::{ports, versions};
use junio_bundle::Bundle;
use junio_host::Facts;

pub(crate) use checks::{evaluate, resolv_conf};
pub(crate) use external_etcd::check as external_etcd;
pub(crate) use join::{JoinInput, Standing, evaluate_join, in_cluster};
pub(crate) use network::subnets;
pub(crate) use verdict::{Severity, Verdict};

use crate::error::{Cause, CheckFailure, InPhase, PhaseError};
use crate::event::Event;
use crate::options::PreflightReport;
use crate::phase_id::PhaseId;
use crate::run::Run;
use junio_api::config::InitDocuments;

/// What the checks look at.
pub(crate) struct Input<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) documents: &'a InitDocuments,
    /// A run of ours began on this host and was not undone: its files, ports and routes are no obstacle.
    pub(crate) ours: bool,
    /// The network is ours to install.
    pub(crate) overlay: bool,
    /// What is wrong with the bundle.
    pub(crate) bundle: Option<Verdict>,
    /// What is wrong with an etcd that somebody else runs.
    pub(crate) external_etcd: Vec<Verdict>,
    /// `*_proxy` variables of the caller.
    pub(crate) proxies: &'a [(String, String)],
}

/// The ports of a control plane host with these documents; the facts are gathered for them.
pub(crate) fn ports_of(documents: &InitDocuments) -> Vec<u16> {
    vec![
        documents.init.local_api_endpoint.bind_port,
        ports::CONTROLLER_MANAGER,
        ports::SCHEDULER,
        ports::KUBELET,
        ports::KUBELET_HEALTHZ,
        ports::ETCD_CLIENT,
        ports::ETCD_PEER,
        ports::ETCD_METRICS,
        ports::VXLAN,
    ]
}

/// Opens the bundle and checks that it is whole and the right one. `thorough` reads every byte. Blocks.
pub(crate) fn check_bundle(path: &Path, wanted: &[String], thorough: bool) -> (Option<Arc<Bundle>>, Option<Verdict>) {
    let open = || -> Result<Bundle, Box<Verdict>> {
        let bundle = Bundle::open(path).map_err(|error| bundle_verdict(&error))?;
        let found = bundle.manifest().versions.get("kubernetes").cloned().unwrap_or_default();
        if found != versions::KUBERNETES {
            let text =
                format!("{} carries Kubernetes {found}, this junioadm needs {}", path.display(), versions::KUBERNETES);
            let verdict = Verdict::error("Bundle", "BUNDLE-VERSION", text, "junioadm version");
            return Err(Box::new(verdict.because("take the bundle that was built with this junioadm")));
        }
        if let Some(missing) = wanted.iter().find(|reference| bundle.manifest().image(reference).is_none()) {
            let text = format!("{} has no image {missing}", path.display());
            return Err(Box::new(Verdict::error("Bundle", "BUNDLE-INCOMPLETE", text, "junioadm config images list")));
        }
        if thorough {
            bundle.verify_stored().map_err(|error| bundle_verdict(&error))?;
        }
        Ok(bundle)
    };
    match open() {
        Ok(bundle) => (Some(Arc::new(bundle)), None),
        Err(verdict) => (None, Some(*verdict)),
    }
}

fn bundle_verdict(error: &junio_bundle::BundleError) -> Box<Verdict> {
    Box::new(Verdict {
        check: "Bundle".to_owned(),
        severity: Severity::Error,
        code: error.code(),
        text: error.to_string(),
        next_step: error.next_step().unwrap_or_default(),
    })
}

/// The images of a control plane host, those it cannot start without first.
pub(crate) fn images_of(documents: &InitDocuments, overlay: bool) -> Vec<String> {
    let cluster = &documents.cluster;
    let local = cluster.etcd.local.as_ref();
    let mut images = vec![Image::Pause.reference(&cluster.image_repository)];
    if local.is_some() {
        images.push(etcd_image(documents));
    }
    images.extend(
        [Image::ApiServer, Image::ControllerManager, Image::Scheduler]
            .map(|image| image.reference(&cluster.image_repository)),
    );
    if !cluster.proxy.disabled {
        images.push(Image::Proxy.reference(&cluster.image_repository));
    }
    if !cluster.dns.disabled {
        images.push(coredns_image(documents));
    }
    if overlay {
        images.push(Image::Flannel.reference(&cluster.image_repository));
    }
    images
}

/// CoreDNS as configured. A repository of its own holds it as `coredns`, as with kubeadm.
pub(crate) fn coredns_image(documents: &InitDocuments) -> String {
    let cluster = &documents.cluster;
    let tag = if cluster.dns.image_tag.is_empty() { Image::CoreDns.tag() } else { cluster.dns.image_tag.clone() };
    if cluster.dns.image_repository.is_empty() {
        format!("{}/{}:{tag}", cluster.image_repository, Image::CoreDns.name())
    } else {
        format!("{}/coredns:{tag}", cluster.dns.image_repository)
    }
}

/// etcd as configured.
pub(crate) fn etcd_image(documents: &InitDocuments) -> String {
    let cluster = &documents.cluster;
    let (own, tag) = cluster.etcd.local.as_ref().map_or(("", ""), |local| (&local.image_repository, &local.image_tag));
    let repository = if own.is_empty() { &cluster.image_repository } else { own };
    if tag.is_empty() {
        Image::Etcd.reference(repository)
    } else {
        format!("{repository}/{}:{tag}", Image::Etcd.name())
    }
}

/// The check that comes before all others, the lock included: without privileges nothing else can be told.
pub(crate) fn require_root(run: &Run<'_>, command: &str, ignored: &BTreeSet<String>) -> Result<(), PhaseError> {
    let verdict = (!nix::unistd::geteuid().is_root())
        .then(|| Verdict::error("IsPrivilegedUser", "NOT-ROOT", "user is not running as root", command));
    judge(run, verdict.into_iter().collect(), ignored, 1).map(|_| ()).in_phase(PhaseId::Preflight)
}

/// Turns verdicts into events and, unless all of them are ignored, into one error.
pub(crate) fn judge(
    run: &Run<'_>,
    verdicts: Vec<Verdict>,
    ignored: &BTreeSet<String>,
    checks: usize,
) -> Result<PreflightReport, Cause> {
    let is_ignored = |check: &str| ignored.contains("all") || ignored.contains(&check.to_lowercase());
    let mut report = PreflightReport { checks, warnings: 0 };
    let mut failures = Vec::new();
    for verdict in verdicts {
        let Verdict { check, severity, code, text, next_step } = verdict;
        if severity == Severity::Warning || is_ignored(&check) {
            report.warnings += 1;
            run.event(&Event::Warning { phase: Some(PhaseId::Preflight), check: Some(check), code: Some(code), text });
        } else {
            run.event(&Event::CheckFailed { check: check.clone(), code, text: text.clone() });
            failures.push(CheckFailure { check, code, text, next_step });
        }
    }
    if failures.is_empty() { Ok(report) } else { Err(Cause::Preflight(failures)) }
}
