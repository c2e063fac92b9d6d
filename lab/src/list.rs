//! What labs there are, half-made ones included.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use bollard::models::ContainerSummaryStateEnum;
use serde::Serialize;

use crate::engine::{self, LABEL_ADDRESS, LABEL_HOST, LABEL_LAB, LABEL_NUMBER, LABEL_SUITE};
use crate::state::StateDir;
use crate::{LabError, LabName, firewall, lab, network};

/// One lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LabSummary {
    pub name: String,
    /// Empty for a lab without hosts.
    pub suite: String,
    pub hosts: Vec<HostSummary>,
    /// False when `up` was cut short; `down` takes such a lab away like any other.
    pub complete: bool,
}

/// One host of a lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostSummary {
    pub name: String,
    pub address: Option<Ipv4Addr>,
    /// The engine's word: `running`, `exited`, `paused`, `created`, ...
    pub state: String,
}

/// All labs by name. A lab of which only a network, a rule or a state directory is left is listed too.
///
/// # Errors
/// When the engine does not answer or a state directory can not be read.
pub async fn list() -> Result<Vec<LabSummary>, LabError> {
    let docker = engine::connect().await?;
    let mut labs: BTreeMap<LabName, LabSummary> = BTreeMap::new();
    let mut numbered: Vec<(usize, LabName, HostSummary)> = Vec::new();
    for container in lab::containers(&docker, None).await? {
        let labels = container.labels.unwrap_or_default();
        let Some(name) = labels.get(LABEL_LAB).and_then(|name| name.parse::<LabName>().ok()) else { continue };
        let label = |key: &str| labels.get(key).cloned().unwrap_or_default();
        let summary = HostSummary {
            name: label(LABEL_HOST),
            address: label(LABEL_ADDRESS).parse().ok(),
            state: container.state.unwrap_or(ContainerSummaryStateEnum::EMPTY).to_string(),
        };
        entry(&mut labs, &name).suite = label(LABEL_SUITE);
        numbered.push((label(LABEL_NUMBER).parse().unwrap_or(0), name, summary));
    }
    numbered.sort_by_key(|(number, ..)| *number);
    for (_, name, summary) in numbered {
        entry(&mut labs, &name).hosts.push(summary);
    }
    for name in known_names(&docker).await? {
        let complete = StateDir::of(&name)?.record().is_ok_and(|record| record.is_some_and(|record| record.complete));
        entry(&mut labs, &name).complete = complete;
    }
    Ok(labs.into_values().collect())
}

fn entry<'a>(labs: &'a mut BTreeMap<LabName, LabSummary>, name: &LabName) -> &'a mut LabSummary {
    labs.entry(name.clone()).or_insert_with(|| LabSummary {
        name: name.to_string(),
        suite: String::new(),
        hosts: Vec::new(),
        complete: false,
    })
}

/// Every lab of which anything is left on the machine.
pub(crate) async fn known_names(docker: &bollard::Docker) -> Result<Vec<LabName>, LabError> {
    let mut names = StateDir::names()?;
    names.extend(network::labs(docker).await?);
    names.extend(firewall::isolated_labs().await?);
    names.extend(lab::hosts_of(docker, None).await?.into_iter().map(|host| host.lab));
    names.sort();
    names.dedup();
    Ok(names)
}
