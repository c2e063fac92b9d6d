//! One execution of a probe.

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::grpc::grpc_check;
use super::http::http_get;
use super::target::{http_request, resolve_port};
use crate::container_spec::{expand, literal_environment};
use crate::runtime::{ContainerId, ExecOutcome, PodRuntime};

/// How probes introduce themselves.
pub const USER_AGENT: &str = "kube-probe/1.36";

/// What one execution found, with what there is to say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Success,
    /// A success that the user should look at.
    Warning(String),
    Failure(String),
    /// The probe could not be executed, which says nothing about the container.
    Unknown(String),
}

/// Executes `probe` once, within its time limit. `pod_ip` is the address where the pod is reached.
pub async fn check_once(
    runtime: &dyn PodRuntime,
    probe: &Probe,
    container: &Container,
    id: &ContainerId,
    pod_ip: Option<IpAddr>,
) -> Outcome {
    let limit =
        Duration::from_secs(probe.timeout_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(1).max(1));
    if let Some(exec) = &probe.exec {
        return exec_check(runtime, exec.command.as_deref().unwrap_or_default(), container, id, limit).await;
    }
    let ip = pod_ip.map(|ip| ip.to_string());
    if let Some(action) = &probe.http_get {
        let request = match http_request(action, container, ip.as_deref()) {
            Ok(request) => request,
            Err(error) => return Outcome::Unknown(error.to_string()),
        };
        return match timeout(limit, http_get(&request, USER_AGENT)).await {
            Err(_) => Outcome::Failure(format!("Get {:?}: context deadline exceeded", request.uri.to_string())),
            Ok(Err(error)) => Outcome::Failure(error.to_string()),
            Ok(Ok(reply)) if reply.left_host => {
                Outcome::Warning(format!("Probe terminated redirects, Response body: {}", reply.body))
            }
            Ok(Ok(reply)) if (200..400).contains(&reply.status.as_u16()) => Outcome::Success,
            Ok(Ok(reply)) => Outcome::Failure(format!("HTTP probe failed with statuscode: {}", reply.status.as_u16())),
        };
    }
    if let Some(action) = &probe.tcp_socket {
        let host = action.host.clone().filter(|host| !host.is_empty()).or(ip);
        return match (host, resolve_port(&action.port, container)) {
            (Some(host), Ok(port)) => tcp_check(&host, port, limit).await,
            (None, _) => Outcome::Unknown("the pod has no address yet".to_owned()),
            (_, Err(error)) => Outcome::Unknown(error.to_string()),
        };
    }
    if let Some(action) = &probe.grpc {
        let Some(host) = ip else { return Outcome::Unknown("the pod has no address yet".to_owned()) };
        let Ok(port) = u16::try_from(action.port) else {
            return Outcome::Unknown(format!("invalid port number: {}", action.port));
        };
        let service = action.service.as_deref().unwrap_or_default();
        return match timeout(limit, grpc_check(&host, port, service, USER_AGENT)).await {
            Err(_) => Outcome::Failure(format!(
                "timeout: failed to connect service \"{host}:{port}\" within {}s",
                limit.as_secs()
            )),
            Ok(Err(error)) => Outcome::Failure(error.to_string()),
            Ok(Ok(())) => Outcome::Success,
        };
    }
    Outcome::Unknown("missing probe handler".to_owned())
}

async fn exec_check(
    runtime: &dyn PodRuntime,
    command: &[String],
    container: &Container,
    id: &ContainerId,
    limit: Duration,
) -> Outcome {
    let variables = literal_environment(container);
    let lookup = |name: &str| variables.get(name).map(String::as_str);
    let command: Vec<String> = command.iter().map(|text| expand(text, lookup)).collect();
    match runtime.exec_sync(id, &command, limit).await {
        Ok(ExecOutcome::Exited { code: 0, .. }) => Outcome::Success,
        Ok(ExecOutcome::Exited { output, .. }) => Outcome::Failure(String::from_utf8_lossy(&output).into_owned()),
        Ok(ExecOutcome::TimedOut { .. }) => Outcome::Failure(format!("command timed out after {}s", limit.as_secs())),
        Err(error) => Outcome::Unknown(error.to_string()),
    }
}

async fn tcp_check(host: &str, port: u16, limit: Duration) -> Outcome {
    let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    match timeout(limit, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Outcome::Success,
        Ok(Err(error)) => Outcome::Failure(format!("dial tcp {address}: {error}")),
        Err(_) => Outcome::Failure(format!("dial tcp {address}: i/o timeout")),
    }
}
