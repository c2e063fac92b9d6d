//! Makes a lab: image, network, hosts, and a control plane unless only hosts are wanted. Workers are prepared for it.

use std::path::Path;

use bollard::Docker;
use bollard::query_parameters::StartContainerOptions;
use futures::future::{join_all, try_join_all};
use tokio_util::sync::CancellationToken;

use crate::address::{LabSubnet, MAX_HOSTS};
use crate::engine::{self, LABEL_FIRST_PROCESS, LABEL_SUITE};
use crate::host::{FirstProcess, HostPlan};
use crate::image::{self, Suite};
use crate::machine::{self, Confinement};
use crate::state::{LabRecord, StateDir, lock};
use crate::{Lab, LabError, LabHost, LabName, Payload, Progress, copy, down, lab, network, ssh};

/// What lab to make.
#[derive(Debug, Clone)]
pub struct UpOptions {
    pub name: LabName,
    pub control_planes: usize,
    pub workers: usize,
    pub suite: Suite,
    /// Hosts only, no cluster.
    pub hosts_only: bool,
    pub first_process: FirstProcess,
    /// What is put on the hosts; None leaves them plain (then only hosts can be made).
    pub payload: Option<Payload>,
}

impl UpOptions {
    /// One host of the default suite, with a cluster.
    #[must_use]
    pub fn new(name: LabName, payload: Option<Payload>) -> Self {
        let (suite, first_process) = (Suite::default(), FirstProcess::default());
        Self { name, control_planes: 1, workers: 0, suite, hosts_only: false, first_process, payload }
    }

    fn hosts(&self) -> usize {
        self.control_planes + self.workers
    }

    fn check(&self) -> Result<(), LabError> {
        if self.hosts() == 0 || self.hosts() > MAX_HOSTS {
            return Err(LabError::HostCount { hosts: self.hosts() });
        }
        if !self.hosts_only && self.control_planes != 1 {
            return Err(LabError::ClusterShape { control_planes: self.control_planes, workers: self.workers });
        }
        Ok(())
    }
}

/// Makes the lab, or takes up one of the same shape that exists: stopped hosts are started, an unfinished cluster is
/// finished. What a half-made lab left is taken away first. When hosts cannot be made, or `cancel` fires before all of them
/// are up, nothing of the lab is left; from then on, hosts stay whatever happens to the cluster. Workers are not joined: that
/// is done over SSH, as with real hosts.
///
/// # Errors
/// [`LabError::Exists`] when a lab of that name has another shape; [`LabError::Init`] when the control plane fails.
pub async fn up(options: &UpOptions, progress: &dyn Progress, cancel: &CancellationToken) -> Result<Lab, LabError> {
    options.check()?;
    machine::require_root()?;
    let docker = engine::connect().await?;
    let state = StateDir::of(&options.name)?;
    let lab = match existing(&docker, options, &state).await? {
        Some(hosts) => {
            progress.step(&format!("taking up the lab {}", options.name));
            try_join_all(hosts.iter().map(start_again)).await?;
            Lab { name: options.name.clone(), hosts, state }
        }
        None => make(&docker, options, state, progress, cancel).await?,
    };
    if !options.hosts_only {
        let (made, ()) = tokio::join!(lab.init(progress, cancel), lab.prepare_workers());
        made?;
        lab.kubeconfig().await?;
    }
    Ok(lab)
}

/// The hosts of a finished lab of this name and shape. The rest of an unfinished one is removed.
async fn existing(docker: &Docker, options: &UpOptions, state: &StateDir) -> Result<Option<Vec<LabHost>>, LabError> {
    let containers = lab::containers(docker, Some(&options.name)).await?;
    let hosts = lab::hosts_of(docker, Some(&options.name)).await?;
    let complete = state.record().is_ok_and(|record| record.is_some_and(|record| record.complete));
    if !complete || hosts.is_empty() {
        if state.exists() || !containers.is_empty() {
            down::remove(docker, &options.name).await?;
        }
        return Ok(None);
    }
    let suite = containers.iter().find_map(|container| container.labels.as_ref()?.get(LABEL_SUITE).cloned());
    let suite = suite.unwrap_or_default();
    let first = containers.iter().find_map(|container| container.labels.as_ref()?.get(LABEL_FIRST_PROCESS).cloned());
    let first = first.unwrap_or_default();
    if hosts.len() != options.hosts() || suite != options.suite.name() || first != options.first_process.name() {
        return Err(LabError::Exists {
            name: options.name.to_string(),
            found: format!("{} {suite} hosts with {first}", hosts.len()),
            wanted: format!("{} {} hosts with {}", options.hosts(), options.suite, options.first_process.name()),
        });
    }
    Ok(Some(hosts))
}

