//! Phase `kubeconfig`: five files with embedded client certificates.

use junio_pki::{KubeconfigId, kubeconfig_files};

use crate::context::Context;
use crate::error::PhaseError;
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

/// That the files are there; only the phase itself can say so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kubeconfigs(());

/// Makes what is missing. The CA's certificate must exist, hence the argument.
pub(crate) async fn kubeconfig(ctx: &Context<'_>, _certificates: &Certificates) -> Result<Kubeconfigs, PhaseError> {
    let ids: Vec<KubeconfigId> = MEMBERS.into_iter().filter(|(phase, _)| ctx.wants(*phase)).map(|(_, id)| id).collect();
    if ids.is_empty() {
        ctx.leave_out(PhaseId::Kubeconfig);
        return Ok(Kubeconfigs(()));
    }
    ctx.run
        .phase(PhaseId::Kubeconfig, async {
            let directory = ctx.changes.host.layout().kubernetes_dir();
            ctx.run.line(PhaseId::Kubeconfig, "Using kubeconfig folder \"/etc/kubernetes\"");
            ctx.changes.directories(PhaseId::Kubeconfig, &[(directory.clone(), 0o755)]).await?;
            let files: Vec<_> = ids.iter().map(|id| directory.join(id.file_name())).collect();
            ctx.changes.intend_absent(PhaseId::Kubeconfig, &files).await?;
            let (params, pki_dir, pool) = (ctx.plan.kubeconfigs.clone(), ctx.plan.pki_dir.clone(), ctx.keys.clone());
            let outcomes =
                blocking(move || kubeconfig_files::create(&ids, &params, &pki_dir, &directory, &pool)).await?;
            for file in &outcomes {
                let text = match file.outcome {
                    junio_pki::Outcome::Created => format!("Writing {:?} kubeconfig file", file.name),
                    junio_pki::Outcome::Reused => {
                        format!("Using existing kubeconfig file: {:?}", file.path.display().to_string())
                    }
                };
                ctx.run.line(PhaseId::Kubeconfig, text);
            }
            let changed = outcomes.iter().any(|file| file.outcome == junio_pki::Outcome::Created);
            Ok((Kubeconfigs(()), done_if(changed)))
        })
        .await
}
