//! Takes a lab away, whole or half-made: containers with their volumes, network, firewall rule, state directory.
//!
//! Every step finds its objects by itself and accepts that there are none, so that `down` can be run at any moment and again.

use bollard::Docker;
use bollard::query_parameters::RemoveContainerOptionsBuilder;
use futures::future::try_join_all;

use crate::engine::{self, is_absent};
use crate::state::StateDir;
use crate::{LabError, LabName, Progress, firewall, lab, list, machine, network};

/// Takes the lab `name` away.
///
/// # Errors
/// [`LabError::NotFound`] when nothing of it exists; otherwise what could not be removed. Running it again goes on.
pub async fn down(name: &LabName, progress: &dyn Progress) -> Result<(), LabError> {
    machine::require_root()?;
    let docker = engine::connect().await?;
    if !list::known_names(&docker).await?.contains(name) {
        return Err(LabError::NotFound { name: name.to_string() });
    }
    progress.step(&format!("taking down the lab {name}"));
    remove(&docker, name).await
}

/// Takes every lab of this machine away and returns their names.
///
/// # Errors
/// As [`down`], after trying all of them.
pub async fn down_all(progress: &dyn Progress) -> Result<Vec<LabName>, LabError> {
    machine::require_root()?;
    let docker = engine::connect().await?;
    let names = list::known_names(&docker).await?;
    let mut first_error = None;
    for name in &names {
        progress.step(&format!("taking down the lab {name}"));
        if let Err(error) = remove(&docker, name).await {
            first_error.get_or_insert(error);
        }
    }
    first_error.map_or(Ok(names), Err)
}

/// Removes all that is left of a lab. The state directory goes last: while it exists, the lab is known.
pub(crate) async fn remove(docker: &Docker, name: &LabName) -> Result<(), LabError> {
    let containers = lab::containers(docker, Some(name)).await?;
    try_join_all(
        containers.iter().filter_map(|container| container.id.as_deref()).map(|id| remove_container(docker, id)),
    )
    .await?;
    network::remove(docker, name).await?;
    firewall::release(name).await?;
    StateDir::of(name)?.remove()
}

async fn remove_container(docker: &Docker, id: &str) -> Result<(), LabError> {
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    match docker.remove_container(id, Some(options)).await {
        Err(error) if !is_absent(&error) => Err(LabError::engine(format!("remove the container {id}"))(error)),
        _ => Ok(()),
    }
}