async fn start_again(host: &LabHost) -> Result<(), LabError> {
    host.start().await
}

/// Makes network and hosts, or leaves nothing.
async fn make(
    docker: &Docker,
    options: &UpOptions,
    state: StateDir,
    progress: &dyn Progress,
    cancel: &CancellationToken,
) -> Result<Lab, LabError> {
    let image = image::ensure(docker, options.suite, progress, cancel).await?;
    match make_hosts(docker, options, &image, &state, progress, cancel).await {
        Ok(hosts) => Ok(Lab { name: options.name.clone(), hosts, state }),
        Err(error) => {
            // the first error is the one to tell; what removal could not do, the next `down` can
            if let Err(left) = down::remove(docker, &options.name).await {
                tracing::warn!(lab = %options.name, error = %left, "a half-made lab could not be removed");
            }
            Err(error)
        }
    }
}

async fn make_hosts(
    docker: &Docker,
    options: &UpOptions,
    image: &str,
    state: &StateDir,
    progress: &dyn Progress,
    cancel: &CancellationToken,
) -> Result<Vec<LabHost>, LabError> {
    let count = options.hosts();
    let noun = if count == 1 { "host" } else { "hosts" };
    progress.step(&format!("starting {count} {} {noun} of the lab {}", options.suite, options.name));
    state.create()?;
    let key = ssh::ensure_key(state).await?;
    let archive = state.path("payload.tar");
    {
        let (payload, archive, first) = (options.payload.clone(), archive.clone(), options.first_process);
        tokio::task::spawn_blocking(move || Payload::pack(payload.as_ref(), first, &key, &archive))
            .await
            .map_err(|error| LabError::file("pack", state.path("payload.tar"))(std::io::Error::other(error)))??;
    }
    let subnet: LabSubnet = {
        let _one_at_a_time = lock("networks.lock").await?;
        network::create(docker, &options.name, state, options.suite.name(), count).await?
    };
    let plan = HostPlan {
        image,
        suite: options.suite,
        first_process: options.first_process,
        subnet,
        hosts: count,
        confinement: Confinement::of_machine()?,
    };
    // Not cut short by an error or an interruption: the engine would go on making a host behind the back of `remove`.
    let started = join_all((1..=count).map(|number| start_new(docker, &options.name, &plan, number, &archive))).await;
    let hosts = started.into_iter().collect::<Result<Vec<LabHost>, LabError>>()?;
    std::fs::remove_file(&archive).map_err(LabError::file("remove", &archive))?;
    let keys = tokio::select! {
        keys = try_join_all(hosts.iter().map(LabHost::wait_ready)) => keys?,
        () = cancel.cancelled() => return Err(LabError::Interrupted),
    };
    ssh::write_client_files(state, &hosts, &keys)?;
    state.write_record(&LabRecord {
        subnet: subnet.0,
        suite: options.suite.to_string(),
        hosts: count,
        complete: true,
    })?;
    Ok(hosts)
}

/// Creates a host, copies its files before it starts, and starts it.
async fn start_new(
    docker: &Docker,
    lab: &LabName,
    plan: &HostPlan<'_>,
    number: usize,
    archive: &Path,
) -> Result<LabHost, LabError> {
    let host = LabHost::create(docker, lab, plan, number).await?;
    copy::upload_archive(docker, host.name(), archive).await?;
    docker
        .start_container(host.name(), None::<StartContainerOptions>)
        .await
        .map_err(LabError::engine(format!("start the host {}", host.name())))?;
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(control_planes: usize, workers: usize, hosts_only: bool) -> UpOptions {
        let name = "t".parse().expect("a name");
        UpOptions { control_planes, workers, hosts_only, ..UpOptions::new(name, None) }
    }

    #[test]
    fn a_cluster_with_one_control_plane_and_any_number_of_hosts_are_taken() {
        assert!(options(1, 0, false).check().is_ok());
        assert!(options(1, 2, false).check().is_ok());
        assert!(options(3, 4, true).check().is_ok());
        assert!(matches!(options(0, 1, false).check(), Err(LabError::ClusterShape { workers: 1, .. })));
        assert!(matches!(options(3, 0, false).check(), Err(LabError::ClusterShape { control_planes: 3, .. })));
        assert!(matches!(options(0, 0, true).check(), Err(LabError::HostCount { hosts: 0 })));
        assert!(matches!(options(1, 200, true).check(), Err(LabError::HostCount { hosts: 201 })));
    }
}
