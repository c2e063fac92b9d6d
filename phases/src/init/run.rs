//! The flow of `init`: who waits for whom. What is independent overlaps; nothing sleeps where an event exists.

use std::sync::Arc;

use junio_api::Secret;
use junio_api::token::Token;
use junio_host::{Local, RunLock};
use junio_pki::KeyPool;
use tokio_util::sync::CancellationToken;

use crate::changes::Changes;
use crate::context::Context;
use crate::error::{Cause, InPhase, PhaseError};
use crate::event::{Outcome, Reporter};
use crate::init::certs::{Certificates, certs};
use crate::init::prepare::{Examined, examine, missing_keys, open_journal, plan};
use crate::init::store::{Stored, existing_token, store};
use crate::init::wait_control_plane::{ControlPlane, client, wait};
use crate::init::{dry_run, images, kubeconfig, kubelet_start, manifests, node};
use crate::options::{InitOptions, InitReport, JoinCommand, PreflightOptions, PreflightReport};
use crate::phase_id::PhaseId;
use crate::preflight::{judge, require_root};
use crate::render;
use crate::run::Run;

/// Makes this host a control plane, or one phase of that. Run again, it reuses what is there.
pub async fn init(
    options: InitOptions,
    reporter: &dyn Reporter,
    cancel: CancellationToken,
) -> Result<InitReport, PhaseError> {
    let run = Run::new(reporter, cancel);
    let layout = options.layout.clone().with_docker(&options.documents.init.node_registration.cri_socket);
    let options = InitOptions { layout: layout.clone(), ..options };
    let not_started = |cause: Cause| PhaseError { phase: None, cause: Box::new(cause) };
    if !options.read_only() {
        require_root(&run, "sudo junioadm init", &options.ignore_preflight_errors)?;
    }
    let _lock = if options.read_only() {
        None
    } else {
        Some(RunLock::acquire(&layout.lock(), "init").map_err(Cause::from).map_err(not_started)?)
    };
    let journal = open_journal(&layout).map_err(not_started)?;
    let again = !journal.is_empty();
    let overlay = !options.skip.iter().any(|skip| skip.covers(PhaseId::AddonFlannel));
    let wants = |phase| {
        options.only.is_none_or(|only| only.covers(phase)) && !options.skip.iter().any(|skip| skip.covers(phase))
    };

    let algorithm = crate::plan::algorithm(options.documents.cluster.algorithm());
    let keys = Arc::new(KeyPool::start(
        algorithm,
        if options.read_only() { 0 } else { missing_keys(&options.documents, &layout, wants) },
    ));
    let examined = examined(&run, &options, overlay, again, wants(PhaseId::Preflight)).await?;
    let plan = plan(&run, &options.documents, &examined.facts, &layout, overlay).in_phase(PhaseId::Preflight)?;

    let host = Local::new(layout);
    let changes = Changes { host: &host, journal: &journal };
    let Examined { bundle, docker, .. } = examined;
    let ctx = Context { run: &run, changes, plan: &plan, options: &options, keys, bundle, docker, again };
    let outcome = if options.print_manifest {
        Finished {
            manifest: Some(render::addon(ctx.plan, options.only).in_phase(PhaseId::Addon)?),
            ..Finished::default()
        }
    } else if options.dry_run {
        dry_run::render(&ctx).await?
    } else if let Some(only) = options.only {
        single(&ctx, only).await?
    } else {
        everything(&ctx).await?
    };
    let elapsed = run.elapsed();
    Ok(InitReport {
        node_name: plan.node_name.clone(),
        kubernetes_version: plan.documents.cluster.kubernetes_version.clone(),
        kubeconfig: options.layout.admin_conf(),
        join: outcome.join,
        certificate_key: outcome.certificate_key,
        manifest: outcome.manifest,
        elapsed,
        dry_run_directory: outcome.dry_run_directory,
        network_installed: overlay,
        timeline: run.into_timeline(),
    })
}

/// The checks of `init` alone.
pub async fn preflight(
    options: PreflightOptions,
    reporter: &dyn Reporter,
    cancel: CancellationToken,
) -> Result<PreflightReport, PhaseError> {
    const ID: PhaseId = PhaseId::Preflight;
    let run = Run::new(reporter, cancel);
    let layout = options.layout.clone().with_docker(&options.documents.init.node_registration.cri_socket);
    run.phase(ID, async {
        run.line(ID, "Running pre-flight checks");
        let ours = !open_journal(&layout)?.is_empty();
        let examined = examine(&options.documents, &layout, &options.bundle, true, ours, true).await;
        let report = judge(&run, examined.findings, &options.ignore_preflight_errors, examined.checks)?;
        Ok((report, Outcome::Done))
    })
    .await
}

/// What a flow leaves for the report.
#[derive(Default)]
pub(crate) struct Finished {
    pub(crate) join: Option<JoinCommand>,
    pub(crate) certificate_key: Option<Secret<String>>,
    pub(crate) manifest: Option<String>,
    pub(crate) dry_run_directory: Option<std::path::PathBuf>,
}

