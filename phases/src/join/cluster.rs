//! What a joining host reads of the cluster, with the credentials that it joins with: kubeadm's two ConfigMaps, and whether
//! its own name is free.

use std::time::Duration;

use ipnet::IpNet;
use junio_api::config::InitDocuments;
use junio_api::images::{DEFAULT_REPOSITORY, Image};
use junio_api::{names, versions, yaml};
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use kube::{Api, Client};
use serde_json::Value;

use super::answer::{NoAnswer, ask, ask_until};
use super::error::JoinError;
use super::token_discovery::Found;
use crate::client::connect_with;
use crate::error::Cause;
use crate::phase_id::PhaseId;
use crate::preflight;
use crate::run::Run;

const ID: PhaseId = PhaseId::Discovery;
/// A kubelet may be older than the API server by three minor versions and never newer (Kubernetes version skew policy).
const OLDEST_CLUSTER: u32 = 36;
const NEWEST_CLUSTER: u32 = 39;

/// The part of the cluster's configuration that a worker needs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cluster {
    pub(crate) version: String,
    pub(crate) image_repository: String,
    pub(crate) coredns_image: String,
    pub(crate) pod_subnets: Vec<IpNet>,
    pub(crate) service_subnets: Vec<IpNet>,
    /// What all kubelets share.
    pub(crate) kubelet_config: Value,
}

impl Cluster {
    /// What a worker cannot do without, and then the rest, as far as `bundled` has them.
    pub(crate) fn images(&self, bundled: impl Fn(&str) -> bool) -> (Vec<String>, Vec<String>) {
        let first = [Image::Pause, Image::Proxy, Image::Flannel].map(|image| image.reference(&self.image_repository));
        let rest = [self.coredns_image.clone()];
        let known = |images: &[String]| images.iter().filter(|image| bundled(image)).cloned().collect();
        (known(&first), known(&rest))
    }
}

/// What a worker of a cluster with kubeadm's defaults will need, for a host that is prepared before its cluster exists.
pub(crate) fn default_images() -> Vec<String> {
    let images = [Image::Pause, Image::Proxy, Image::Flannel, Image::CoreDns];
    images.map(|image| image.reference(DEFAULT_REPOSITORY)).to_vec()
}

/// Reads it. A token that does not authenticate, or may not join, ends it at once.
pub(crate) async fn read(run: &Run<'_>, found: &Found, node: &str, patience: Duration) -> Result<Cluster, Cause> {
    let client = connect_with(&found.bootstrap, "the bootstrap kubeconfig").await?;
    run.line(ID, "Reading configuration from the \"kubeadm-config\" ConfigMap in namespace \"kube-system\"...");
    let (kubeadm, kubelet, ()) = tokio::try_join!(
        config_map(run, &client, found, "kubeadm-config", patience),
        config_map(run, &client, found, "kubelet-config", patience),
        free_name(run, &client, found, node, patience),
    )?;
    let cluster = parse(&kubeadm, &kubelet)?;
    check_version(&cluster.version)?;
    if cluster.version != versions::KUBERNETES {
        run.warn(
            ID,
            format!(
                "the cluster runs {}, the bundle carries {}: the kubelet fetches images of the cluster's version from their registry",
                cluster.version,
                versions::KUBERNETES
            ),
        );
    }
    Ok(cluster)
}

async fn config_map(
    run: &Run<'_>,
    client: &Client,
    found: &Found,
    name: &'static str,
    patience: Duration,
) -> Result<ConfigMap, Cause> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), names::KUBE_SYSTEM);
    let what = format!("the ConfigMap kube-system/{name}");
    ask_until(
        run,
        what,
        patience,
        || {
            let maps = maps.clone();
            async move { ask(maps.get(name)).await }
        },
        |error| fatal(found, name, error),
        |error| unreachable(found, patience, error),
    )
    .await
}

fn fatal(found: &Found, what: &'static str, error: &NoAnswer) -> Option<Cause> {
    Some(Cause::other(match error {
        NoAnswer::Status { code: 401, .. } => {
            refused(found, "they do not authenticate (401); a token may have expired")
        }
        NoAnswer::Status { code: 403, text } => refused(found, text),
        NoAnswer::Status { .. } if !error.is_transient() => JoinError::Read { what, reason: error.text() },
        NoAnswer::Certificate(reason) => {
            JoinError::Certificate { endpoint: address(&found.server).to_owned(), reason: reason.clone() }
        }
        _ => return None,
    }))
}

fn refused(found: &Found, reason: &str) -> JoinError {
    let (server, credentials) = (found.server.clone(), found.credentials.clone());
    JoinError::Refused { server, credentials, reason: reason.to_owned() }
}

fn unreachable(found: &Found, after: Duration, error: NoAnswer) -> Cause {
    Cause::other(JoinError::Unreachable { endpoint: address(&found.server).to_owned(), after, reason: error.text() })
}

fn address(server: &str) -> &str {
    server.trim_start_matches("https://")
}

