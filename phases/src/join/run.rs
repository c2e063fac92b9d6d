//! The flow of `join`: checks and discovery at once, then images and files at once, then the kubelet, then two waits.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use jiff::Timestamp;
use junio_api::config::JoinConfiguration;
use junio_api::config::join::Discovery;
use junio_bundle::Bundle;
use junio_host::{Facts, Host, Local, RunLock, ServiceManager, create_dir, write_atomic};
use junio_pki::Kubeconfig;
use tokio_util::sync::CancellationToken;

use super::cluster::{self, Cluster};
use super::host::{Examined, examine, standing};
use super::token_discovery::Found;
use super::{file_discovery, node, token_discovery, verify};
use crate::changes::Changes;
use crate::error::{Cause, PhaseError};
use crate::event::{Outcome, Reporter};
use crate::init::kubelet_start::{self, KubeletStarted};
use crate::journal::Journal;
use crate::options::{JoinOptions, JoinReport};
use crate::phase_id::PhaseId;
use crate::preflight::{Standing, in_cluster, judge, require_root};
use crate::run::{Run, done_if};

/// How errors name us.
const COMMAND: &str = "junioadm join";
/// As kubeadm; tests use it too.
const DRY_RUN_DIRECTORY: &str = "KUBEADM_JOIN_DRYRUN_DIR";

/// What all steps borrow.
pub(crate) struct Joining<'a> {
    pub(crate) run: &'a Run<'a>,
    pub(crate) changes: Changes<'a>,
    pub(crate) options: &'a JoinOptions,
    pub(crate) services: ServiceManager,
}

impl Joining<'_> {
    fn wants(&self, phase: PhaseId) -> bool {
        self.options.only.is_none_or(|only| only.covers(phase))
            && !self.options.skip.iter().any(|skip| skip.covers(phase))
    }

    fn leave_out(&self, phase: PhaseId) {
        if self.options.only.is_none() {
            self.run.skipped(phase);
        }
    }
}

/// Makes this host a node of a cluster, or one phase of that. Run again on a node of that cluster, it makes sure that the
/// kubelet runs and the node is Ready, and changes nothing else.
pub async fn join(
    options: JoinOptions,
    reporter: &dyn Reporter,
    cancel: CancellationToken,
) -> Result<JoinReport, PhaseError> {
    let again = |error: PhaseError| PhaseError { phase: error.phase, cause: Box::new(error.cause.of(COMMAND)) };
    joined(options, reporter, cancel).await.map_err(again)
}

async fn joined(
    options: JoinOptions,
    reporter: &dyn Reporter,
    cancel: CancellationToken,
) -> Result<JoinReport, PhaseError> {
    let run = Run::new(reporter, cancel);
    let layout = options.layout.clone();
    let not_started = |cause: Cause| PhaseError { phase: None, cause: Box::new(cause) };
    if !options.dry_run {
        require_root(&run, "sudo junioadm join", &options.ignore_preflight_errors)?;
    }
    let _lock = if options.dry_run {
        None
    } else {
        Some(RunLock::acquire(&layout.lock(), "join").map_err(Cause::from).map_err(not_started)?)
    };
    let journal = Journal::open(&layout.journal()).map_err(Cause::other).map_err(not_started)?;
    let standing = standing(&layout, &journal, &options.documents.join);
    let host = Local::new(layout);
    let changes = Changes { host: &host, journal: &journal };
    let services = ServiceManager::of(&junio_host::facts::init_system());
    let joining = Joining { run: &run, changes, options: &options, services };
    let outcome = match (options.only, &standing) {
        (Some(PhaseId::Preflight), _) => {
            checked(&joining, &standing).await?;
            Done::default()
        }
        (Some(PhaseId::KubeletWaitBootstrap), _) => {
            wait_bootstrap(&joining, None).await?;
            Done::default()
        }
        (Some(PhaseId::Verify), _) => {
            Done { ready: wait_ready(&joining, kubelet_start::assumed()).await?, ..Done::default() }
        }
        (Some(PhaseId::Images), _) if options.documents.join.discovery == Discovery::default() => {
            prepare(&joining, &standing).await?;
            Done::default()
        }
        (None, Standing::Member) if !options.dry_run => again(&joining, &standing).await?,
        _ => first(&joining, &standing).await?,
    };
    let elapsed = run.elapsed();
    Ok(JoinReport {
        node_name: options.documents.join.node_registration.name.clone(),
        server: outcome.server,
        already: outcome.already,
        ready: outcome.ready,
        elapsed,
        dry_run_directory: outcome.dry_run_directory,
        timeline: run.into_timeline(),
    })
}

