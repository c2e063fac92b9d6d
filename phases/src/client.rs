//! The API server as phases use it: a client from a kubeconfig's text, server-side apply with patience, plain health checks.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt, TryStreamExt};
use junio_api::hint::{Hint, NextStep};
use junio_api::{Code, names};
use junio_pki::PkiError;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;

use crate::error::Cause;

/// Between two tries of a write that the API server is not ready for.
const RETRY: Duration = Duration::from_millis(25);
/// Each needs a connection of its own.
const CREATED_AT_ONCE: usize = 8;
const CONNECT: Duration = Duration::from_secs(2);

/// Talking to the API server failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("cannot use the kubeconfig {path}")]
    Kubeconfig { path: String, source: kube::config::KubeconfigError },
    #[error("cannot build a client for {server}")]
    Client { server: String, source: kube::Error },
    #[error("the API server did not accept {object}")]
    Apply { object: String, source: kube::Error },
    #[error("cannot {operation}")]
    Request { operation: String, source: kube::Error },
    #[error("cannot render an object")]
    Render { source: junio_templates::TemplateError },
    #[error("{0} is not an object that can be applied")]
    NotAnObject(String),
}

impl Hint for ApiError {
    fn code(&self) -> Code {
        Code(match self {
            Self::Kubeconfig { .. } => "KUBECONFIG",
            Self::Client { .. } => "API-CLIENT",
            Self::Apply { .. } => "API-APPLY",
            Self::Request { .. } => "API-REQUEST",
            Self::Render { .. } | Self::NotAnObject(_) => "API-OBJECT",
        })
    }

    fn next_step(&self) -> Option<NextStep> {
        match self {
            Self::Kubeconfig { .. } => Some(NextStep::command("junioadm init phase kubeconfig")),
            Self::Apply { .. } | Self::Request { .. } => {
                Some(NextStep::command("kubectl --kubeconfig /etc/kubernetes/admin.conf get --raw /readyz?verbose"))
            }
            _ => None,
        }
    }

    fn expected(&self) -> bool {
        !matches!(self, Self::NotAnObject(_) | Self::Render { .. })
    }
}

/// A client that talks to `server` (`https://ADDRESS:PORT`) with the credentials of a kubeconfig file.
pub async fn connect(kubeconfig: &Path, server: Option<&str>) -> Result<Client, ApiError> {
    let fail = |source| ApiError::Kubeconfig { path: kubeconfig.display().to_string(), source };
    client_of(Kubeconfig::read_from(kubeconfig).map_err(fail)?, server, fail).await
}

/// The same with a kubeconfig that is in no file; `name` stands for its path in errors.
pub(crate) async fn connect_with(kubeconfig: &junio_pki::Kubeconfig, name: &str) -> Result<Client, Cause> {
    let fail = |source| ApiError::Kubeconfig { path: name.to_owned(), source };
    // `cluster-info` and files like it name no context.
    let alone = kubeconfig.alone().ok_or_else(|| Cause::Config(format!("{name} names no cluster")))?;
    let text = alone.to_yaml().map_err(Cause::other)?;
    let file = Kubeconfig::from_yaml(text.expose()).map_err(fail).map_err(Cause::other)?;
    client_of(file, None, fail).await.map_err(Cause::other)
}

async fn client_of(
    file: Kubeconfig,
    server: Option<&str>,
    fail: impl Fn(kube::config::KubeconfigError) -> ApiError,
) -> Result<Client, ApiError> {
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(fail)?;
    if let Some(server) = server.and_then(|server| server.parse().ok()) {
        config.cluster_url = server;
    }
    // The local API server is asked directly, whatever the environment says, and we do our own patience.
    config.proxy_url = None;
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = None;
    let server = config.cluster_url.to_string();
    Client::try_from(config).map_err(|source| ApiError::Client { server, source })
}

/// A client for health checks of components on the loopback, which serve with certificates of their own making.
pub(crate) fn unverified(server: &str) -> Result<Client, Cause> {
    let mut config = Config::new(server.parse().map_err(|_| Cause::Config(format!("{server} is no address")))?);
    config.accept_invalid_certs = true;
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    Client::try_from(config).map_err(|source| Cause::other(ApiError::Client { server: server.to_owned(), source }))
}

