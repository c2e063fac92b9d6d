//! One host becomes a worker: looked at, given what it lacks, invited, joined, marked. Each step finds what an earlier run did.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kube::ResourceExt;
use tokio::sync::watch;

use super::access::{Access, is_ready, twin};
use super::delivery::{Cargo, Delivery, Role, deliver};
use super::error::{FleetError, HostFailure};
use super::event::FleetEvent;
use super::inventory::Inventory;
use super::machine::{Look, Machine};
use super::marks;
use super::options::{Fleet, FleetHost};
use super::report::{Course, HostReport, HostResult};
use crate::tokens;

/// Whether there is a cluster to join yet.
#[derive(Clone)]
pub(crate) enum Gate {
    /// Its control plane is being made.
    Shut,
    Open(Arc<Access>),
    /// There will be none.
    Broken,
}

/// What is found out about a host on the way, for its row.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) node_name: Option<String>,
    pub(crate) planned: Vec<String>,
    pub(crate) notes: Vec<String>,
}

/// Brings one host into the cluster. Never fails: what goes wrong is in the row.
pub(crate) async fn worker(fleet: &Fleet<'_>, host: &FleetHost, gate: watch::Receiver<Gate>) -> HostReport {
    let (sent, mut found) = (AtomicU64::new(0), Found::default());
    // known even if the host cannot be asked
    found.node_name = Some(host.join.node_registration.name.clone()).filter(|name| !name.is_empty());
    let waiting =
        fleet.interruptible(async { fleet.permits.acquire().await.map_err(|_| FleetError::Interrupted.into()) });
    let permit = waiting.await;
    let mut course = Course::new(fleet.started);
    let outcome = match permit {
        Ok(_permit) => joined(fleet, host, gate, &sent, &mut found, &mut course).await,
        Err(failure) => Err(failure),
    };
    row(fleet, &host.title, outcome, found, &sent, course)
}

/// A host's row, told to the reporter, too.
pub(crate) fn row(
    fleet: &Fleet<'_>,
    host: &str,
    outcome: Result<HostResult, HostFailure>,
    found: Found,
    sent: &AtomicU64,
    course: Course,
) -> HostReport {
    let (result, error) = match outcome {
        Ok(result) => (result, None),
        Err(failure) => (HostResult::Failed, Some(failure)),
    };
    fleet.event(&FleetEvent::Finished { host: host.to_owned(), result });
    let (elapsed, timeline) = course.finish();
    HostReport {
        host: host.to_owned(),
        node_name: found.node_name,
        result,
        elapsed,
        bytes_sent: sent.load(Ordering::Relaxed),
        error,
        planned: found.planned,
        notes: found.notes,
        timeline,
    }
}

async fn joined(
    fleet: &Fleet<'_>,
    host: &FleetHost,
    mut gate: watch::Receiver<Gate>,
    sent: &AtomicU64,
    found: &mut Found,
    course: &mut Course,
) -> Result<HostResult, HostFailure> {
    let title = host.title.as_str();
    let machine = fleet.interruptible(course.step("connect", Machine::open(fleet, title, &host.way, sent))).await?;
    let result = on_machine(fleet, host, &machine, &mut gate, found, course).await;
    machine.close().await;
    result
}

