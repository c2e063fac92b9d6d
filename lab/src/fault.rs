//! Bad days for a host: stopped, restarted, frozen, cut off. For tests and for the curious.

use bollard::models::{EndpointIpamConfig, EndpointSettings, NetworkConnectRequest, NetworkDisconnectRequest};
use bollard::query_parameters::{KillContainerOptions, StopContainerOptions};

use crate::network::network_name;
use crate::{LabError, LabHost};

impl LabHost {
    /// Shuts the host's system down in order.
    ///
    /// # Errors
    /// When the engine refuses; a stopped host is no error.
    pub async fn stop(&self) -> Result<(), LabError> {
        self.docker
            .stop_container(&self.name, None::<StopContainerOptions>)
            .await
            .map_err(LabError::engine(format!("stop {}", self.name)))
    }

    /// Pulls the plug: every process of the host dies at once.
    ///
    /// # Errors
    /// When the host is not running.
    pub async fn power_off(&self) -> Result<(), LabError> {
        self.docker
            .kill_container(&self.name, None::<KillContainerOptions>)
            .await
            .map_err(LabError::engine(format!("kill {}", self.name)))
    }

    /// Starts a stopped host and waits until its system with Docker is up. What was on its disks is still there.
    ///
    /// # Errors
    /// [`LabError::HostNotReady`] says what did not come up.
    pub async fn start(&self) -> Result<(), LabError> {
        self.docker
            .start_container(&self.name, None::<bollard::query_parameters::StartContainerOptions>)
            .await
            .map_err(LabError::engine(format!("start {}", self.name)))?;
        self.wait_ready().await.map(drop)
    }

    /// Freezes every process of the host.
    ///
    /// # Errors
    /// When the host is not running.
    pub async fn freeze(&self) -> Result<(), LabError> {
        self.docker.pause_container(&self.name).await.map_err(LabError::engine(format!("freeze {}", self.name)))
    }

    /// Ends [`LabHost::freeze`].
    ///
    /// # Errors
    /// When the host is not frozen.
    pub async fn thaw(&self) -> Result<(), LabError> {
        self.docker.unpause_container(&self.name).await.map_err(LabError::engine(format!("thaw {}", self.name)))
    }

    /// Takes the host's network interface away.
    ///
    /// # Errors
    /// When it is away already.
    pub async fn cut_network(&self) -> Result<(), LabError> {
        let request = NetworkDisconnectRequest { container: self.name.clone(), force: Some(true) };
        self.docker
            .disconnect_network(&network_name(&self.lab), request)
            .await
            .map_err(LabError::engine(format!("cut the network of {}", self.name)))
    }

    /// Gives the interface back with the same address. It comes back under another name (`eth1`).
    ///
    /// # Errors
    /// When it is there already.
    pub async fn heal_network(&self) -> Result<(), LabError> {
        let request = NetworkConnectRequest {
            container: self.name.clone(),
            endpoint_config: Some(EndpointSettings {
                ipam_config: Some(EndpointIpamConfig {
                    ipv4_address: Some(self.address.to_string()),
                    ..EndpointIpamConfig::default()
                }),
                ..EndpointSettings::default()
            }),
        };
        self.docker
            .connect_network(&network_name(&self.lab), request)
            .await
            .map_err(LabError::engine(format!("heal the network of {}", self.name)))
    }
}
