//! Phase `wait-control-plane`: kubelet healthy, API server ready, then controller manager and scheduler started and healthy.

use std::time::{Duration, Instant};

use junio_api::ports;
use kube::Client;

use crate::client::{self, unverified};
use crate::context::Context;
use crate::error::{Cause, InPhase, PhaseError};
use crate::init::certs::Certificates;
use crate::init::kubeconfig::FirstKubeconfigs;
use crate::init::kubelet_start::KubeletStarted;
use crate::init::manifests::{self, AllPods, FirstPods};
use crate::init::{early_roles, serving, trouble};
use crate::phase_id::PhaseId;
use crate::run::done_if;
use crate::wait::{Look, Wait};

const ID: PhaseId = PhaseId::WaitControlPlane;
const LOOK: Duration = Duration::from_millis(25);

/// The API server answers `/readyz`; everything that needs it takes this.
#[derive(Clone)]
pub(crate) struct ControlPlane {
    pub(crate) client: Client,
}

/// A client of this host's API server with the rights of `super-admin.conf`, or `admin.conf` where that is gone. It does not
/// connect yet.
pub(crate) async fn client(ctx: &Context<'_>) -> Result<Client, PhaseError> {
    if let Some(path) = &ctx.options.kubeconfig {
        return client::connect(path, None).await.map_err(|error| Cause::other(error).in_phase(ID));
    }
    let layout = ctx.changes.host.layout();
    let path = if layout.super_admin_conf().exists() { layout.super_admin_conf() } else { layout.admin_conf() };
    if !path.exists() {
        return Err(
            Cause::MissingInput { what: path.display().to_string(), phase: PhaseId::KubeconfigAdmin }.in_phase(ID)
        );
    }
    client::connect(&path, Some(&ctx.plan.local_server())).await.map_err(|error| Cause::other(error).in_phase(ID))
}

/// Waits for the API server, then lets the other two start and waits for them.
pub(crate) async fn wait(
    ctx: &Context<'_>,
    client: &Client,
    certificates: &Certificates,
    conf: FirstKubeconfigs,
    _kubelet: KubeletStarted,
    pods: FirstPods,
) -> Result<ControlPlane, PhaseError> {
    if !ctx.wants(ID) {
        ctx.leave_out(ID);
        let conf = conf.finish(ctx).await?;
        manifests::other_pods(ctx, certificates, conf, pods, async { Ok(()) }).await?;
        return Ok(ControlPlane { client: client.clone() });
    }
    let work = async {
        let open = async {
            kubelet(ctx).await?;
            first_answer(ctx, client).await?;
            early_roles::write(ctx, client).await
        };
        let (written, conf) = tokio::try_join!(async { open.await.in_phase(ID) }, conf.finish(ctx))?;
        let others = async {
            if !written {
                early_roles::soon_healthy(ctx, client, written).await?;
            }
            let soon = early_roles::soon_healthy(ctx, client, written);
            let pods = manifests::other_pods(ctx, certificates, conf, pods, soon).await?;
            components(ctx, pods).await.in_phase(ID)
        };
        tokio::try_join!(async { api_server(ctx, client).await.in_phase(ID) }, others)
    };
    let watched = async {
        tokio::select! {
            result = work => { result?; }
            cause = trouble::watch(ctx) => return Err(cause.in_phase(ID)),
        }
        Ok((ControlPlane { client: client.clone() }, done_if(!ctx.again)))
    };
    ctx.run.group(ID, watched).await
}

async fn kubelet(ctx: &Context<'_>) -> Result<(), Cause> {
    let port = ctx.plan.kubelet_config["healthzPort"].as_u64().unwrap_or(ports::KUBELET_HEALTHZ.into());
    if port == 0 {
        return Ok(());
    }
    ctx.run.line(ID, "Waiting for the kubelet to boot up the control plane as static Pods from directory \"/etc/kubernetes/manifests\"");
    let url = format!("http://127.0.0.1:{port}");
    let client = unverified(&url)?;
    let what = format!("a healthy kubelet at {url}/healthz");
    let started = Instant::now();
    Wait { run: ctx.run, phase: ID, what, deadline: ctx.plan.timeouts.kubelet, interval: LOOK }
        .until(|| look(&client, "/healthz"))
        .await?;
    ctx.run.line_as(ID, "kubelet-check", format!("The kubelet is healthy after {:.2?}", started.elapsed()));
    Ok(())
}

async fn api_server(ctx: &Context<'_>, client: &Client) -> Result<(), Cause> {
    ctx.run.line_as(
        ID,
        "control-plane-check",
        format!("Checking kube-apiserver at {}/readyz", ctx.plan.local_server()),
    );
    let started = Instant::now();
    let what = format!("kube-apiserver at {}", ctx.plan.local_server());
    Wait { run: ctx.run, phase: ID, what, deadline: ctx.plan.timeouts.control_plane, interval: LOOK }
        .until(|| look(client, "/readyz"))
        .await?;
    ctx.run.line_as(ID, "control-plane-check", format!("kube-apiserver is healthy after {:.2?}", started.elapsed()));
    Ok(())
}

/// The first answer that the API server gives us, long before it is ready for everybody: one request at a time until then.
pub(crate) async fn first_answer(ctx: &Context<'_>, client: &Client) -> Result<(), Cause> {
    let what = format!("the first answer of the API server at {}", ctx.plan.local_server());
    Wait { run: ctx.run, phase: ID, what, deadline: ctx.plan.timeouts.control_plane, interval: LOOK }
        .until(|| look(client, "/api/v1/namespaces/kube-system"))
        .await
}

async fn components(ctx: &Context<'_>, _pods: AllPods) -> Result<(), Cause> {
    let component = async |name: &'static str, port: u16, path: &'static str| {
        let url = serving::url(ctx, name, port)?;
        ctx.run.line_as(ID, "control-plane-check", format!("Checking {name} at {url}{path}"));
        let client = unverified(&url)?;
        let started = Instant::now();
        Wait {
            run: ctx.run,
            phase: ID,
            what: format!("{name} at {url}"),
            deadline: ctx.plan.timeouts.control_plane,
            interval: LOOK,
        }
        .until(|| look(&client, path))
        .await?;
        ctx.run.line_as(ID, "control-plane-check", format!("{name} is healthy after {:.2?}", started.elapsed()));
        Ok::<_, Cause>(())
    };
    tokio::try_join!(
        component(junio_api::names::KUBE_CONTROLLER_MANAGER, ports::CONTROLLER_MANAGER, "/healthz"),
        component(junio_api::names::KUBE_SCHEDULER, ports::SCHEDULER, "/livez"),
    )?;
    Ok(())
}

pub(super) async fn look(client: &Client, path: &str) -> Result<Look<()>, Cause> {
    Ok(match client::health(client, path).await {
        Ok(()) => Look::Ready(()),
        Err(reason) => Look::Blocked(reason),
    })
}
