//! Phase `images`: what the bundle carries goes into Docker and onto the host. Nothing is fetched from anywhere.

use std::path::PathBuf;
use std::sync::Arc;

use junio_api::Layout;
use junio_bundle::{Bundle, BundleError, Extracted, Extraction, LoadProgress};

use crate::changes::Changes;
use crate::context::Context;
use crate::error::{Cause, InPhase, PhaseError};
use crate::event::Event;
use crate::journal::Change;
use crate::phase_id::PhaseId;
use crate::run::{Run, done_if};

/// The control plane's images and the host's programs are there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Installed(());

/// Everything but the images that nothing needs before the API server runs, which [`remaining`] brings.
pub(crate) async fn images(ctx: &Context<'_>) -> Result<Installed, PhaseError> {
    if !ctx.wants(PhaseId::Images) {
        ctx.leave_out(PhaseId::Images);
        return Ok(Installed(()));
    }
    ctx.run
        .phase(PhaseId::Images, async {
            let bundle = bundle(ctx)?;
            let first = needed_first(ctx);
            let (loaded, installed) = tokio::try_join!(
                load(ctx.run, ctx.changes, &bundle, &first),
                programs(ctx.run, ctx.changes, bundle.clone(), NODE_PROGRAMS)
            )?;
            Ok((Installed(()), done_if(loaded || installed)))
        })
        .await
}

/// The add-ons' images, loaded while the control plane starts.
pub(crate) async fn remaining(ctx: &Context<'_>, _first: Installed) -> Result<(), PhaseError> {
    if !ctx.wants(PhaseId::Images) {
        return Ok(());
    }
    let first = needed_first(ctx);
    let rest: Vec<String> =
        ctx.plan.images.all.iter().filter(|reference| !first.contains(reference)).cloned().collect();
    let bundle = bundle(ctx).map_err(|cause| cause.in_phase(PhaseId::Images))?;
    let all = async {
        tokio::try_join!(
            load(ctx.run, ctx.changes, &bundle, &rest),
            programs(ctx.run, ctx.changes, bundle.clone(), USER_PROGRAMS)
        )
    };
    all.await.map(|_| ()).in_phase(PhaseId::Images)
}

/// The images of one add-on that is installed by itself, perhaps on a host whose `init` left it out.
pub(crate) async fn of_addon(ctx: &Context<'_>, addon: PhaseId) -> Result<(), PhaseError> {
    let images = &ctx.plan.images;
    let references: &[String] = match addon {
        PhaseId::AddonCoreDns => std::slice::from_ref(&images.coredns),
        PhaseId::AddonFlannel => std::slice::from_ref(&images.flannel),
        PhaseId::Addon => &images.all,
        _ => return Ok(()),
    };
    let loading = async { load(ctx.run, ctx.changes, &bundle(ctx)?, references).await };
    loading.await.map(|_| ()).in_phase(addon)
}

/// What a node cannot run without, and what only its user needs (and is large).
pub(crate) const NODE_PROGRAMS: fn(&str) -> bool = |name| !USER_PROGRAMS(name);
pub(crate) const USER_PROGRAMS: fn(&str) -> bool = |name| name == "kubectl";

fn needed_first(ctx: &Context<'_>) -> Vec<String> {
    let images = &ctx.plan.images;
    ctx.plan
        .images
        .all
        .iter()
        .filter(|reference| **reference != images.coredns && **reference != images.flannel)
        .cloned()
        .collect()
}

fn bundle(ctx: &Context<'_>) -> Result<Arc<Bundle>, Cause> {
    match &ctx.bundle {
        Some(bundle) => Ok(bundle.clone()),
        // Preflight told why and was told to go on; opening it again gives the same error.
        None => Bundle::open(&ctx.options.bundle).map(Arc::new).map_err(Cause::other),
    }
}

/// Gives Docker what it lacks of `references`; true when there was any.
pub(crate) async fn load(
    run: &Run<'_>,
    changes: Changes<'_>,
    bundle: &Arc<Bundle>,
    references: &[String],
) -> Result<bool, Cause> {
    let docker = junio_bundle::docker::connect(&changes.host.layout().docker_socket()).await.map_err(Cause::other)?;
    let missing = bundle.missing_images(&docker, references).await.map_err(Cause::other)?;
    if missing.is_empty() {
        return Ok(false);
    }
    changes.intend(PhaseId::Images, Change::Images { references: missing.clone() })?;
    run.line(PhaseId::Images, format!("Loading {} from the bundle", short_names(&missing)));
    let progress = |progress: LoadProgress| {
        run.event(&Event::Progress {
            phase: PhaseId::Images,
            what: "loading images".to_owned(),
            done: progress.done,
            total: progress.total,
        });
    };
    let report = bundle.load_images(&docker, &missing, &progress).await.map_err(Cause::other)?;
    Ok(!report.reused())
}

fn short_names(references: &[String]) -> String {
    let names: Vec<&str> =
        references.iter().map(|reference| reference.rsplit('/').next().unwrap_or(reference)).collect();
    names.join(", ")
}

/// The kubelet, kubectl and the CNI plugins at their places. A kubelet that differs is replaced and started anew later.
pub(crate) async fn programs(
    run: &Run<'_>,
    changes: Changes<'_>,
    bundle: Arc<Bundle>,
    wants: fn(&str) -> bool,
) -> Result<bool, Cause> {
    let layout = changes.host.layout();
    let mut wanted = extractions(&bundle, layout);
    wanted.retain(|extraction| wants(&extraction.name));
    let directories: Vec<(PathBuf, u32)> =
        [layout.cni_bin_dir(), layout.kubelet_bin().parent().map(Into::into).unwrap_or_default()]
            .into_iter()
            .map(|path| (path, 0o755))
            .collect();
    changes.directories(PhaseId::Images, &directories).await?;
    let (wanted, bundle) = blocking(move || Ok((bundle.differing(&wanted)?, bundle))).await?;
    let destinations: Vec<PathBuf> = wanted.iter().map(|extraction| extraction.destination.clone()).collect();
    for path in changes.intend_replaced(PhaseId::Images, &destinations).await? {
        let text = format!("{} was there with other content; it is kept, and reset puts it back", path.display());
        run.warn(PhaseId::Images, text);
    }
    let outcomes = blocking(move || bundle.extract_all(&wanted)).await?;
    Ok(outcomes.contains(&Extracted::Written))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BundleError> + Send + 'static,
) -> Result<T, Cause> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Cause::other),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Files of the bundle and where they go.
fn extractions(bundle: &Bundle, layout: &Layout) -> Vec<Extraction> {
    let files = bundle.manifest().files.iter();
    files
        .filter_map(|file| Some(Extraction { name: file.name.clone(), destination: destination(&file.name, layout)? }))
        .collect()
}

/// Where a file of the bundle goes on a host; `None` for those that stay in it.
pub(crate) fn destination(name: &str, layout: &Layout) -> Option<PathBuf> {
    match name {
        "junio-kubelet" => Some(layout.kubelet_bin()),
        "kubectl" => Some(layout.kubectl_bin()),
        name => Some(layout.cni_bin_dir().join(name.strip_prefix("cni/")?)),
    }
}
