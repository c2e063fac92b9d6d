//! Executes one hook: exec, http, sleep. `tcpSocket` exists in the API but no kubelet has ever executed it.

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, HTTPGetAction, LifecycleHandler};
use tokio::time::sleep;

use crate::container_spec::annotations::PRE_STOP;
use crate::probe::{HttpError, TargetError, http_get, http_request};
use crate::runtime::{ContainerId, ExecOutcome, PodRuntime, RuntimeContainer, RuntimeError};

const USER_AGENT: &str = "kube-lifecycle/1.36";
/// Docker has no "no limit"; the caller bounds hooks by the grace period.
const NO_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// Displays as the message of `FailedPostStartHook` and `FailedPreStopHook`.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    #[error("command {command:?} exited with {code}: {output:?}")]
    Exit { command: String, code: i32, output: String },
    #[error("command {command:?} did not end in time")]
    Timeout { command: String },
    #[error("exec in the container")]
    Exec(#[source] RuntimeError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("HTTP status {0}")]
    Status(u16),
    #[error("cannot run a handler of this kind: only exec, httpGet and sleep")]
    Unsupported,
}

/// Runs the hook to its end; the caller sets the time limit by dropping the future. `pod_ips` may be empty for hooks
/// that name a host.
pub async fn run_hook(
    runtime: &dyn PodRuntime,
    handler: &LifecycleHandler,
    container: &Container,
    id: &ContainerId,
    pod_ips: &[IpAddr],
) -> Result<(), HookError> {
    if let Some(exec) = &handler.exec {
        let command = exec.command.as_deref().unwrap_or_default();
        let text = command.join(" ");
        return match runtime.exec_sync(id, command, NO_LIMIT).await.map_err(HookError::Exec)? {
            ExecOutcome::Exited { code: 0, .. } => Ok(()),
            ExecOutcome::Exited { code, output } => {
                Err(HookError::Exit { command: text, code, output: String::from_utf8_lossy(&output).into_owned() })
            }
            ExecOutcome::TimedOut { .. } => Err(HookError::Timeout { command: text }),
        };
    }
    if let Some(action) = &handler.http_get {
        return http_hook(action, container, pod_ips).await;
    }
    if let Some(action) = &handler.sleep {
        sleep(Duration::from_secs(u64::try_from(action.seconds).unwrap_or(0))).await;
        return Ok(());
    }
    Err(HookError::Unsupported)
}

/// The preStop hook of a container that runs: the spec's if it is known, else the one that was kept with the container.
#[must_use]
pub fn pre_stop_of(container: Option<&Container>, running: &RuntimeContainer) -> Option<LifecycleHandler> {
    match container {
        Some(container) => container.lifecycle.as_ref()?.pre_stop.clone(),
        None => serde_json::from_str(running.annotations.get(PRE_STOP)?).ok(),
    }
}

/// Old manifests say HTTPS to servers without TLS, because kubelets once ignored the scheme: then HTTP is tried.
async fn http_hook(action: &HTTPGetAction, container: &Container, pod_ips: &[IpAddr]) -> Result<(), HookError> {
    let ip = pod_ips.first().map(ToString::to_string);
    let request = http_request(action, container, ip.as_deref())?;
    let reply = match http_get(&request, USER_AGENT).await {
        Err(HttpError::Tls { source, .. }) if speaks_http(&source) => {
            let plain = HTTPGetAction { scheme: Some("HTTP".to_owned()), ..action.clone() };
            let mut request = http_request(&plain, container, ip.as_deref())?;
            // Credentials were meant for an encrypted connection.
            request.headers.remove(http::header::AUTHORIZATION);
            http_get(&request, USER_AGENT).await?
        }
        other => other?,
    };
    match reply.status.as_u16() {
        status if status >= 400 => Err(HookError::Status(status)),
        _ => Ok(()),
    }
}

fn speaks_http(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidMessage(_)))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::probe::tests_support::FakeRuntime;

    fn handler(value: serde_json::Value) -> LifecycleHandler {
        serde_json::from_value(value).expect("a handler")
    }

    async fn run(runtime: &FakeRuntime, handler: &LifecycleHandler) -> Result<(), HookError> {
        let local = ["127.0.0.1".parse().expect("an address")];
        run_hook(runtime, handler, &Container::default(), &ContainerId("1".into()), &local).await
    }

    #[tokio::test]
    async fn runs_commands() {
        let runtime = FakeRuntime::default();
        let hook = handler(serde_json::json!({"exec": {"command": ["say", "hello"]}}));
        run(&runtime, &hook).await.expect("success");
        runtime.answer(ExecOutcome::Exited { code: 3, output: b"no".to_vec() });
        let error = run(&runtime, &hook).await.expect_err("failure");
        assert_eq!(error.to_string(), "command \"say hello\" exited with 3: \"no\"");
        assert!(matches!(
            run(&runtime, &handler(serde_json::json!({"tcpSocket": {"port": 1}}))).await,
            Err(HookError::Unsupported)
        ));
    }

    #[tokio::test]
    async fn sleeps() {
        let before = tokio::time::Instant::now();
        run(&FakeRuntime::default(), &handler(serde_json::json!({"sleep": {"seconds": 1}}))).await.expect("slept");
        assert!(before.elapsed() >= Duration::from_secs(1));
    }

    /// Answers every connection like a plain web server, whatever it says.
    async fn serve(status: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut buffer = [0; 4096];
                let read = stream.read(&mut buffer).await.unwrap_or(0);
                let status = if buffer[..read].starts_with(b"GET ") { status } else { "400 Bad Request" };
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                // The client may have gone already.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        port
    }

    #[tokio::test]
    async fn falls_back_to_plain_http() {
        let runtime = FakeRuntime::default();
        let port = serve("200 OK").await;
        run(&runtime, &handler(serde_json::json!({"httpGet": {"port": port}}))).await.expect("plain");
        run(&runtime, &handler(serde_json::json!({"httpGet": {"port": port, "scheme": "HTTPS"}})))
            .await
            .expect("fallback");
        let port = serve("500 Internal").await;
        let error = run(&runtime, &handler(serde_json::json!({"httpGet": {"port": port}}))).await.expect_err("failed");
        assert!(matches!(error, HookError::Status(500)));
    }
}
