//! `reset` of hosts from here: what junioadm made there goes, then what was sent, then the Node.

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;

use futures::future::join_all;
use junio_host::ssh::{Prompter, Target};
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::error::{FleetError, HostFailure};
use super::event::{FleetEvent, FleetReporter};
use super::machine::{Look, Machine, PROGRAM};
use super::options::{Fleet, FleetOptions, Way};
use super::prune::delete;
use super::report::{Course, FleetReport, HostReport, HostResult};
use super::worker::{Found, row};

/// Hosts that are to be as they were.
#[derive(Debug, Clone)]
pub struct ResetHosts {
    pub hosts: Vec<Target>,
    /// For deleting the Nodes; without one they stay in the cluster's list.
    pub kubeconfig: Option<PathBuf>,
    /// Words for `junioadm reset` there, for example `--cleanup-tmp-dir`.
    pub arguments: Vec<String>,
}

/// Resets all hosts. A host that fails does not keep the others.
///
/// # Errors
/// Only before any host is touched: a kubeconfig that does not work.
pub async fn reset_hosts(
    options: &FleetOptions,
    wanted: &ResetHosts,
    reporter: &dyn FleetReporter,
    prompter: &dyn Prompter,
    cancel: CancellationToken,
) -> Result<FleetReport, HostFailure> {
    let fleet = Fleet::new(options, reporter, prompter, cancel, false).await?;
    let access = match &wanted.kubeconfig {
        Some(path) => Some(Access::open(path).await?),
        None => None,
    };
    let hosts =
        join_all(wanted.hosts.iter().map(|target| one(&fleet, target, access.as_ref(), &wanted.arguments))).await;
    Ok(FleetReport {
        hosts,
        kubeconfig: wanted.kubeconfig.clone(),
        not_in_file: Vec::new(),
        elapsed: fleet.started.elapsed(),
    })
}

async fn one(fleet: &Fleet<'_>, target: &Target, access: Option<&Access>, arguments: &[String]) -> HostReport {
    let title = target.to_string();
    let (sent, mut found) = (AtomicU64::new(0), Found::default());
    let waiting =
        fleet.interruptible(async { fleet.permits.acquire().await.map_err(|_| FleetError::Interrupted.into()) });
    let permit = waiting.await;
    let mut course = Course::new(fleet.started);
    let outcome = async {
        let _permit = permit?;
        let way = Way::Ssh(target.clone());
        let opened = course.step("connect", Machine::open(fleet, &title, &way, &sent));
        let machine = fleet.interruptible(opened).await?;
        let outcome = on_machine(fleet, &machine, &title, access, arguments, &mut found, &mut course).await;
        machine.close().await;
        outcome
    }
    .await;
    row(fleet, &title, outcome, found, &sent, course)
}

async fn on_machine(
    fleet: &Fleet<'_>,
    machine: &Machine<'_>,
    title: &str,
    access: Option<&Access>,
    arguments: &[String],
    found: &mut Found,
    course: &mut Course,
) -> Result<HostResult, HostFailure> {
    let look = fleet.interruptible(course.step("look", machine.look())).await?;
    let inventory = match look {
        Look::Same(inventory) => *inventory,
        Look::Other(earlier) if fleet.options.dry_run => {
            let sends = if earlier == "none" { "send junioadm, " } else { "send this junioadm, " };
            found.planned = vec![format!("{sends}reset the host, delete its Node")];
            return Ok(HostResult::Planned);
        }
        Look::Other(earlier) => {
            fleet.step(title, "sending junioadm");
            fleet.interruptible(course.step("junioadm", machine.install(&earlier))).await?
        }
    };
    found.node_name = inventory.node.as_ref().map(|node| node.node_name.clone());
    if let (Some(node), Some(access)) = (&inventory.node, access)
        && node.ca_pin != access.ca_pin
    {
        return Err(FleetError::NotOurs { node: node.node_name.clone() }.into());
    }
    if fleet.options.dry_run {
        let node = found.node_name.as_ref().map(|name| format!(", delete node {name}")).unwrap_or_default();
        found.planned = vec![format!("reset the host{node}")];
        return Ok(HostResult::Planned);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    fleet.step(title, "resetting");
    let nothing = course.step("reset", fleet.interruptible(reset_with(machine, &arguments, found))).await?;
    if let (Some(access), Some(name)) = (access, found.node_name.clone()) {
        let deleting = async { delete(&access.api(), &name).await.map_err(HostFailure::from) };
        let deleted = fleet.interruptible(course.step("delete", deleting)).await?;
        found.notes.push(if deleted { format!("node {name} deleted") } else { format!("node {name} was gone") });
    } else if let (None, Some(name)) = (access, &found.node_name) {
        let text = format!("node {name} stays in its cluster's list: no kubeconfig is at hand to delete it with");
        fleet.event(&FleetEvent::Warning { host: title.to_owned(), text: text.clone() });
        found.notes.push(text);
    }
    Ok(if nothing { HostResult::Already } else { HostResult::Reset })
}

/// Resets a host that was connected to for another reason.
pub(crate) async fn reset_machine(
    fleet: &Fleet<'_>,
    machine: &Machine<'_>,
    title: &str,
    found: &mut Found,
) -> Result<(), HostFailure> {
    if let Look::Other(earlier) = machine.look().await? {
        machine.install(&earlier).await?;
    }
    fleet.step(title, "resetting");
    reset_with(machine, &[], found).await.map(|_: bool| ())
}

/// True when there was nothing to remove.
async fn reset_with(machine: &Machine<'_>, arguments: &[&str], found: &mut Found) -> Result<bool, HostFailure> {
    let words = [&["reset", "--force"][..], arguments].concat();
    let report = machine.junioadm(&words, None).await?;
    let list = |field: &str| {
        report[field].as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    let (removed, left): (Vec<String>, Vec<String>) = (list("removed"), list("left"));
    found.notes.extend(left.into_iter().map(|text| format!("left: {text}")));
    machine.check(&[PROGRAM, "agent", "forget"], None).await?;
    Ok(removed.is_empty())
}
