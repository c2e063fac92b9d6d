//! Phase `kubelet-start`: the kubelet's files, its service, and the kernel settings that a node needs.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use junio_api::Layout;
use junio_host::sysctl::SysctlChange;
use junio_host::{ServiceManager, ServiceSpec};
use sha2::{Digest, Sha256};

use crate::changes::{Changes, Written};
use crate::context::{Context, KUBELET_SERVICE};
use crate::error::{Cause, PhaseError};
use crate::init::images::Installed;
use crate::init::manifests::FirstPods;
use crate::journal::Change;
use crate::phase_id::PhaseId;
use crate::render;
use crate::run::{Run, done_if};

/// Settings that pods and services need, and whether doing without one is worth a word.
const SYSCTLS: [(&str, &str); 2] = [("net.ipv4.ip_forward", "1"), ("net.bridge.bridge-nf-call-iptables", "1")];

/// Settings that kube-proxy, the CNI plugins and the kubelet change by themselves.
const CHANGED_BY_OTHERS: [&str; 7] = [
    "net.ipv4.conf.all.route_localnet",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_tcp_timeout_established",
    "net.netfilter.nf_conntrack_tcp_timeout_close_wait",
    "vm.overcommit_memory",
    "kernel.panic",
    "kernel.panic_on_oops",
];

/// Files and unit are in place, nothing runs yet; made while certificates are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prepared {
    /// Over everything that a running kubelet has read; its program is added when it is started.
    fingerprint: Sha256,
    changed: bool,
}

/// The kubelet was started, now (with the time from which its reports count) or by an earlier run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KubeletStarted {
    pub(crate) now: Option<Timestamp>,
}

/// For a phase that is run alone on a host whose kubelet an earlier run started.
pub(crate) fn assumed() -> KubeletStarted {
    KubeletStarted { now: None }
}

/// Writes everything that does not depend on certificates.
pub(crate) async fn prepare(ctx: &Context<'_>) -> Result<Prepared, PhaseError> {
    if !ctx.wants(PhaseId::KubeletStart) {
        return Ok(Prepared::default());
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
    let mut prepared = Prepared::default();
    for file in render::kubelet_files(ctx.plan)? {
        let path = layout.kubelet_dir().join(file.name);
        prepared.fingerprint.update(&file.text);
        let written = ctx.changes.write(ID, &path, file.text.as_bytes(), 0o644).await?;
        prepared.changed |= written != Written::Unchanged;
        let what = if file.name.ends_with(".env") { "environment file with flags" } else { "configuration" };
        ctx.run.line(ID, format!("Writing kubelet {what} to file {:?}", path.display().to_string()));
    }
    ctx.changes.remember_traces(ID).await?;
    sysctls(ctx.run, ctx.changes)?;
    ctx.changes.intend(ID, Change::Service { name: KUBELET_SERVICE.to_owned() })?;
    if ctx.services() == ServiceManager::Systemd {
        let unit = render::unit(layout)?;
        prepared.fingerprint.update(&unit);
        let written = ctx.changes.write(ID, &layout.kubelet_unit(), unit.as_bytes(), 0o644).await?;
        prepared.changed |= written != Written::Unchanged;
        if written != Written::Unchanged {
            ctx.services().reload(ctx.changes.host).await?;
        }
    }
    Ok(prepared)
}

/// Sets what pods and services need; remembers what the cluster's own programs will set.
pub(crate) fn sysctls(run: &Run<'_>, changes: Changes<'_>) -> Result<(), Cause> {
    const ID: PhaseId = PhaseId::KubeletStart;
    changes.remember_sysctls(ID, &CHANGED_BY_OTHERS)?;
    for (name, value) in SYSCTLS {
        if let SysctlChange::Refused { reason } = changes.sysctl(ID, name, value)?
            && name == "net.ipv4.ip_forward"
        {
            run.warn(ID, format!("{name} could not be set to {value}: {reason}"));
        }
    }
    Ok(())
}

/// Holds the fingerprint of what the running kubelet was started with. A run that was interrupted between writing the
/// files and starting the kubelet leaves the old one, so that the next run knows.
fn stamp(layout: &Layout) -> PathBuf {
    layout.junioadm_dir().join("services").join(format!("{KUBELET_SERVICE}.started"))
}

/// Changes when the program is replaced.
fn program_identity(path: &Path) -> String {
    let identity = std::fs::metadata(path).map(|file| format!("{} {} {}", file.ino(), file.size(), file.mtime_nsec()));
    identity.unwrap_or_default()
}

/// Starts the kubelet, or leaves it alone when it runs with the same files and program.
pub(crate) async fn start(
    ctx: &Context<'_>,
    prepared: Prepared,
    _installed: Installed,
    _pods: FirstPods,
) -> Result<KubeletStarted, PhaseError> {
    const ID: PhaseId = PhaseId::KubeletStart;
    if !ctx.wants(ID) {
        ctx.leave_out(ID);
        return Ok(assumed());
    }
    ctx.run
        .phase(ID, async {
            let kubelet = Kubelet {
                run: ctx.run,
                changes: ctx.changes,
                services: ctx.services(),
                service: ctx.kubelet_service(),
                node: &ctx.plan.node_name,
            };
            let now = kubelet.start(prepared.fingerprint, prepared.changed).await?;
            Ok((KubeletStarted { now }, done_if(now.is_some() || prepared.changed)))
        })
        .await
}

/// The kubelet's service on this host.
pub(crate) struct Kubelet<'a> {
    pub(crate) run: &'a Run<'a>,
    pub(crate) changes: Changes<'a>,
    pub(crate) services: ServiceManager,
    pub(crate) service: ServiceSpec,
    pub(crate) node: &'a str,
}

impl Kubelet<'_> {
    /// Starts it unless it runs with these very files and program; the time when it was started. `hash` is over its files,
    /// `reloaded` says that the service manager has just read its unit.
    pub(crate) async fn start(&self, mut hash: Sha256, reloaded: bool) -> Result<Option<Timestamp>, Cause> {
        const ID: PhaseId = PhaseId::KubeletStart;
        let (host, services) = (self.changes.host, self.services);
        let layout = host.layout();
        hash.update(program_identity(&layout.kubelet_bin()));
        let fingerprint = hex::encode(hash.finalize());
        let started_with = host.read(&stamp(layout)).await?;
        let active = services.is_active(host, KUBELET_SERVICE).await?;
        if active && started_with.as_deref() == Some(fingerprint.as_bytes()) {
            return Ok(None);
        }
        self.run.line(ID, "Starting the kubelet");
        self.changes.intend(ID, Change::Kubelet { node: self.node.to_owned() })?;
        if !reloaded {
            // An interrupted run may have written the unit and not got to this.
            services.reload(host).await?;
        }
        let now = Timestamp::now();
        services.restart(host, &self.service).await?;
        if let Some(parent) = stamp(layout).parent() {
            host.create_dir(parent, 0o700).await?;
        }
        host.write(&stamp(layout), fingerprint.as_bytes(), 0o600).await?;
        Ok(Some(now))
    }
}

/// Lets it start at boot; off the critical path.
pub(crate) async fn enable(ctx: &Context<'_>, _started: KubeletStarted) -> Result<(), PhaseError> {
    if !ctx.wants(PhaseId::KubeletStart) {
        return Ok(());
    }
    let enabled = ctx.services().enable(ctx.changes.host, KUBELET_SERVICE).await;
    enabled.map_err(|error| Cause::from(error).in_phase(PhaseId::KubeletStart))
}
