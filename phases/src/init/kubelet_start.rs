//! Phase `kubelet-start`: the kubelet's files, its service, and the kernel settings that a node needs.

use junio_host::sysctl::SysctlChange;

use crate::changes::Written;
use crate::context::{Context, KUBELET_SERVICE};
use crate::error::{Cause, PhaseError};
use crate::init::images::Installed;
use crate::init::manifests::FirstPods;
use crate::journal::Change;
use crate::phase_id::PhaseId;
use crate::render;
use crate::run::done_if;

/// Settings that pods and services need, and whether doing without one is worth a word.
const SYSCTLS: [(&str, &str); 2] = [("net.ipv4.ip_forward", "1"), ("net.bridge.bridge-nf-call-iptables", "1")];

/// Files and unit are in place, nothing runs yet; made while certificates are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prepared {
    changed: bool,
}

/// The kubelet was started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KubeletStarted(());

/// For a phase that is run alone on a host whose kubelet an earlier run started.
pub(crate) fn assumed() -> KubeletStarted {
    KubeletStarted(())
}

/// Writes everything that does not depend on certificates.
pub(crate) async fn prepare(ctx: &Context<'_>) -> Result<Prepared, PhaseError> {
    if !ctx.wants(PhaseId::KubeletStart) {
        return Ok(Prepared { changed: false });
    }
    files(ctx).await.map_err(|cause| cause.in_phase(PhaseId::KubeletStart))
}

async fn files(ctx: &Context<'_>) -> Result<Prepared, Cause> {
    const ID: PhaseId = PhaseId::KubeletStart;
    let layout = ctx.changes.host.layout();
    let directories = [
        (layout.kubelet_dir(), 0o700),
        (layout.cni_conf_dir(), 0o755),
        (layout.pod_log_dir(), 0o755),
        (layout.container_log_dir(), 0o755),
        (layout.manifests_dir(), 0o700),
    ];
    ctx.changes.directories(ID, &directories).await?;
    let mut changed = false;
    for file in render::kubelet_files(ctx.plan)? {
        let path = layout.kubelet_dir().join(file.name);
        let written = ctx.changes.write(ID, &path, file.text.as_bytes(), 0o644).await?;
        changed |= written != Written::Unchanged;
        let what = if file.name.ends_with(".env") { "environment file with flags" } else { "configuration" };
        ctx.run.line(ID, format!("Writing kubelet {what} to file {:?}", path.display().to_string()));
    }
    for (name, value) in SYSCTLS {
        match ctx.changes.sysctl(ID, name, value)? {
            SysctlChange::Changed { .. } => changed = true,
            SysctlChange::Refused { reason } if name == "net.ipv4.ip_forward" => {
                ctx.run.warn(ID, format!("{name} could not be set to {value}: {reason}"));
            }
            SysctlChange::Refused { .. } | SysctlChange::Unchanged => {}
        }
    }
    if ctx.services() == junio_host::ServiceManager::Systemd {
        let unit = render::unit(layout)?;
        ctx.changes.intend(ID, Change::Service { name: KUBELET_SERVICE.to_owned() })?;
        let written = ctx.changes.write(ID, &layout.kubelet_unit(), unit.as_bytes(), 0o644).await?;
        if written != Written::Unchanged {
            changed = true;
            ctx.services().reload(ctx.changes.host).await?;
        }
    } else {
        ctx.changes.intend(ID, Change::Service { name: KUBELET_SERVICE.to_owned() })?;
    }
    Ok(Prepared { changed })
}

/// Starts the kubelet, or leaves it alone when it runs with the same files and program.
pub(crate) async fn start(
    ctx: &Context<'_>,
    prepared: Prepared,
    installed: Installed,
    _pods: FirstPods,
) -> Result<KubeletStarted, PhaseError> {
    const ID: PhaseId = PhaseId::KubeletStart;
    if !ctx.wants(ID) {
        ctx.leave_out(ID);
        return Ok(KubeletStarted(()));
    }
    ctx.run
        .phase(ID, async {
            let (host, services) = (ctx.changes.host, ctx.services());
            let active = services.is_active(host, KUBELET_SERVICE).await?;
            if active && !prepared.changed && !installed.kubelet_changed() {
                return Ok((KubeletStarted(()), done_if(false)));
            }
            ctx.run.line(ID, "Starting the kubelet");
            ctx.changes.intend(ID, Change::Kubelet { node: ctx.plan.node_name.clone() })?;
            services.restart(host, &ctx.kubelet_service()).await?;
            Ok((KubeletStarted(()), done_if(true)))
        })
        .await
}

/// Lets it start at boot; off the critical path.
pub(crate) async fn enable(ctx: &Context<'_>, _started: KubeletStarted) -> Result<(), PhaseError> {
    if !ctx.wants(PhaseId::KubeletStart) {
        return Ok(());
    }
    let enabled = ctx.services().enable(ctx.changes.host, KUBELET_SERVICE).await;
    enabled.map_err(|error| Cause::from(error).in_phase(PhaseId::KubeletStart))
}
