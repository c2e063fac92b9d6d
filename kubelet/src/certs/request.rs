//! Certificates by CertificateSigningRequest: ask, wait for the answer, take it.

use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::runtime::wait::await_condition;
use kube::{Api, Client, ResourceExt};

use super::client::CertsError;

/// How long an approver and a signer may take before the request is made anew.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Asks for a client certificate of a node with the request `pem`; returns the chain as PEM.
///
/// kube-controller-manager approves it when the asker may create `certificatesigningrequests/nodeclient` (bootstrap) or
/// `selfnodeclient` (rotation).
pub async fn node_client(client: Client, pem: &str) -> Result<String, CertsError> {
    ask(client, pem, "kubernetes.io/kube-apiserver-client-kubelet", "client auth").await
}

/// Asks for a serving certificate of a node, which somebody has to approve: nothing in a cluster does it by itself.
pub async fn node_serving(client: Client, pem: &str) -> Result<String, CertsError> {
    ask(client, pem, "kubernetes.io/kubelet-serving", "server auth").await
}

async fn ask(client: Client, pem: &str, signer: &str, usage: &str) -> Result<String, CertsError> {
    let request = CertificateSigningRequest {
        metadata: ObjectMeta { generate_name: Some("csr-".to_owned()), ..ObjectMeta::default() },
        spec: CertificateSigningRequestSpec {
            request: ByteString(pem.as_bytes().to_vec()),
            signer_name: signer.to_owned(),
            usages: Some(vec!["digital signature".to_owned(), usage.to_owned()]),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    };
    let requests: Api<CertificateSigningRequest> = Api::all(client);
    let created = requests.create(&PostParams::default(), &request).await.map_err(api("create"))?;
    let name = created.name_any();
    let decided = await_condition(requests, &name, |request: Option<&CertificateSigningRequest>| {
        request.is_some_and(|request| certificate(request).is_some() || refusal(request).is_some())
    });
    let answer = tokio::time::timeout(PATIENCE, decided)
        .await
        .map_err(|_| CertsError::Undecided { name: name.clone() })?
        .map_err(|source| CertsError::Watch { name: name.clone(), source: Box::new(source) })?;
    let answer = answer.ok_or_else(|| CertsError::Undecided { name: name.clone() })?;
    if let Some(chain) = certificate(&answer) {
        return Ok(chain);
    }
    Err(CertsError::Refused { reason: refusal(&answer).unwrap_or_default(), name })
}

fn api(operation: &'static str) -> impl Fn(kube::Error) -> CertsError {
    move |source| CertsError::Request { operation, source: Box::new(source) }
}

fn certificate(request: &CertificateSigningRequest) -> Option<String> {
    let ByteString(bytes) = request.status.as_ref()?.certificate.clone()?;
    String::from_utf8(bytes).ok().filter(|chain| !chain.is_empty())
}

/// The reason of a `Denied` or `Failed` condition.
fn refusal(request: &CertificateSigningRequest) -> Option<String> {
    let conditions = request.status.as_ref()?.conditions.as_ref()?;
    let refused = conditions.iter().find(|c| matches!(c.type_.as_str(), "Denied" | "Failed"))?;
    Some(refused.message.clone().or_else(|| refused.reason.clone()).unwrap_or_else(|| refused.type_.clone()))
}