/// What a flow leaves for the report.
#[derive(Default)]
struct Done {
    server: String,
    already: bool,
    ready: bool,
    dry_run_directory: Option<PathBuf>,
}

/// `join phase images` without a cluster: what most clusters need is loaded.
async fn prepare(join: &Joining<'_>, standing: &Standing) -> Result<(), PhaseError> {
    let examined = examine(join.options, standing).await;
    let bundle = bundle(join, examined.bundle).map_err(|cause| cause.in_phase(PhaseId::Images))?;
    images(join, &bundle, &cluster::default_images()).await?;
    remaining(join, &bundle, &[]).await
}

/// A host that is no node yet.
async fn first(join: &Joining<'_>, standing: &Standing) -> Result<Done, PhaseError> {
    let (examined, (found, cluster)) = both(checked(join, standing), discovered(join)).await?;
    let subnets = [("pod", cluster.pod_subnets.clone()), ("service", cluster.service_subnets.clone())];
    if join.wants(PhaseId::Preflight) {
        let findings = in_cluster(&examined.facts, standing, &subnets);
        judge(join.run, findings, &join.options.ignore_preflight_errors, 1)
            .map_err(|cause| cause.in_phase(PhaseId::Preflight))?;
    }
    let server = found.server.clone();
    if join.options.dry_run {
        let directory = render(join, &found, &cluster, &examined.facts).await?;
        return Ok(Done { server, dry_run_directory: Some(directory), ..Done::default() });
    }
    let bundle = bundle(join, examined.bundle).map_err(|cause| cause.in_phase(PhaseId::Images))?;
    let (needed, rest) = cluster.images(|image| has_image(&bundle, image));
    if join.options.only == Some(PhaseId::Images) {
        images(join, &bundle, &needed).await?;
        remaining(join, &bundle, &rest).await?;
        return Ok(Done { server, ..Done::default() });
    }
    let kubelet = start(join, &found, &cluster, &examined.facts, &bundle, &needed).await?;
    if join.options.only.is_some() {
        return Ok(Done { server, ..Done::default() });
    }
    let waits = async {
        wait_bootstrap(join, Some(&found)).await?;
        wait_ready(join, kubelet).await
    };
    let (ready, ..) = tokio::try_join!(waits, enable(join), remaining(join, &bundle, &rest))?;
    Ok(Done { server, ready, ..Done::default() })
}

/// Both at once. What is wrong with this host is told first, and ends a discovery that still waits.
async fn both<A, B>(
    checks: impl Future<Output = Result<A, PhaseError>>,
    discovery: impl Future<Output = Result<B, PhaseError>>,
) -> Result<(A, B), PhaseError> {
    let (mut checks, mut discovery) = (pin!(checks), pin!(discovery));
    tokio::select! {
        biased;
        checked = &mut checks => Ok((checked?, discovery.await?)),
        found = &mut discovery => Ok((checks.await?, found?)),
    }
}

/// A host that is a node of the cluster: its kubelet is started if it does not run, and that is all.
async fn again(join: &Joining<'_>, standing: &Standing) -> Result<Done, PhaseError> {
    checked(join, standing).await?;
    let layout = join.changes.host.layout();
    let path = layout.kubelet_conf();
    let server = Kubeconfig::load(&path).ok().flatten().and_then(|c| c.current().map(|(c, _)| c.server.clone()));
    let server = server.unwrap_or_default();
    let kubelet = if join.wants(PhaseId::KubeletStart) {
        join.run
            .phase(PhaseId::KubeletStart, async {
                let host = join.changes.host;
                let kubelet = node::kubelet(join);
                let runs = join.services.is_active(host, &kubelet.service.name).await?;
                if runs {
                    return Ok((kubelet_start::assumed(), done_if(false)));
                }
                join.run.line(PhaseId::KubeletStart, "The kubelet does not run; starting it");
                let now = Timestamp::now();
                join.services.restart(host, &kubelet.service).await?;
                Ok((KubeletStarted { now: Some(now) }, done_if(true)))
            })
            .await?
    } else {
        join.leave_out(PhaseId::KubeletStart);
        kubelet_start::assumed()
    };
    let ready = wait_ready(join, kubelet).await?;
    Ok(Done { server, already: true, ready, ..Done::default() })
}

