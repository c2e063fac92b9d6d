//! One host becomes the control plane, and the way in for its administrator comes back.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use junio_api::Secret;
use junio_api::config::{Documents, InitDocuments, emit};
use junio_pki::Kubeconfig;
use junio_pki::token::ca_pin;

use super::access::Access;
use super::delivery::{Delivery, Role, deliver};
use super::error::{FleetError, HostFailure};
use super::machine::{Look, Machine};
use super::marks;
use super::options::{Fleet, Marks, Way};
use super::report::{Course, HostReport, HostResult};
use super::worker::{Found, megabytes, row};

/// The host that is to be the control plane.
#[derive(Debug, Clone)]
pub struct ControlPlaneHost {
    /// As the user names it.
    pub title: String,
    pub way: Way,
    /// What `init` works with there, before the host's own defaults.
    pub documents: InitDocuments,
    pub marks: Marks,
}

/// Makes it, or finds it made. The cluster is there as soon as the second value is.
pub(crate) async fn control_plane(
    fleet: &Fleet<'_>,
    host: &ControlPlaneHost,
    kubeconfig: &Path,
) -> (HostReport, Option<Arc<Access>>) {
    let (sent, mut found, mut course) = (AtomicU64::new(0), Found::default(), Course::new(fleet.started));
    let name = &host.documents.init.node_registration.name;
    found.node_name = Some(name.clone()).filter(|name| !name.is_empty());
    let mut access = None;
    let outcome = async {
        let opened = course.step("connect", Machine::open(fleet, &host.title, &host.way, &sent));
        let machine = fleet.interruptible(opened).await?;
        let made = made(fleet, host, &machine, kubeconfig, &mut found, &mut course).await;
        machine.close().await;
        let (result, opened) = made?;
        access = opened;
        Ok(result)
    }
    .await;
    (row(fleet, &host.title, outcome, found, &sent, course), access)
}

async fn made(
    fleet: &Fleet<'_>,
    host: &ControlPlaneHost,
    machine: &Machine<'_>,
    kubeconfig: &Path,
    found: &mut Found,
    course: &mut Course,
) -> Result<(HostResult, Option<Arc<Access>>), HostFailure> {
    let dry_run = fleet.options.dry_run;
    let inventory = match fleet.interruptible(course.step("look", machine.look())).await? {
        Look::Same(inventory) => *inventory,
        Look::Other(_) if dry_run => {
            found.planned = vec![
                format!("send junioadm ({})", megabytes(fleet.program.size)),
                "send what it lacks of the bundle".to_owned(),
                "make it the control plane, unless it is".to_owned(),
            ];
            return Ok((HostResult::Planned, None));
        }
        Look::Other(earlier) => {
            fleet.step(&host.title, format!("sending junioadm ({})", megabytes(fleet.program.size)));
            fleet.interruptible(course.step("junioadm", machine.install(&earlier))).await?
        }
    };
    let wanted = &host.documents.init.node_registration.name;
    let name = if wanted.is_empty() { inventory.hostname.trim().to_lowercase() } else { wanted.clone() };
    found.node_name = Some(name.clone());
    fleet.claim(&host.title, &inventory.machine_id, &name)?;
    let there = inventory.node.as_ref().filter(|node| node.control_plane);
    keep_others(kubeconfig, there.map(|node| node.ca_pin.as_str()))?;
    if let Some(failure) = inventory.docker_error.clone() {
        return Err(failure);
    }
    let Some(cargo) = &fleet.cargo else { return Err(FleetError::NoControlPlane.into()) };
    let delivery = Delivery::plan(&cargo.bundle, Role::ControlPlane, &inventory)?;
    if dry_run {
        if there.is_some() {
            // Only looked at: what is in the cluster tells what there is to do on the other hosts.
            let access = if kubeconfig.exists() { Some(Arc::new(Access::open(kubeconfig).await?)) } else { None };
            return Ok((HostResult::Already, access));
        }
        if !delivery.parts.is_empty() {
            found.planned.push(format!("send {} of the bundle", megabytes(delivery.bytes(cargo))));
        }
        found.planned.push(format!("make it the control plane as node {name}"));
        return Ok((HostResult::Planned, None));
    }
    if delivery.assemble && !matches!(host.way, Way::This) {
        fleet.step(&host.title, format!("sending what it lacks of the bundle ({})", megabytes(delivery.bytes(cargo))));
        fleet.interruptible(course.step("send", deliver(machine, cargo, &delivery))).await?;
    }
    fleet.step(&host.title, format!("making it the control plane as node {name}"));
    let report = fleet
        .interruptible(course.step("init", async {
            // the token of its report would go to nobody
            let words = [vec!["init", "--config", "-", "--skip-token-print"], machine.bundle_option()].concat();
            machine.junioadm(&words, Some(text(&host.documents)?)).await
        }))
        .await?;
    fleet.interruptible(course.step("kubeconfig", fetch(machine, kubeconfig))).await?;
    let access = fleet.interruptible(Access::open(kubeconfig)).await?;
    let marking =
        async { Ok(marks::apply(&access.api(), &name, Some(&host.marks), host.way.target().as_deref()).await?) };
    let changed: bool = fleet.interruptible(course.step("mark", marking)).await?;
    let again = report["reused"] == true;
    if again && changed {
        fleet.step(&host.title, "labels and taints changed");
    }
    let result = if again { HostResult::Already } else { HostResult::Initialized };
    Ok((result, Some(Arc::new(access))))
}

fn text(documents: &InitDocuments) -> Result<Secret<Vec<u8>>, FleetError> {
    let text = Documents::from(documents.clone()).to_values().and_then(|values| emit::to_multi_yaml(&values));
    text.map(|text| Secret::new(text.into_bytes())).map_err(|error| FleetError::Agent { said: error.to_string() })
}

/// A kubeconfig of another cluster is not written over.
fn keep_others(path: &Path, pin: Option<&str>) -> Result<(), HostFailure> {
    let Some(config) = Kubeconfig::load(path)? else { return Ok(()) };
    let found = config.ca_pem(path)?.map(|ca| ca_pin(&ca)).transpose()?;
    if found.is_some() && found.as_deref() == pin {
        return Ok(());
    }
    Err(FleetError::OtherKubeconfig { path: path.to_owned() }.into())
}

/// Brings the administrator's kubeconfig here, mode 0600.
async fn fetch(machine: &Machine<'_>, path: &Path) -> Result<(), HostFailure> {
    let output = machine.check(&["cat", "/etc/kubernetes/admin.conf"], None).await?;
    let text = Secret::new(output.stdout_text() + "\n");
    let config = Kubeconfig::parse(text.expose(), Path::new("/etc/kubernetes/admin.conf"))?;
    if Kubeconfig::load(path)?.is_some_and(|earlier| earlier == config) {
        return Ok(());
    }
    Ok(config.write(path)?)
}
