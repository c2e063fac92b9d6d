//! Phases `kubelet-wait-bootstrap` and `verify`: the kubelet gets its certificate, the node becomes Ready.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use junio_api::names;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

use super::error::JoinError;
use super::run::Joining;
use super::token_discovery::Found;
use crate::client::{connect, connect_with};
use crate::context::{KUBELET_SERVICE, kubelet_service};
use crate::error::Cause;
use crate::init::kubelet_start::KubeletStarted;
use crate::init::node::{node_blocker, until};
use crate::phase_id::PhaseId;
use crate::wait::{Look, Wait};

/// Between two looks at a local file.
const LOOK: Duration = Duration::from_millis(10);
/// Between two looks at what keeps the kubelet from it.
const REASONS: Duration = Duration::from_millis(1000);

/// Waits until the kubelet has its certificate and its kubeconfig. The bootstrap kubeconfig goes in any case, as with kubeadm:
/// it holds a secret.
pub(crate) async fn bootstrapped(join: &Joining<'_>, found: Option<&Found>) -> Result<(), Cause> {
    const ID: PhaseId = PhaseId::KubeletWaitBootstrap;
    let layout = join.changes.host.layout();
    let node = &join.options.documents.join.node_registration.name;
    let reason = Mutex::new("the kubelet has not asked for a certificate yet".to_owned());
    let conf = layout.kubelet_conf();
    let wait = Wait {
        run: join.run,
        phase: ID,
        what: format!("the kubelet's certificate for node {node} (TLS bootstrap)"),
        deadline: join.options.documents.join.timeouts.tls_bootstrap(),
        interval: LOOK,
    };
    let done = wait.until(|| async {
        // The kubelet writes it last, by rename.
        Ok(if conf.exists() {
            Look::Ready(())
        } else {
            Look::Blocked(reason.lock().unwrap_or_else(PoisonError::into_inner).clone())
        })
    });
    let client = match found {
        Some(found) => Some(connect_with(&found.bootstrap, "the bootstrap kubeconfig").await?),
        None => None,
    };
    let result = tokio::select! {
        result = done => result,
        cause = hindrance(join, client, node, &reason) => Err(cause),
    };
    join.changes.host.remove_file(&layout.bootstrap_kubelet_conf()).await?;
    result
}

/// Looks as long as others wait; it ends only with what is wrong.
async fn hindrance(join: &Joining<'_>, client: Option<Client>, node: &str, reason: &Mutex<String>) -> Cause {
    loop {
        tokio::time::sleep(REASONS).await;
        if let Some(cause) = service_trouble(join).await {
            return cause;
        }
        let Some(client) = &client else { continue };
        let requests: Api<CertificateSigningRequest> = Api::all(client.clone());
        match requests.list(&ListParams::default()).await {
            Ok(list) => match state(&list.items, node) {
                Some(Request::Refused(cause)) => return Cause::other(cause),
                Some(Request::Waits(text)) => *reason.lock().unwrap_or_else(PoisonError::into_inner) = text,
                None => {}
            },
            Err(error) => {
                *reason.lock().unwrap_or_else(PoisonError::into_inner) =
                    format!("certificate signing requests cannot be listed: {}", crate::client::brief(&error));
            }
        }
    }
}

async fn service_trouble(join: &Joining<'_>) -> Option<Cause> {
    let service = kubelet_service(join.changes.host.layout());
    let trouble = join.services.trouble(join.changes.host, &service).await.ok()??;
    let (state, last_lines) = (trouble.state, trouble.last_lines);
    let log_command = join.services.log_command(&service);
    Some(Cause::ServiceFailed { service: KUBELET_SERVICE.to_owned(), state, last_lines, log_command })
}

enum Request {
    Waits(String),
    Refused(JoinError),
}