async fn checked(join: &Joining<'_>, standing: &Standing) -> Result<Examined, PhaseError> {
    const ID: PhaseId = PhaseId::Preflight;
    let look = examine(join.options, standing);
    if !join.wants(ID) {
        join.leave_out(ID);
        return Ok(look.await);
    }
    join.run
        .phase(ID, async {
            join.run.line(ID, "Running pre-flight checks");
            let mut examined = look.await;
            let findings = std::mem::take(&mut examined.findings);
            judge(join.run, findings, &join.options.ignore_preflight_errors, examined.checks)?;
            Ok((examined, Outcome::Done))
        })
        .await
}

async fn discovered(join: &Joining<'_>) -> Result<(Found, Cluster), PhaseError> {
    let configuration = &join.options.documents.join;
    join.run
        .phase(PhaseId::Discovery, async {
            let found = find(join.run, configuration).await?;
            let patience = configuration.timeouts.kubernetes_api_call();
            let name = &configuration.node_registration.name;
            let cluster = cluster::read(join.run, &found, name, patience).await?;
            Ok(((found, cluster), Outcome::Done))
        })
        .await
}

async fn find(run: &Run<'_>, join: &JoinConfiguration) -> Result<Found, Cause> {
    let patience = join.timeouts.discovery();
    let bootstrap = join.discovery.tls_bootstrap_token.as_ref();
    if let Some(file) = &join.discovery.file {
        return file_discovery::discover(run, &file.kube_config_path, bootstrap, patience).await;
    }
    let missing = |what: &str| Cause::Config(format!("discovery.bootstrapToken{what} is missing"));
    let discovery = join.discovery.bootstrap_token.as_ref().ok_or_else(|| missing(""))?;
    let token = discovery.token.as_ref().ok_or_else(|| missing(".token"))?;
    token_discovery::discover(run, discovery, token, bootstrap.unwrap_or(token), patience).await
}

fn bundle(join: &Joining<'_>, bundle: Option<Arc<Bundle>>) -> Result<Arc<Bundle>, Cause> {
    match bundle {
        Some(bundle) => Ok(bundle),
        // Preflight told why and was told to go on; opening it again gives the same error.
        None => Bundle::open(&join.options.bundle).map(Arc::new).map_err(Cause::other),
    }
}

/// By name and tag: the cluster's registry may be another one than the bundle's.
fn has_image(bundle: &Bundle, reference: &str) -> bool {
    bundle.manifest().image(reference).is_some()
}

async fn images(join: &Joining<'_>, bundle: &Arc<Bundle>, needed: &[String]) -> Result<(), PhaseError> {
    const ID: PhaseId = PhaseId::Images;
    if !join.wants(ID) {
        if join.options.only.is_none() {
            join.leave_out(ID);
        }
        return Ok(());
    }
    let work = async { Ok(((), done_if(node::install(join, bundle, needed).await?))) };
    join.run.phase(ID, work).await
}

async fn remaining(join: &Joining<'_>, bundle: &Arc<Bundle>, rest: &[String]) -> Result<(), PhaseError> {
    if !join.wants(PhaseId::Images) {
        return Ok(());
    }
    node::install_rest(join, bundle, rest).await.map_err(|cause| cause.in_phase(PhaseId::Images))
}