/// A node that is Ready is somebody else's; one that is not may be this host before it was made anew, as with kubeadm.
async fn free_name(run: &Run<'_>, client: &Client, found: &Found, name: &str, patience: Duration) -> Result<(), Cause> {
    let nodes: Api<Node> = Api::all(client.clone());
    let existing = ask_until(
        run,
        format!("whether there is a node {name}"),
        patience,
        || {
            let nodes = nodes.clone();
            async move {
                match ask(nodes.get_opt(name)).await {
                    // Another installer's cluster may not let joining hosts look; then nobody can tell.
                    Err(NoAnswer::Status { code: 403, .. }) => Ok(None),
                    other => other,
                }
            }
        },
        |error| fatal(found, "nodes", error),
        |error| unreachable(found, patience, error),
    )
    .await?;
    match existing {
        Some(node) if is_ready(&node) => Err(Cause::other(JoinError::NodeName { name: name.to_owned() })),
        Some(_) => {
            run.line(ID, format!("The cluster has a node {name} that is not Ready; this host takes its place"));
            Ok(())
        }
        None => Ok(()),
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Read leniently: another version of kubeadm may know more fields than we do.
fn parse(kubeadm: &ConfigMap, kubelet: &ConfigMap) -> Result<Cluster, Cause> {
    let value = |map: &ConfigMap, key: &str, what: &'static str| -> Result<Value, Cause> {
        let text = map.data.as_ref().and_then(|data| data.get(key)).map(String::as_str).unwrap_or_default();
        let failed = |reason: String| Cause::other(JoinError::Read { what, reason });
        let value: Value = yaml::from_str(text).map_err(|error| failed(error.message.clone()))?;
        if value.is_object() { Ok(value) } else { Err(failed(format!("it has no key {key}"))) }
    };
    let cluster = value(kubeadm, "ClusterConfiguration", "kubeadm-config")?;
    let text = |pointer: &str| cluster.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut documents = InitDocuments::default();
    documents.cluster.image_repository = text("/imageRepository");
    if documents.cluster.image_repository.is_empty() {
        documents.cluster.image_repository = DEFAULT_REPOSITORY.to_owned();
    }
    documents.cluster.dns.image_repository = text("/dns/imageRepository");
    documents.cluster.dns.image_tag = text("/dns/imageTag");
    Ok(Cluster {
        version: text("/kubernetesVersion"),
        coredns_image: preflight::coredns_image(&documents),
        image_repository: documents.cluster.image_repository,
        pod_subnets: preflight::subnets(&text("/networking/podSubnet")),
        service_subnets: preflight::subnets(&text("/networking/serviceSubnet")),
        kubelet_config: value(kubelet, "kubelet", "kubelet-config")?,
    })
}

fn check_version(version: &str) -> Result<(), Cause> {
    let minor = version.strip_prefix("v1.").and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
    match minor {
        Some(OLDEST_CLUSTER..=NEWEST_CLUSTER) => Ok(()),
        _ => {
            let cluster = if version.is_empty() { "of an unknown version".to_owned() } else { version.to_owned() };
            Err(Cause::other(JoinError::Version { cluster, ours: versions::KUBERNETES }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(key: &str, text: &str) -> ConfigMap {
        ConfigMap { data: Some([(key.to_owned(), text.to_owned())].into_iter().collect()), ..ConfigMap::default() }
    }

    #[test]
    fn unknown_fields_of_a_newer_kubeadm_do_no_harm() {
        let kubeadm = "kind: ClusterConfiguration\nkubernetesVersion: v1.37.2\nsomethingNew: {a: 1}\n\
                       networking: {podSubnet: \"10.244.0.0/16,fd00:10::/56\", serviceSubnet: 10.96.0.0/12}\n";
        let cluster =
            parse(&map("ClusterConfiguration", kubeadm), &map("kubelet", "cgroupDriver: systemd\n")).expect("parses");
        assert_eq!((cluster.pod_subnets.len(), cluster.kubelet_config["cgroupDriver"].as_str()), (2, Some("systemd")));
        let (first, rest) = cluster.images(|image| !image.contains("flannel"));
        assert_eq!(first.len(), 2, "what the bundle lacks is left to the kubelet: {first:?}");
        assert!(
            first[0].starts_with("registry.k8s.io/pause:") && rest[0].starts_with("registry.k8s.io/coredns/coredns:")
        );
    }

    #[test]
    fn a_cluster_without_kubeadms_configuration_is_told_so() {
        assert!(parse(&ConfigMap::default(), &ConfigMap::default()).is_err());
    }

    #[test]
    fn versions_beyond_the_skew_policy_are_refused() {
        for good in ["v1.36.0", "v1.36.3", "v1.39.1"] {
            assert!(check_version(good).is_ok(), "{good}");
        }
        for bad in ["v1.35.9", "v1.40.0", "", "latest"] {
            assert!(check_version(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_ready_node_keeps_its_name() {
        let node = |status: &str| -> Node {
            serde_json::from_value(
                serde_json::json!({ "status": { "conditions": [{ "type": "Ready", "status": status }] } }),
            )
            .expect("a Node")
        };
        assert!(is_ready(&node("True")) && !is_ready(&node("Unknown")) && !is_ready(&Node::default()));
    }
}
