//! All hosts of a file at once: the control plane comes up while workers are given what they lack, then they join; what no host
//! stands for any more is named, or pruned.

use std::path::PathBuf;
use std::time::Duration;

use futures::future::join_all;
use junio_host::ssh::Prompter;
use kube::ResourceExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::access::{Access, is_control_plane};
use super::control_plane::{ControlPlaneHost, control_plane};
use super::error::{FleetError, HostFailure};
use super::event::FleetReporter;
use super::options::{Fleet, FleetHost, FleetOptions};
use super::prune::prune;
use super::report::{FleetReport, HostReport};
use super::worker::{Gate, worker};

/// Hosts that are to join a cluster that exists.
#[derive(Debug, Clone)]
pub struct JoinHosts {
    pub hosts: Vec<FleetHost>,
    /// Of the cluster's administrator, on this machine.
    pub kubeconfig: PathBuf,
}

/// A whole cluster.
#[derive(Debug, Clone)]
pub struct ApplyCluster {
    pub control_plane: ControlPlaneHost,
    pub workers: Vec<FleetHost>,
    /// Where the administrator's kubeconfig goes.
    pub kubeconfig: PathBuf,
    /// Take nodes out that no host stands for.
    pub prune: bool,
    /// How long pods may take to leave such a node.
    pub drain_timeout: Duration,
}

/// Joins all hosts. A host that fails does not keep the others.
///
/// # Errors
/// Only before any host is touched: a bundle or kubeconfig that does not work.
pub async fn join_hosts(
    options: &FleetOptions,
    wanted: &JoinHosts,
    reporter: &dyn FleetReporter,
    prompter: &dyn Prompter,
    cancel: CancellationToken,
) -> Result<FleetReport, HostFailure> {
    let fleet = Fleet::new(options, reporter, prompter, cancel, true).await?;
    let access = Access::open(&wanted.kubeconfig).await?;
    let (_gate, open) = watch::channel(Gate::Open(access.into()));
    let hosts = join_all(wanted.hosts.iter().map(|host| worker(&fleet, host, open.clone()))).await;
    let kubeconfig = Some(wanted.kubeconfig.clone());
    Ok(FleetReport { hosts, kubeconfig, not_in_file: Vec::new(), elapsed: fleet.started.elapsed() })
}

/// Makes the hosts of a file a cluster; run again, it does what is left to do.
///
/// # Errors
/// Only before any host is touched: a bundle that does not work.
pub async fn apply_cluster(
    options: &FleetOptions,
    wanted: &ApplyCluster,
    reporter: &dyn FleetReporter,
    prompter: &dyn Prompter,
    cancel: CancellationToken,
) -> Result<FleetReport, HostFailure> {
    let fleet = Fleet::new(options, reporter, prompter, cancel, true).await?;
    let (gate, shut) = watch::channel(Gate::Shut);
    let first = async {
        let (row, access) = control_plane(&fleet, &wanted.control_plane, &wanted.kubeconfig).await;
        // nobody may be waiting
        let _ = gate.send(access.clone().map_or(Gate::Broken, Gate::Open));
        (row, access)
    };
    let others = join_all(wanted.workers.iter().map(|host| worker(&fleet, host, shut.clone())));
    let ((row, access), rows) = tokio::join!(first, others);
    let mut hosts = vec![row];
    hosts.extend(rows);
    let mut not_in_file = Vec::new();
    if let Some(access) = access {
        match leftover(&fleet, wanted, &access, &mut hosts).await {
            Ok(nodes) => not_in_file = nodes,
            Err(failure) => hosts.push(HostReport::failed("the cluster's nodes", failure)),
        }
    }
    let kubeconfig = wanted.kubeconfig.exists().then(|| wanted.kubeconfig.clone());
    Ok(FleetReport { hosts, kubeconfig, not_in_file, elapsed: fleet.started.elapsed() })
}

/// Nodes that no host stands for: pruned into `hosts`, or returned by name.
async fn leftover(
    fleet: &Fleet<'_>,
    wanted: &ApplyCluster,
    access: &Access,
    hosts: &mut Vec<HostReport>,
) -> Result<Vec<String>, HostFailure> {
    let nodes = access.nodes().await?;
    let names: Vec<&str> = hosts.iter().filter_map(|host| host.node_name.as_deref()).collect();
    let extra: Vec<_> = nodes.into_iter().filter(|node| !names.contains(&node.name_any().as_str())).collect();
    if extra.is_empty() || fleet.cancel.is_cancelled() {
        return Ok(Vec::new());
    }
    let all = || extra.iter().map(ResourceExt::name_any).collect::<Vec<_>>();
    if !wanted.prune {
        return Ok(all());
    }
    // A host that was not reached may be any of them.
    let blind: Vec<&str> =
        hosts.iter().filter(|host| host.node_name.is_none()).map(|host| host.host.as_str()).collect();
    if !blind.is_empty() {
        let failure = HostFailure::from(FleetError::PruneBlind { hosts: blind.join(", ") });
        hosts.push(HostReport::failed(&all().join(", "), failure));
        return Ok(all());
    }
    let leaving = extra.iter().map(|node| prune(fleet, access, node, wanted.drain_timeout));
    let rows = join_all(leaving).await;
    let kept = extra.iter().filter(|node| is_control_plane(node)).map(ResourceExt::name_any).collect();
    hosts.extend(rows);
    Ok(kept)
}
