//! Phases `etcd` and `control-plane`: static pod manifests, landed by rename. A manifest that drifted is rewritten and said so.

use crate::changes::Written;
use crate::context::Context;
use crate::error::{Cause, PhaseError};
use crate::init::certs::Certificates;
use crate::init::kubeconfig::{FirstKubeconfigs, Kubeconfigs};
use crate::phase_id::PhaseId;
use crate::render::{self, Component};
use crate::run::done_if;

/// etcd and the API server can be started by a kubelet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FirstPods(());

/// Controller manager and scheduler too.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AllPods(());

/// What a kubelet needs first.
pub(crate) async fn first_pods(
    ctx: &Context<'_>,
    certificates: &Certificates,
    _conf: &FirstKubeconfigs,
) -> Result<FirstPods, PhaseError> {
    if ctx.plan.pki.local_etcd {
        let line = "Creating static Pod manifest for local etcd in \"/etc/kubernetes/manifests\"";
        phase(ctx, PhaseId::EtcdLocal, Component::Etcd, certificates, Some(line)).await?;
    } else {
        ctx.leave_out(PhaseId::EtcdLocal);
    }
    phase(ctx, PhaseId::ControlPlaneApiserver, Component::ApiServer, certificates, None).await?;
    Ok(FirstPods(()))
}

/// The rest, to be called when the API server lets these two in: started before that, they are refused once and back off
/// for seconds. The controller manager asks the API server for its health too and looks again only after a second: its
/// manifest waits for `soon_healthy`.
pub(crate) async fn other_pods(
    ctx: &Context<'_>,
    certificates: &Certificates,
    _conf: Kubeconfigs,
    _first: FirstPods,
    soon_healthy: impl Future<Output = Result<(), PhaseError>>,
) -> Result<AllPods, PhaseError> {
    tokio::try_join!(
        async {
            soon_healthy.await?;
            phase(ctx, PhaseId::ControlPlaneControllerManager, Component::ControllerManager, certificates, None).await
        },
        phase(ctx, PhaseId::ControlPlaneScheduler, Component::Scheduler, certificates, None),
    )?;
    Ok(AllPods(()))
}

async fn phase(
    ctx: &Context<'_>,
    id: PhaseId,
    component: Component,
    certificates: &Certificates,
    line: Option<&str>,
) -> Result<(), PhaseError> {
    if !ctx.wants(id) {
        ctx.leave_out(id);
        return Ok(());
    }
    ctx.run
        .phase(id, async {
            let layout = ctx.changes.host.layout();
            if id == PhaseId::ControlPlaneApiserver {
                ctx.run.line(id, "Using manifest folder \"/etc/kubernetes/manifests\"");
            }
            ctx.run.line(
                id,
                line.map_or_else(|| format!("Creating static Pod manifest for {:?}", component.name()), str::to_owned),
            );
            let text = render::manifest(ctx.plan, component, certificates.external_ca)?;
            let mut directories = vec![(layout.manifests_dir(), 0o700)];
            if component == Component::Etcd {
                let local = ctx.plan.documents.cluster.etcd.local.as_ref();
                let data_dir = local.map(|local| layout.root().join(local.data_dir.trim_start_matches('/')));
                directories.extend(data_dir.map(|path| (path, 0o700)));
            }
            ctx.changes.directories(id, &directories).await?;
            let path = layout.manifest(component.name());
            let written = ctx.changes.write(id, &path, text.as_bytes(), 0o600).await?;
            if written == Written::Changed {
                ctx.run.warn(
                    id,
                    format!(
                        "{} differed from this configuration and was rewritten; the kubelet restarts the pod",
                        path.display()
                    ),
                );
            }
            Ok::<_, Cause>(((), done_if(written != Written::Unchanged)))
        })
        .await
}
