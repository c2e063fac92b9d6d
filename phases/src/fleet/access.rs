//! The cluster that hosts join: a client as its administrator, where workers find it, and the invitations of hosts.

use std::path::Path;

use junio_api::config::join::{BootstrapTokenDiscovery, Discovery};
use junio_api::config::{BootstrapToken, JoinConfiguration, Kind, defaults, emit};
use junio_api::duration::GoDuration;
use junio_api::{Secret, Token, names};
use junio_pki::Kubeconfig;
use junio_pki::token::ca_pin;
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

use super::error::{FleetError, HostFailure};
use crate::client::{ApiError, connect};
use crate::tokens;

/// A host that was just looked at joins within seconds; large images are sent before the invitation is made.
const TOKEN_LIFE: GoDuration = GoDuration::from_secs(10 * 60);

/// A cluster, seen as its administrator.
pub(crate) struct Access {
    pub(crate) client: Client,
    /// `HOST:PORT` as workers reach it.
    pub(crate) endpoint: String,
    pub(crate) ca_pin: String,
}

impl Access {
    /// Connects with a kubeconfig. A server on the loopback is replaced by the one that `cluster-info` names.
    pub(crate) async fn open(kubeconfig: &Path) -> Result<Self, HostFailure> {
        let lacks = |what| FleetError::Kubeconfig { path: kubeconfig.to_owned(), what };
        let config = Kubeconfig::load(kubeconfig)?.ok_or_else(|| lacks("cluster: the file is not there"))?;
        let ca = config.ca_pem(kubeconfig)?.ok_or_else(|| lacks("CA"))?;
        let server = config.current().map(|(cluster, _)| cluster.server.clone()).ok_or_else(|| lacks("cluster"))?;
        let client = connect(kubeconfig, None).await?;
        let endpoint = if is_loopback(&server) { advertised(&client).await?.unwrap_or(server) } else { server };
        // Also the first request: a kubeconfig that does not work is found here, before any host is touched.
        let access = Self { client, endpoint: host_port(&endpoint), ca_pin: ca_pin(&ca)? };
        access.nodes().await?;
        Ok(access)
    }

    pub(crate) async fn nodes(&self) -> Result<Vec<Node>, ApiError> {
        let failed = |source| ApiError::Request { operation: "list the nodes".to_owned(), source };
        Ok(self.api().list(&ListParams::default()).await.map_err(failed)?.items)
    }

    pub(crate) fn api(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    /// A token that only this host is given, for one join.
    pub(crate) async fn invite(&self, host: &str, node: &str) -> Result<Token, ApiError> {
        let token = Token::generate();
        let mut wanted = BootstrapToken {
            description: format!("for {host} alone, to join as node {node}"),
            ttl: Some(TOKEN_LIFE),
            ..BootstrapToken::default()
        };
        defaults::bootstrap_token(&mut wanted, &token);
        tokens::create(&self.client, &wanted).await?;
        Ok(token)
    }

    /// What the host reads from its standard input.
    pub(crate) fn document(&self, join: &JoinConfiguration, token: &Token) -> Result<Secret<Vec<u8>>, FleetError> {
        let discovery = Discovery {
            bootstrap_token: Some(BootstrapTokenDiscovery {
                token: Some(token.clone()),
                api_server_endpoint: self.endpoint.clone(),
                ca_cert_hashes: vec![self.ca_pin.clone()],
                ..BootstrapTokenDiscovery::default()
            }),
            tls_bootstrap_token: Some(token.clone()),
            ..Discovery::default()
        };
        let join = JoinConfiguration { discovery, ..join.clone() };
        let text = emit::to_yaml(Kind::JoinConfiguration, &join);
        text.map(|text| Secret::new(text.into_bytes())).map_err(|error| FleetError::Agent { said: error.to_string() })
    }
}

/// The server that the cluster tells everybody.
async fn advertised(client: &Client) -> Result<Option<String>, HostFailure> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), names::KUBE_PUBLIC);
    let failed = |source| ApiError::Request { operation: "read cluster-info".to_owned(), source };
    let map = maps.get_opt(names::CM_CLUSTER_INFO).await.map_err(failed)?;
    let text = map.and_then(|map| map.data?.remove("kubeconfig")).unwrap_or_default();
    let config = Kubeconfig::parse(&text, Path::new("cluster-info"))?;
    // It has one cluster and no context.
    Ok(config.current().map(|(cluster, _)| cluster.server.clone()))
}

fn is_loopback(server: &str) -> bool {
    let endpoint = host_port(server);
    let (host, _) = defaults::split_endpoint(&endpoint);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn host_port(server: &str) -> String {
    server.trim_start_matches("https://").trim_end_matches('/').to_owned()
}

/// Whether a node is up: Ready, and not long ago.
pub(crate) fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

pub(crate) fn is_control_plane(node: &Node) -> bool {
    node.labels().contains_key(names::LABEL_CONTROL_PLANE)
}

/// A node of another name with this machine id.
pub(crate) fn twin<'a>(nodes: &'a [Node], machine_id: &str, name: &str) -> Option<&'a Node> {
    let id = |node: &Node| {
        node.status.as_ref().and_then(|status| status.node_info.as_ref()).map(|info| info.machine_id.clone())
    };
    nodes
        .iter()
        .find(|node| !machine_id.is_empty() && node.name_any() != name && id(node).as_deref() == Some(machine_id))
}