/// A client of an endpoint that takes certificates from files, such as an etcd's.
pub(crate) fn with_files(
    server: &str,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Result<Client, Cause> {
    let mut config = Config::new(server.parse().map_err(|_| Cause::Config(format!("{server} is no address")))?);
    if let Some(path) = ca {
        let pem = std::fs::read_to_string(&path).map_err(|source| Cause::other(PkiError::Read { path, source }))?;
        let roots = junio_pki::tls::certificates(&pem).map_err(Cause::other)?;
        config.root_cert = Some(roots.into_iter().map(|certificate| certificate.to_vec()).collect());
    }
    // Without TLS nobody is to be verified, and no store of the host's authorities is needed.
    config.accept_invalid_certs = server.starts_with("http://");
    config.auth_info.client_certificate = certificate.map(|path| path.display().to_string());
    config.auth_info.client_key = key.map(|path| path.display().to_string());
    config.proxy_url = None;
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    Client::try_from(config).map_err(|source| Cause::other(ApiError::Client { server: server.to_owned(), source }))
}

/// `ok`, or why not yet.
pub(crate) async fn health(client: &Client, path: &str) -> Result<(), String> {
    let request = http::Request::get(path).body(Vec::new()).map_err(|e| e.to_string())?;
    match tokio::time::timeout(Duration::from_secs(3), client.request_text(request)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(brief(&error)),
        Err(_) => Err("no answer within 3s".to_owned()),
    }
}

/// The innermost cause, which is what a user understands.
pub(crate) fn brief(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return first_lines(&status.message);
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Of `/readyz`, the checks that fail.
fn first_lines(message: &str) -> String {
    let failing: Vec<&str> =
        message.lines().filter_map(|line| line.strip_prefix("[-]")).map(|l| l.split(' ').next().unwrap_or(l)).collect();
    if failing.is_empty() {
        message.lines().next().unwrap_or_default().to_owned()
    } else {
        format!("{} not ready", failing.join(", "))
    }
}

/// Server-side applies objects, all at the same time, each until it is accepted or `patience` ends. True when any changed;
/// that is only looked at with `compare`, otherwise it is taken for granted.
pub(crate) async fn apply_all(
    client: &Client,
    objects: &[Value],
    patience: Duration,
    compare: bool,
) -> Result<bool, Cause> {
    let deadline = Instant::now() + patience;
    let mut running: FuturesUnordered<_> =
        objects.iter().map(|object| apply(client, object, deadline, compare)).collect();
    let mut changed = false;
    while let Some(result) = running.next().await {
        changed |= result?;
    }
    Ok(changed)
}

/// Creates the objects that are not there, several at a time; what is there stays as it is.
pub(crate) async fn create_all(client: &Client, objects: &[Value], patience: Duration) -> Result<(), Cause> {
    let deadline = Instant::now() + patience;
    let creations: Vec<_> = objects.iter().map(|object| create(client, object, deadline).boxed()).collect();
    futures::stream::iter(creations).buffer_unordered(CREATED_AT_ONCE).try_collect().await
}

async fn create(client: &Client, object: &Value, deadline: Instant) -> Result<(), Cause> {
    let target = Target::of(object).ok_or_else(|| Cause::other(ApiError::NotAnObject(object["kind"].to_string())))?;
    let refused = |source| Cause::other(ApiError::Apply { object: target.title(), source });
    let typed: DynamicObject =
        serde_json::from_value(object.clone()).map_err(|error| refused(kube::Error::SerdeError(error)))?;
    loop {
        match target.api(client).create(&PostParams::default(), &typed).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => return Ok(()),
            Err(error) if is_transient(&error) && Instant::now() < deadline => tokio::time::sleep(RETRY).await,
            Err(source) => return Err(refused(source)),
        }
    }
}

async fn apply(client: &Client, object: &Value, deadline: Instant, compare: bool) -> Result<bool, Cause> {
    let target = Target::of(object).ok_or_else(|| Cause::other(ApiError::NotAnObject(object["kind"].to_string())))?;
    let api = target.api(client);
    let before = if compare {
        api.get_opt(&target.name).await.ok().flatten().and_then(|found| found.metadata.resource_version)
    } else {
        None
    };
    if target.resource.kind == "Service" {
        service_addresses(client, deadline).await;
    }
    let parameters = PatchParams::apply(names::FIELD_MANAGER).force();
    loop {
        match api.patch(&target.name, &parameters, &Patch::Apply(object)).await {
            Ok(applied) => return Ok(!compare || applied.metadata.resource_version != before),
            Err(error) if is_transient(&error) && Instant::now() < deadline => tokio::time::sleep(RETRY).await,
            Err(source) => return Err(Cause::other(ApiError::Apply { object: target.title(), source })),
        }
    }
}

/// Creates an object, or replaces the one of this name whoever made it; tried until the API server takes it or `patience`
/// ends. Returns what is stored.
pub(crate) async fn create_or_replace<K>(api: &Api<K>, object: &K, patience: Duration) -> Result<K, Cause>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + serde::Serialize,
    K::DynamicType: Default,
{
    let deadline = Instant::now() + patience;
    let name = object.meta().name.clone().unwrap_or_default();
    let parameters = PostParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PostParams::default() };
    loop {
        let mut answer = api.create(&parameters, object).await;
        if matches!(&answer, Err(kube::Error::Api(status)) if status.code == 409) {
            answer = api.replace(&name, &parameters, object).await;
        }
        match answer {
            Ok(stored) => return Ok(stored),
            Err(error) if is_transient(&error) && Instant::now() < deadline => tokio::time::sleep(RETRY).await,
            Err(source) => {
                let object = format!("{} {name}", K::kind(&K::DynamicType::default()));
                return Err(Cause::other(ApiError::Apply { object, source }));
            }
        }
    }
}

