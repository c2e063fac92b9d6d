//! The lab's bridge network: chosen free of everything the machine routes to, and cut off from the outside.

use std::collections::HashMap;

use bollard::Docker;
use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use bollard::query_parameters::ListNetworksOptionsBuilder;
use ipnet::Ipv4Net;

use crate::address::{LabSubnet, routed_networks};
use crate::engine::{LABEL_LAB, belongs_to, is_absent};
use crate::state::{LabRecord, StateDir};
use crate::{LabError, LabName, firewall};

/// The Docker network of a lab.
pub(crate) fn network_name(name: &LabName) -> String {
    format!("junioadm-lab-{name}")
}

/// Makes the network and its firewall rule. The choice is recorded first, so that a half-made lab is known as one.
/// The caller holds the labs' lock: two labs must not choose the same network.
pub(crate) async fn create(
    docker: &Docker,
    name: &LabName,
    state: &StateDir,
    suite: &str,
    hosts: usize,
) -> Result<LabSubnet, LabError> {
    let subnet = LabSubnet::first_free(&taken(docker).await?)?;
    state.write_record(&LabRecord { subnet: subnet.0, suite: suite.to_owned(), hosts, complete: false })?;
    firewall::isolate(name, subnet).await?;
    let request = NetworkCreateRequest {
        name: network_name(name),
        driver: Some("bridge".to_owned()),
        labels: Some(HashMap::from([(LABEL_LAB.to_owned(), name.to_string())])),
        ipam: Some(Ipam {
            config: Some(vec![IpamConfig {
                subnet: Some(subnet.network().to_string()),
                gateway: Some(subnet.gateway().to_string()),
                ..IpamConfig::default()
            }]),
            ..Ipam::default()
        }),
        options: Some(HashMap::from([
            ("com.docker.network.bridge.name".to_owned(), subnet.bridge()),
            ("com.docker.network.bridge.enable_ip_masquerade".to_owned(), "false".to_owned()),
        ])),
        ..NetworkCreateRequest::default()
    };
    docker.create_network(request).await.map_err(LabError::engine(format!(
        "create the network {} ({})",
        network_name(name),
        subnet.network()
    )))?;
    Ok(subnet)
}

/// Removes the lab's networks; none is no error.
pub(crate) async fn remove(docker: &Docker, name: &LabName) -> Result<(), LabError> {
    let options = ListNetworksOptionsBuilder::new().filters(&belongs_to(Some(name))).build();
    let networks = docker.list_networks(Some(options)).await.map_err(LabError::engine("list networks"))?;
    for network in networks {
        let id = network.id.unwrap_or_default();
        match docker.remove_network(&id).await {
            Err(error) if !is_absent(&error) => {
                return Err(LabError::engine(format!("remove the network {}", network_name(name)))(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Labs that have a network.
pub(crate) async fn labs(docker: &Docker) -> Result<Vec<LabName>, LabError> {
    let options = ListNetworksOptionsBuilder::new().filters(&belongs_to(None)).build();
    let networks = docker.list_networks(Some(options)).await.map_err(LabError::engine("list networks"))?;
    Ok(networks.iter().filter_map(|network| network.labels.as_ref()?.get(LABEL_LAB)?.parse().ok()).collect())
}

/// Everything that a new network must not overlap: Docker's networks (also unused ones) and the machine's routes.
async fn taken(docker: &Docker) -> Result<Vec<Ipv4Net>, LabError> {
    let path = "/proc/net/route";
    let table = std::fs::read_to_string(path).map_err(LabError::file("read", path))?;
    let mut taken = routed_networks(&table);
    let networks = docker
        .list_networks(None::<bollard::query_parameters::ListNetworksOptions>)
        .await
        .map_err(LabError::engine("list networks"))?;
    let configs = networks.into_iter().filter_map(|network| network.ipam?.config).flatten();
    taken.extend(configs.filter_map(|config| config.subnet?.parse::<Ipv4Net>().ok()));
    Ok(taken)
}