async fn examined(
    run: &Run<'_>,
    options: &InitOptions,
    overlay: bool,
    again: bool,
    judged: bool,
) -> Result<Examined, PhaseError> {
    const ID: PhaseId = PhaseId::Preflight;
    let look = examine(&options.documents, &options.layout, &options.bundle, overlay, again, judged);
    if !judged {
        if options.only.is_none() {
            run.skipped(ID);
        }
        return Ok(look.await);
    }
    run.phase(ID, async {
        run.line(ID, "Running pre-flight checks");
        let mut examined = look.await;
        let findings = std::mem::take(&mut examined.findings);
        judge(run, findings, &options.ignore_preflight_errors, examined.checks)?;
        Ok((examined, Outcome::Done))
    })
    .await
}

async fn everything(ctx: &Context<'_>) -> Result<Finished, PhaseError> {
    let (installed, prepared, (certificates, conf, pods)) =
        tokio::try_join!(images::images(ctx), kubelet_start::prepare(ctx), async {
            let certificates = certs(ctx).await?;
            let conf = kubeconfig::first(ctx, &certificates).await?;
            let pods = manifests::first_pods(ctx, &certificates, &conf).await?;
            Ok((certificates, conf, pods))
        })?;
    let kubelet = kubelet_start::start(ctx, prepared, installed, pods).await?;
    let client = client(ctx).await?;
    let (control_plane, stored, ..) = tokio::try_join!(
        wait(ctx, &client, &certificates, conf, kubelet, pods),
        store(ctx, &client, &certificates),
        node::mark(ctx, &client),
        kubelet_start::enable(ctx, kubelet),
        images::remaining(ctx, installed),
    )?;
    node::verify(ctx, &control_plane, &stored, kubelet).await?;
    node::finalize(ctx).await?;
    let certificate_key = stored.certificate_key;
    Ok(Finished { join: join_command(ctx, &certificates, stored.token), certificate_key, ..Finished::default() })
}

/// `init phase NAME`: the inputs come from the disk.
async fn single(ctx: &Context<'_>, only: PhaseId) -> Result<Finished, PhaseError> {
    match only.group() {
        PhaseId::Preflight => {}
        PhaseId::Images => {
            let installed = images::images(ctx).await?;
            images::remaining(ctx, installed).await?;
        }
        PhaseId::Certs => {
            certs(ctx).await?;
        }
        PhaseId::Kubeconfig => {
            let certificates = certs(ctx).await?;
            kubeconfig::first(ctx, &certificates).await?.finish(ctx).await?;
        }
        PhaseId::Etcd | PhaseId::ControlPlane => {
            let certificates = certs(ctx).await?;
            let conf = kubeconfig::first(ctx, &certificates).await?;
            let pods = manifests::first_pods(ctx, &certificates, &conf).await?;
            let conf = conf.finish(ctx).await?;
            manifests::other_pods(ctx, &certificates, conf, pods, async { Ok(()) }).await?;
        }
        PhaseId::KubeletStart => {
            let certificates = certs(ctx).await?;
            let conf = kubeconfig::first(ctx, &certificates).await?;
            let pods = manifests::first_pods(ctx, &certificates, &conf).await?;
            let (installed, prepared) = (images::images(ctx).await?, kubelet_start::prepare(ctx).await?);
            let kubelet = kubelet_start::start(ctx, prepared, installed, pods).await?;
            kubelet_start::enable(ctx, kubelet).await?;
        }
        PhaseId::KubeletFinalize => node::finalize(ctx).await?,
        PhaseId::WaitControlPlane => {
            let certificates = certs(ctx).await?;
            let conf = kubeconfig::first(ctx, &certificates).await?;
            let pods = manifests::first_pods(ctx, &certificates, &conf).await?;
            let client = client(ctx).await?;
            let kubelet = kubelet_start::assumed();
            tokio::try_join!(
                wait(ctx, &client, &certificates, conf, kubelet, pods),
                store(ctx, &client, &certificates)
            )?;
        }
        PhaseId::MarkControlPlane => node::mark(ctx, &client(ctx).await?).await?,
        PhaseId::Verify => {
            let control_plane = ControlPlane { client: client(ctx).await? };
            let stored = Stored {
                coredns: !ctx.plan.documents.cluster.dns.disabled,
                network: true,
                token: None,
                certificate_key: None,
            };
            node::verify(ctx, &control_plane, &stored, kubelet_start::assumed()).await?;
        }
        PhaseId::ShowJoinCommand => {
            let certificates = certs(ctx).await?;
            let stored = existing_token(ctx, &client(ctx).await?).await.in_phase(PhaseId::ShowJoinCommand)?;
            return Ok(Finished { join: join_command(ctx, &certificates, stored), ..Finished::default() });
        }
        _ => {
            images::of_addon(ctx, only).await?;
            let certificates = certs(ctx).await?;
            let stored = store(ctx, &client(ctx).await?, &certificates).await?;
            return Ok(Finished { certificate_key: stored.certificate_key, ..Finished::default() });
        }
    }
    Ok(Finished::default())
}

/// Phase `show-join-command`; none without a token that authenticates.
fn join_command(ctx: &Context<'_>, certificates: &Certificates, token: Option<Token>) -> Option<JoinCommand> {
    const ID: PhaseId = PhaseId::ShowJoinCommand;
    if !ctx.wants(ID) || ctx.options.skip.iter().any(|skip| skip.covers(PhaseId::BootstrapToken)) {
        ctx.leave_out(ID);
        return None;
    }
    Some(JoinCommand {
        endpoint: ctx.plan.endpoint.clone(),
        token: token.filter(|_| !ctx.options.skip_token_print),
        ca_cert_hash: certificates.ca_pin.clone(),
    })
}