async fn on_machine(
    fleet: &Fleet<'_>,
    host: &FleetHost,
    machine: &Machine<'_>,
    gate: &mut watch::Receiver<Gate>,
    found: &mut Found,
    course: &mut Course,
) -> Result<HostResult, HostFailure> {
    let look = fleet.interruptible(course.step("look", machine.look())).await?;
    let inventory = match look {
        Look::Same(inventory) => *inventory,
        Look::Other(earlier) if fleet.options.dry_run => {
            found.planned = vec![
                format!("send junioadm ({}){}", megabytes(fleet.program.size), in_place_of(&earlier)),
                "send what it lacks of the bundle".to_owned(),
                "join it as a worker, unless it is one".to_owned(),
            ];
            return Ok(HostResult::Planned);
        }
        Look::Other(earlier) => {
            fleet.step(&host.title, format!("sending junioadm ({})", megabytes(fleet.program.size)));
            fleet.interruptible(course.step("junioadm", machine.install(&earlier))).await?
        }
    };
    let name = node_name(host, &inventory);
    found.node_name = Some(name.clone());
    fleet.claim(&host.title, &inventory.machine_id, &name)?;
    if fleet.options.dry_run {
        // whether there is a cluster is being found out at this moment
        let known = async {
            // the other side going away without a word is as good as a cluster that is not there
            let _ = gate.wait_for(|gate| !matches!(gate, Gate::Shut)).await;
            Ok::<(), HostFailure>(())
        };
        fleet.interruptible(known).await?;
    }
    let now = gate.borrow().clone();
    if let Some(result) = settled(fleet, host, &inventory, &name, &now).await? {
        return Ok(result);
    }
    if let Some(failure) = inventory.docker_error.clone() {
        return Err(failure);
    }
    let Some(cargo) = &fleet.cargo else { return Err(FleetError::NoControlPlane.into()) };
    let delivery = Delivery::plan(&cargo.bundle, Role::Worker, &inventory)?;
    if fleet.options.dry_run {
        found.planned = planned(cargo, &delivery, &name);
        return Ok(HostResult::Planned);
    }
    if delivery.assemble {
        let bytes = delivery.bytes(cargo);
        let what = if delivery.parts.is_empty() { "the list of the bundle" } else { "what it lacks of the bundle" };
        fleet.step(&host.title, format!("sending {what} ({})", megabytes(bytes)));
        fleet.interruptible(course.step("send", deliver(machine, cargo, &delivery))).await?;
    }
    let now = gate.borrow().clone();
    let access = match now {
        Gate::Open(access) => access,
        Gate::Broken => return Err(FleetError::NoControlPlane.into()),
        // The time in which the control plane comes up is used to load images.
        Gate::Shut => {
            let shut = prepare(fleet, host, machine, &delivery, gate);
            fleet.interruptible(course.step("prepare", shut)).await?
        }
    };
    // A cluster that has just come up may know the host from an earlier run.
    if let Some(result) = settled(fleet, host, &inventory, &name, &Gate::Open(Arc::clone(&access))).await? {
        return Ok(result);
    }
    let result = join(fleet, host, machine, &access, &name, course).await?;
    mark(fleet, host, &access, &name, course).await?;
    Ok(result)
}

fn node_name(host: &FleetHost, inventory: &Inventory) -> String {
    let wanted = &host.join.node_registration.name;
    if wanted.is_empty() { inventory.hostname.trim().to_lowercase() } else { wanted.clone() }
}

/// A host that is a Ready node of this cluster is left as it is, but for its marks. Refuses a machine that is another node.
async fn settled(
    fleet: &Fleet<'_>,
    host: &FleetHost,
    inventory: &Inventory,
    name: &str,
    gate: &Gate,
) -> Result<Option<HostResult>, HostFailure> {
    let Gate::Open(access) = gate else { return Ok(None) };
    let nodes = fleet.interruptible(async { Ok(access.nodes().await?) }).await?;
    if let Some(other) = twin(&nodes, &inventory.machine_id, name) {
        let other = format!("node {} of the cluster", other.name_any());
        let (host, machine_id) = (host.title.clone(), inventory.machine_id.clone());
        return Err(FleetError::SameMachine { host, other, machine_id }.into());
    }
    let is_member = inventory.node.as_ref().is_some_and(|node| node.ca_pin == access.ca_pin && node.node_name == name);
    if !is_member || !nodes.iter().any(|node| node.name_any() == name && is_ready(node)) {
        return Ok(None);
    }
    if let (Some(marks), false) = (&host.marks, fleet.options.dry_run) {
        let changed = marks::apply(&access.api(), name, Some(marks), target(host).as_deref()).await?;
        if changed {
            fleet.step(&host.title, "labels and taints changed");
        }
    }
    Ok(Some(HostResult::Already))
}

