//! The flow of `reset`: stop what makes things, remove what was made, forget last.

use junio_host::{Local, RunLock, ServiceManager, facts};
use nix::mount::MntFlags;
use tokio_util::sync::CancellationToken;

use crate::error::{Cause, InPhase, PhaseError};
use crate::event::{Outcome, Reporter};
use crate::journal::{self, Made};
use crate::options::{ResetOptions, ResetReport};
use crate::phase_id::PhaseId;
use crate::preflight::require_root;
use crate::reset::cleanup::Cleanup;
use crate::reset::known;
use crate::run::{Run, done_if};

/// Undoes `init` or `join` on this host.
pub async fn reset(
    options: ResetOptions,
    reporter: &dyn Reporter,
    cancel: CancellationToken,
) -> Result<ResetReport, PhaseError> {
    let run = Run::new(reporter, cancel);
    let layout = options.layout.clone();
    let layout = known::with_docker(layout, &options.configuration.cri_socket);
    let host = Local::new(layout.clone());
    let wants = |phase: PhaseId| !options.skip.iter().any(|skip| skip.covers(phase));
    require_root(&run, "sudo junioadm reset", &options.ignore_preflight_errors)?;
    let _lock = if options.dry_run {
        None
    } else {
        let locked = RunLock::acquire(&layout.lock(), "reset").map_err(Cause::from);
        Some(locked.map_err(|cause| PhaseError { phase: None, cause: Box::new(cause) })?)
    };
    if wants(PhaseId::Preflight) {
        run.phase(PhaseId::Preflight, async {
            run.line(PhaseId::Preflight, "Running pre-flight checks");
            Ok(((), Outcome::Done))
        })
        .await?;
    } else {
        run.skipped(PhaseId::Preflight);
    }
    if wants(PhaseId::RemoveEtcdMember) && layout.manifest(junio_api::names::ETCD).exists() {
        run.line(PhaseId::RemoveEtcdMember, "This host's etcd is the only member: its data goes with it");
    }
    run.skipped(PhaseId::RemoveEtcdMember);
    if !wants(PhaseId::CleanupNode) {
        run.skipped(PhaseId::CleanupNode);
        return Ok(ResetReport::default());
    }
    let entries = journal::read(&layout.journal()).map_err(Cause::other).in_phase(PhaseId::CleanupNode)?;
    let made = Made::from_entries(&entries);
    let cleanup = Cleanup {
        host: &host,
        kubelet_ran: made.kubelet,
        made,
        services: ServiceManager::of(&facts::init_system()),
        dry_run: options.dry_run,
        report: ResetReport::default(),
    };
    run.phase(PhaseId::CleanupNode, async {
        let report = clean(&run, cleanup, &options).await?;
        let changed = !report.removed.is_empty();
        Ok((report, done_if(changed)))
    })
    .await
}

async fn clean(run: &Run<'_>, mut cleanup: Cleanup<'_>, options: &ResetOptions) -> Result<ResetReport, Cause> {
    const ID: PhaseId = PhaseId::CleanupNode;
    let host = cleanup.host;
    let layout = host.layout();
    let manifest = host.read(&layout.manifest(junio_api::names::ETCD)).await?;
    let etcd_data = known::etcd_data(layout, manifest.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok()));
    let certificates = layout.root().join(options.configuration.certificates_dir.trim_start_matches('/'));

    run.line(ID, "Stopping the kubelet service");
    cleanup.kubelet().await;
    run.line(ID, "Removing containers");
    cleanup.containers().await;
    run.line(ID, format!("Unmounting mounted directories in {:?}", layout.kubelet_dir().display().to_string()));
    cleanup.mounts(&layout.kubelet_dir(), flags(&options.configuration.unmount_flags));
    run.line(ID, "Deleting files, directories, links and packet filter rules of the cluster");
    let (tmp, ran) = (options.cleanup_tmp_dir, cleanup.kubelet_ran);
    for (path, fate) in known::trees(layout, &cleanup.made, &etcd_data, &certificates, tmp, ran) {
        cleanup.tree(&path, fate).await;
    }
    for path in known::files(layout, &cleanup.made) {
        if !cleanup.made.files.contains_key(&path) {
            cleanup.file(&path).await;
        }
    }
    // The tools of the packet filter make a lock file, so they come before the files.
    cleanup.network().await;
    cleanup.recorded_files().await;
    cleanup.sysctls();
    cleanup.recorded_directories().await;
    if !options.dry_run && cleanup.report.failed.is_empty() {
        // Only now: an interrupted reset finds it again, and with it the files that it still has to put back.
        host.remove_file(&layout.journal()).await?;
        host.remove_tree(&layout.junioadm_dir().join("backup")).await?;
        host.remove_tree(&layout.junioadm_dir().join("services")).await?;
        host.remove_tree(&layout.junioadm_dir().join("incoming")).await?;
        if host.list(&layout.junioadm_dir()).await?.is_empty() {
            host.remove_tree(&layout.junioadm_dir()).await?;
        }
    }
    if !cleanup.made.is_recorded() && cleanup.kubelet_ran {
        let text =
            "images in Docker, programs in /usr/local/bin and /opt/cni/bin: the record of what junioadm made is lost";
        cleanup.report.left.push(text.to_owned());
    }
    let logs = layout.junioadm_log_dir();
    if host.stat(&logs).await?.is_some() {
        cleanup.report.left.push(format!("{}: the logs of junioadm", logs.display()));
    }
    for removed in &cleanup.report.removed {
        run.line(ID, format!("{} {removed}", if options.dry_run { "Would remove" } else { "Removed" }));
    }
    Ok(cleanup.report)
}

fn flags(names: &[String]) -> MntFlags {
    names.iter().fold(MntFlags::empty(), |flags, name| {
        flags
            | match name.as_str() {
                "MNT_FORCE" => MntFlags::MNT_FORCE,
                "MNT_DETACH" => MntFlags::MNT_DETACH,
                "MNT_EXPIRE" => MntFlags::MNT_EXPIRE,
                "UMOUNT_NOFOLLOW" => MntFlags::UMOUNT_NOFOLLOW,
                _ => MntFlags::empty(),
            }
    })
}
