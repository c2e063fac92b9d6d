//! Phase `kubeconfig`: five files with embedded client certificates.

use std::time::Duration;

use junio_pki::{KubeconfigId, kubeconfig_files};

use crate::context::Context;
use crate::error::{Cause, InPhase, PhaseError};
use crate::init::certs::{Certificates, blocking};
use crate::phase_id::PhaseId;
use crate::run::done_if;

const MEMBERS: [(PhaseId, KubeconfigId); 5] = [
    (PhaseId::KubeconfigAdmin, KubeconfigId::Admin),
    (PhaseId::KubeconfigSuperAdmin, KubeconfigId::SuperAdmin),
    (PhaseId::KubeconfigKubelet, KubeconfigId::Kubelet),
    (PhaseId::KubeconfigControllerManager, KubeconfigId::ControllerManager),
    (PhaseId::KubeconfigScheduler, KubeconfigId::Scheduler),
];

/// What the kubelet and we need first is there; the others are made while the control plane starts.
#[derive(Debug)]
pub(crate) struct FirstKubeconfigs {
    rest: Vec<KubeconfigId>,
    changed: bool,
    started: Duration,
}

/// All files are there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kubeconfigs(());

/// Without these no API server is of use to us.
const FIRST: [KubeconfigId; 2] = [KubeconfigId::Kubelet, KubeconfigId::SuperAdmin];

/// The files that this run is to make.
pub(crate) fn wanted(ctx: &Context<'_>) -> Vec<KubeconfigId> {
    MEMBERS.into_iter().filter(|(phase, _)| ctx.wants(*phase)).map(|(_, id)| id).collect()
}

/// Makes what is missing of the first two. The CA's certificate must exist, hence the argument.
pub(crate) async fn first(ctx: &Context<'_>, _certificates: &Certificates) -> Result<FirstKubeconfigs, PhaseError> {
    let started = ctx.run.elapsed();
    let (first, rest): (Vec<_>, Vec<_>) = wanted(ctx).into_iter().partition(|id| FIRST.contains(id));
    if !(first.is_empty() && rest.is_empty()) {
        ctx.run.started(PhaseId::Kubeconfig);
        let own = std::path::Path::new("/etc/kubernetes");
        let folder = ctx.options.kubeconfig_dir.as_deref().unwrap_or(own).display().to_string();
        ctx.run.line(PhaseId::Kubeconfig, format!("Using kubeconfig folder {folder:?}"));
    }
    let changed = create(ctx, first).await.in_phase(PhaseId::Kubeconfig)?;
    Ok(FirstKubeconfigs { rest, changed, started })
}

impl FirstKubeconfigs {
    /// Makes the others.
    pub(crate) async fn finish(self, ctx: &Context<'_>) -> Result<Kubeconfigs, PhaseError> {
        if !MEMBERS.iter().any(|(phase, _)| ctx.wants(*phase)) {
            ctx.leave_out(PhaseId::Kubeconfig);
            return Ok(Kubeconfigs(()));
        }
        let changed = create(ctx, self.rest).await.in_phase(PhaseId::Kubeconfig)?;
        ctx.run.finished(PhaseId::Kubeconfig, done_if(changed || self.changed), self.started);
        Ok(Kubeconfigs(()))
    }
}

async fn create(ctx: &Context<'_>, ids: Vec<KubeconfigId>) -> Result<bool, Cause> {
    if ids.is_empty() {
        return Ok(false);
    }
    let own = ctx.changes.host.layout().kubernetes_dir();
    let directory = ctx.options.kubeconfig_dir.clone().unwrap_or(own);
    ctx.changes.directories(PhaseId::Kubeconfig, &[(directory.clone(), 0o755)]).await?;
    let files: Vec<_> = ids.iter().map(|id| directory.join(id.file_name())).collect();
    ctx.changes.intend_absent(PhaseId::Kubeconfig, &files).await?;
    let (params, pki_dir, pool) = (ctx.plan.kubeconfigs.clone(), ctx.plan.pki_dir.clone(), ctx.keys.clone());
    let outcomes = blocking(move || kubeconfig_files::create(&ids, &params, &pki_dir, &directory, &pool)).await?;
    for file in &outcomes {
        let text = match file.outcome {
            junio_pki::Outcome::Created => format!("Writing {:?} kubeconfig file", file.name),
            junio_pki::Outcome::Reused => {
                format!("Using existing kubeconfig file: {:?}", file.path.display().to_string())
            }
        };
        ctx.run.line(PhaseId::Kubeconfig, text);
    }
    Ok(outcomes.iter().any(|file| file.outcome == junio_pki::Outcome::Created))
}