/// The kubelet's files are written while images load; it starts when both are there.
async fn start(
    join: &Joining<'_>,
    found: &Found,
    cluster: &Cluster,
    facts: &Facts,
    bundle: &Arc<Bundle>,
    needed: &[String],
) -> Result<KubeletStarted, PhaseError> {
    const ID: PhaseId = PhaseId::KubeletStart;
    if !join.wants(ID) {
        join.leave_out(ID);
        images(join, bundle, needed).await?;
        return Ok(kubelet_start::assumed());
    }
    let files = node::files(join, found, cluster, facts).map_err(|cause| cause.in_phase(ID))?;
    let write = async { node::write(join, &files).await.map_err(|cause| cause.in_phase(ID)) };
    let (fingerprint, reloaded) = tokio::try_join!(write, images(join, bundle, needed))?.0;
    join.run
        .phase(ID, async {
            let now = node::kubelet(join).start(fingerprint, reloaded).await?;
            Ok((KubeletStarted { now }, done_if(now.is_some())))
        })
        .await
}

async fn enable(join: &Joining<'_>) -> Result<(), PhaseError> {
    const ID: PhaseId = PhaseId::KubeletStart;
    if !join.wants(ID) {
        return Ok(());
    }
    let enabled = join.services.enable(join.changes.host, &node::kubelet(join).service.name).await;
    enabled.map_err(|error| Cause::from(error).in_phase(ID))
}

async fn wait_bootstrap(join: &Joining<'_>, found: Option<&Found>) -> Result<(), PhaseError> {
    const ID: PhaseId = PhaseId::KubeletWaitBootstrap;
    if !join.wants(ID) {
        join.leave_out(ID);
        return Ok(());
    }
    join.run.phase(ID, async { verify::bootstrapped(join, found).await.map(|()| ((), Outcome::Done)) }).await
}

async fn wait_ready(join: &Joining<'_>, kubelet: KubeletStarted) -> Result<bool, PhaseError> {
    const ID: PhaseId = PhaseId::Verify;
    if !join.wants(ID) {
        join.leave_out(ID);
        return Ok(false);
    }
    join.run.phase(ID, async { verify::ready(join, kubelet).await.map(|()| (true, Outcome::Done)) }).await
}

/// `--dry-run`: what would be written, in one flat directory.
async fn render(join: &Joining<'_>, found: &Found, cluster: &Cluster, facts: &Facts) -> Result<PathBuf, PhaseError> {
    let rendered = async {
        let directory = dry_run_directory(join.changes.host).await?;
        join.run.line(PhaseId::KubeletStart, format!("Rendering into {:?}", directory.display().to_string()));
        for (path, text, _) in node::files(join, found, cluster, facts)?.all {
            let name = path.file_name().map(PathBuf::from).unwrap_or_default();
            write_atomic(&directory.join(name), text.as_bytes(), 0o600)?;
        }
        Ok((directory, Outcome::Done))
    };
    join.run.phase(PhaseId::KubeletStart, rendered).await
}

async fn dry_run_directory(host: &dyn Host) -> Result<PathBuf, Cause> {
    if let Some(given) = std::env::var_os(DRY_RUN_DIRECTORY) {
        let path = PathBuf::from(given);
        create_dir(&path, 0o700)?;
        return Ok(path);
    }
    let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    let name = format!("junioadm-join-dryrun-{time}-{}", std::process::id());
    let path = host.layout().tmp_dir().join(name);
    host.create_dir(&path, 0o700).await?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(what: &str) -> PhaseError {
        Cause::Config(what.to_owned()).in_phase(PhaseId::Preflight)
    }

    #[tokio::test]
    async fn what_is_wrong_with_the_host_is_told_before_what_is_wrong_with_the_cluster() {
        let slow_checks = async {
            tokio::task::yield_now().await;
            Err::<(), _>(failed("host"))
        };
        let error = both(slow_checks, async { Err::<(), _>(failed("cluster")) }).await.expect_err("both failed");
        assert!(error.cause.to_string().contains("host"), "{}", error.cause);
        let waits_for_ever = std::future::pending::<Result<(), PhaseError>>();
        assert!(both(async { Err::<(), _>(failed("host")) }, waits_for_ever).await.is_err());
        let error = both(async { Ok(()) }, async { Err::<(), _>(failed("cluster")) }).await.expect_err("one failed");
        assert!(error.cause.to_string().contains("cluster"), "{}", error.cause);
    }
}
