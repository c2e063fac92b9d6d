//! The node's heartbeat: a Lease in `kube-node-lease`, renewed every quarter of its duration.

use std::time::Duration;

use jiff::Timestamp;
use junio_api::names;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::Api;
use kube::api::PostParams;

use crate::certs::ApiClient;

/// Immediate tries before the next period.
const TRIES: usize = 5;
const CREATE_MAX: Duration = Duration::from_secs(7);

/// Renews for ever. `node` is the registered Node, the lease's owner.
pub async fn run(api: ApiClient, node: Node, seconds: u32) {
    let name = node.metadata.name.clone().unwrap_or_default();
    let mut lease: Option<Lease> = None;
    let mut wait = Duration::from_millis(100);
    loop {
        let leases: Api<Lease> = Api::namespaced(api.current(), names::KUBE_NODE_LEASE);
        let mut renewed = false;
        for _ in 0..TRIES {
            match renew(&leases, &name, &node, lease.take(), seconds).await {
                Ok(new) => {
                    lease = Some(new);
                    renewed = true;
                    break;
                }
                Err(error) => tracing::debug!(%error, "cannot renew lease"),
            }
        }
        if renewed {
            wait = Duration::from_millis(100);
            let quarter = f64::from(seconds) / 4.0;
            tokio::time::sleep(Duration::from_secs_f64(quarter * (1.0 + 0.04 * rand::random::<f64>()))).await;
        } else {
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(CREATE_MAX);
        }
    }
}

/// Updates the lease that is known, else the stored one, else creates it.
async fn renew(
    leases: &Api<Lease>,
    name: &str,
    node: &Node,
    known: Option<Lease>,
    seconds: u32,
) -> Result<Lease, kube::Error> {
    let known = match known {
        Some(lease) => Some(lease),
        None => leases.get_opt(name).await?,
    };
    let now = MicroTime(Timestamp::now());
    let mut lease = known.clone().unwrap_or_default();
    let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
    spec.holder_identity = Some(name.to_owned());
    spec.lease_duration_seconds = i32::try_from(seconds).ok();
    spec.renew_time = Some(now);
    if known.is_some() {
        return leases.replace(name, &PostParams::default(), &lease).await;
    }
    lease.metadata = ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(names::KUBE_NODE_LEASE.to_owned()),
        owner_references: Some(vec![OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: name.to_owned(),
            uid: node.metadata.uid.clone().unwrap_or_default(),
            ..OwnerReference::default()
        }]),
        ..ObjectMeta::default()
    };
    leases.create(&PostParams::default(), &lease).await
}