fn target(host: &FleetHost) -> Option<String> {
    host.way.target()
}

/// Loads images while there is no cluster yet, and returns the cluster when it is there.
async fn prepare(
    fleet: &Fleet<'_>,
    host: &FleetHost,
    machine: &Machine<'_>,
    delivery: &Delivery,
    gate: &mut watch::Receiver<Gate>,
) -> Result<Arc<Access>, HostFailure> {
    if delivery.unprepared {
        fleet.step(&host.title, "loading images while the control plane comes up");
        let words = [vec!["join", "phase", "images"], machine.bundle_option()].concat();
        machine.junioadm(&words, None).await?;
    }
    let opened = gate.wait_for(|gate| !matches!(gate, Gate::Shut)).await;
    match opened.as_deref() {
        Ok(Gate::Open(access)) => Ok(Arc::clone(access)),
        // the other side went away without a word: it failed
        Ok(_) | Err(_) => Err(FleetError::NoControlPlane.into()),
    }
}

/// Invites the host, runs `join` there, and takes the invitation back whatever came of it.
async fn join(
    fleet: &Fleet<'_>,
    host: &FleetHost,
    machine: &Machine<'_>,
    access: &Access,
    name: &str,
    course: &mut Course,
) -> Result<HostResult, HostFailure> {
    fleet.step(&host.title, format!("joining as node {name}"));
    let token = fleet.interruptible(async { Ok(access.invite(&host.title, name).await?) }).await?;
    let mut join = host.join.clone();
    if let Some(marks) = host.marks.as_ref().filter(|marks| !marks.taints.is_empty()) {
        // from the first moment on: nothing must be scheduled there before
        join.node_registration.taints.get_or_insert_default().extend(marks.taints.iter().cloned());
    }
    let outcome = fleet.interruptible(course.step("join", async {
        let document = access.document(&join, &token)?;
        let words = [vec!["join", "--config", "-"], machine.bundle_option()].concat();
        machine.junioadm(&words, Some(document)).await
    }));
    let outcome = outcome.await;
    if let Err(error) = tokens::delete(&access.client, token.id()).await {
        let text = format!("its token {} could not be deleted and ends in some minutes by itself: {error}", token.id());
        fleet.event(&FleetEvent::Warning { host: host.title.clone(), text });
    }
    let report = outcome?;
    Ok(if report["already"] == true { HostResult::Already } else { HostResult::Joined })
}

async fn mark(
    fleet: &Fleet<'_>,
    host: &FleetHost,
    access: &Access,
    name: &str,
    course: &mut Course,
) -> Result<(), HostFailure> {
    let marking = async { Ok(marks::apply(&access.api(), name, host.marks.as_ref(), target(host).as_deref()).await?) };
    fleet.interruptible(course.step("mark", marking)).await.map(|_: bool| ())
}

fn planned(cargo: &Cargo, delivery: &Delivery, name: &str) -> Vec<String> {
    let mut planned = Vec::new();
    if !delivery.parts.is_empty() {
        let names: Vec<&str> = delivery.parts.iter().map(|part| part.name.as_str()).collect();
        planned.push(format!("send {} of the bundle: {}", megabytes(delivery.bytes(cargo)), names.join(", ")));
    }
    planned.push(format!("join it as node {name}"));
    planned
}

fn in_place_of(earlier: &str) -> &'static str {
    if earlier == "none" { "" } else { " in the place of another version" }
}

pub(crate) fn megabytes(bytes: u64) -> String {
    if bytes < 100_000 { format!("{} kB", bytes.div_ceil(1000)) } else { format!("{:.1} MB", bytes as f64 / 1e6) }
}