/// Waits until the API server hands out service addresses. Before that it refuses a Service that asks for one as if the
/// address were wrong (422), which is no reason to try again; its own Service `default/kubernetes` is the first to get one.
async fn service_addresses(client: &Client, deadline: Instant) {
    while health(client, "/api/v1/namespaces/default/services/kubernetes").await.is_err() && Instant::now() < deadline {
        tokio::time::sleep(RETRY).await;
    }
}

/// What a starting API server answers: nothing, "forbidden", "namespace not found", "conflict", "too many requests".
pub(crate) fn is_transient(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => matches!(status.code, 401 | 403 | 404 | 409 | 429) || status.code >= 500,
        kube::Error::HyperError(_) | kube::Error::Service(_) => true,
        _ => false,
    }
}

/// Where an object goes.
struct Target {
    resource: ApiResource,
    name: String,
    /// `None` for objects of the whole cluster.
    namespace: Option<String>,
}

/// Kinds of the whole cluster that we apply.
const CLUSTER_KINDS: [&str; 6] =
    ["Namespace", "ClusterRole", "ClusterRoleBinding", "Node", "PriorityClass", "CustomResourceDefinition"];

impl Target {
    fn of(object: &Value) -> Option<Self> {
        let (api_version, kind) = (object["apiVersion"].as_str()?, object["kind"].as_str()?);
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let plural = match kind {
            "PriorityClass" => "priorityclasses".to_owned(),
            "NetworkPolicy" => "networkpolicies".to_owned(),
            other => format!("{}s", other.to_lowercase()),
        };
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), &plural);
        let namespace = object["metadata"]["namespace"].as_str().map(str::to_owned);
        let name = object["metadata"]["name"].as_str()?.to_owned();
        if namespace.is_none() && !CLUSTER_KINDS.contains(&kind) {
            return None;
        }
        Some(Self { resource, name, namespace })
    }

    fn api(&self, client: &Client) -> Api<DynamicObject> {
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &self.resource),
            None => Api::all_with(client.clone(), &self.resource),
        }
    }

    fn title(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{} {namespace}/{}", self.resource.kind, self.name),
            None => format!("{} {}", self.resource.kind, self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_are_addressed_by_kind_and_namespace() {
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "kubeadm:get-nodes"}});
        let target = Target::of(&binding).expect("known");
        assert_eq!(
            (target.resource.plural.as_str(), target.title().as_str()),
            ("clusterrolebindings", "ClusterRoleBinding kubeadm:get-nodes")
        );
        let map =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "kube-system"}});
        assert_eq!(Target::of(&map).expect("known").title(), "ConfigMap kube-system/x");
        let without = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}});
        assert!(Target::of(&without).is_none(), "a forgotten namespace must not become a cluster-wide request");
    }

    #[test]
    fn failing_checks_are_named() {
        let text = "[+]ping ok\n[-]poststarthook/rbac/bootstrap-roles failed: reason withheld\nreadyz check failed\n";
        assert_eq!(first_lines(text), "poststarthook/rbac/bootstrap-roles not ready");
    }
}