/// The newest request for this node's certificate.
fn state(requests: &[CertificateSigningRequest], node: &str) -> Option<Request> {
    let wanted = format!("{}{node}", names::NODE_USER_PREFIX);
    let newest = requests
        .iter()
        .filter(|request| {
            let asked = std::str::from_utf8(&request.spec.request.0).ok().and_then(junio_pki::csr::common_name);
            asked.as_deref() == Some(wanted.as_str())
        })
        .max_by_key(|request| request.metadata.creation_timestamp.as_ref().map(|time| time.0))?;
    let name = newest.name_any();
    let conditions = newest.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    if let Some(refusal) = conditions.iter().find(|c| matches!(c.type_.as_str(), "Denied" | "Failed")) {
        let reason = refusal.message.clone().or_else(|| refusal.reason.clone()).unwrap_or_default();
        return Some(Request::Refused(JoinError::Denied { request: name, node: node.to_owned(), reason }));
    }
    Some(Request::Waits(if conditions.iter().any(|condition| condition.type_ == "Approved") {
        format!("the certificate signing request {name} is approved and not signed yet (kube-controller-manager signs)")
    } else {
        format!("the certificate signing request {name} waits for approval (kube-controller-manager approves)")
    }))
}

/// Waits until the node is Ready, which it is when the network of its pods works, and the kubelet serves.
pub(crate) async fn ready(join: &Joining<'_>, kubelet: KubeletStarted) -> Result<(), Cause> {
    const ID: PhaseId = PhaseId::Verify;
    let configuration = &join.options.documents.join;
    let node = &configuration.node_registration.name;
    let client = connect(&join.changes.host.layout().kubelet_conf(), None).await.map_err(Cause::other)?;
    let nodes: Api<Node> = Api::all(client);
    let what = format!("node {node} Ready");
    let deadline = configuration.timeouts.kubelet_health_check();
    let watched = until(join.run, deadline, ID, &what, &nodes, node, |node| node_blocker(node, kubelet.now));
    let hindered = async {
        loop {
            tokio::time::sleep(REASONS).await;
            if let Some(cause) = service_trouble(join).await {
                return cause;
            }
        }
    };
    tokio::select! {
        result = async { watched.await?; serves(join, deadline).await } => result?,
        cause = hindered => return Err(cause),
    };
    join.run.line(ID, format!("The node {node} is Ready"));
    Ok(())
}

/// The kubelet may tell the API server that it is well before it tells its service manager.
async fn serves(join: &Joining<'_>, deadline: Duration) -> Result<(), Cause> {
    let wait = Wait {
        run: join.run,
        phase: PhaseId::Verify,
        what: "the kubelet to be ready".to_owned(),
        deadline,
        interval: LOOK,
    };
    wait.until(|| async {
        let ready = join.services.is_ready(join.changes.host, KUBELET_SERVICE).await?;
        Ok(if ready { Look::Ready(()) } else { Look::Blocked(format!("{KUBELET_SERVICE} is still starting")) })
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(node: &str, second: u32, conditions: serde_json::Value) -> CertificateSigningRequest {
        use base64::Engine as _;
        let pem = junio_pki::csr::node_client(node).expect("a request").pem.clone();
        serde_json::from_value(json!({
            "metadata": { "name": format!("csr-{second}"), "creationTimestamp": format!("2026-11-21T10:00:{second:02}Z") },
            "spec": {
                "request": base64::engine::general_purpose::STANDARD.encode(pem),
                "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
            },
            "status": { "conditions": conditions },
        }))
        .expect("a CertificateSigningRequest")
    }

    #[test]
    fn only_the_newest_request_of_this_node_counts() {
        let denied = json!([{ "type": "Denied", "status": "True", "message": "no" }]);
        let others = [request("b", 30, denied.clone()), request("a", 10, denied.clone()), request("a", 20, json!([]))];
        assert!(
            matches!(state(&others, "a"), Some(Request::Waits(text)) if text.contains("csr-20 waits for approval"))
        );
        assert!(matches!(state(&others, "b"), Some(Request::Refused(JoinError::Denied { .. }))));
        assert!(state(&others, "c").is_none());
        let approved = [request("a", 1, json!([{ "type": "Approved", "status": "True" }]))];
        assert!(matches!(state(&approved, "a"), Some(Request::Waits(text)) if text.contains("not signed yet")));
    }
}
