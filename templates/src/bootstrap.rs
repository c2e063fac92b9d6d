//! Rights that exist before any node: administrators, the API server as client of kubelets, and everything that lets a
//! host with a bootstrap token become a node.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use junio_api::{Secret, names};
use serde::Serialize;

use crate::engine::Template;
use crate::error::TemplateError;
use crate::objects::{Object, render_objects};

macro_rules! fixed {
    ($name:ident => $file:literal) => {
        #[derive(Serialize)]
        struct $name {}

        impl Template for $name {
            const NAME: &'static str = $file;
        }
    };
}

fixed!(ClusterAdmins => "cluster_admins.yaml");
fixed!(ApiServerKubeletClient => "apiserver_kubelet_client.yaml");
fixed!(BootstrapRbac => "bootstrap_rbac.yaml");

#[derive(Serialize)]
struct ClusterInfo<'a> {
    kubeconfig: &'a str,
}

impl Template for ClusterInfo<'_> {
    const NAME: &'static str = "cluster_info.yaml";
}

/// A bootstrap token as a Secret.
#[derive(Debug, Clone)]
pub struct BootstrapTokenSecret<'a> {
    pub id: &'a str,
    pub secret: &'a Secret<String>,
    /// RFC 3339 in UTC; `None` never expires.
    pub expiration: Option<String>,
    /// `signing`, `authentication`.
    pub usages: &'a [String],
    /// For example `system:bootstrappers:kubeadm:default-node-token`.
    pub groups: &'a [String],
    pub description: Option<&'a str>,
}

#[derive(Serialize)]
struct BootstrapToken<'a> {
    id: &'a str,
    data: Vec<(String, String)>,
}

impl Template for BootstrapToken<'_> {
    const NAME: &'static str = "bootstrap_token.yaml";
}

/// ClusterRoleBinding `kubeadm:cluster-admins`: the very first object.
pub fn cluster_admins() -> Result<Vec<Object>, TemplateError> {
    render_objects(&ClusterAdmins {})
}

/// ClusterRoleBinding `kubeadm:apiserver-kubelet-client`: without it logs and exec answer 403.
pub fn api_server_kubelet_client() -> Result<Vec<Object>, TemplateError> {
    render_objects(&ApiServerKubeletClient {})
}

/// Roles and bindings of the phase `bootstrap-token`.
pub fn bootstrap_rbac() -> Result<Vec<Object>, TemplateError> {
    render_objects(&BootstrapRbac {})
}

/// ConfigMap `cluster-info` with the kubeconfig that joining hosts read anonymously. The bootstrap signer adds signatures.
pub fn cluster_info(kubeconfig: &str) -> Result<Vec<Object>, TemplateError> {
    render_objects(&ClusterInfo { kubeconfig })
}

/// Secret `bootstrap-token-ID`.
pub fn bootstrap_token(token: &BootstrapTokenSecret<'_>) -> Result<Object, TemplateError> {
    let mut data = vec![("token-id", token.id.to_owned()), ("token-secret", token.secret.expose().clone())];
    data.extend(token.expiration.clone().map(|at| ("expiration", at)));
    data.extend(token.description.map(|text| ("description", text.to_owned())));
    if !token.groups.is_empty() {
        data.push(("auth-extra-groups", token.groups.join(",")));
    }
    let usages = token.usages.iter().map(|usage| (format!("usage-bootstrap-{usage}"), "true".to_owned()));
    let mut data: Vec<_> = data.into_iter().map(|(key, value)| (key.to_owned(), value)).chain(usages).collect();
    for (_, value) in &mut data {
        *value = STANDARD.encode(&*value);
    }
    data.sort();
    let mut objects = render_objects(&BootstrapToken { id: token.id, data })?;
    objects.pop().ok_or(TemplateError::Render { template: BootstrapToken::NAME, reason: "no object".to_owned() })
}

/// The name of the Secret of a token.
#[must_use]
pub fn secret_name(token_id: &str) -> String {
    format!("bootstrap-token-{token_id}")
}

/// The group of every node that joins with a default token.
#[must_use]
pub fn default_groups() -> Vec<String> {
    vec![names::NODE_BOOTSTRAP_GROUP.to_owned()]
}
