//! Paths to handlers; every path is authenticated and authorized, `/healthz` too.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Extension, Router};

use super::authentication::Identity;
use super::error::HttpError;
use super::state::ServerState;
use super::{exec, files, logs, metrics, pods, port_forward, stats};

/// The whole HTTP surface.
pub fn router(state: Arc<ServerState>) -> Router {
    let mut router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/healthz/ping", get(|| async { "ok" }))
        .route("/pods", get(pods::pods))
        .route("/configz", get(pods::configz))
        .route("/metrics", get(metrics::kubelet))
        .route("/metrics/resource", get(metrics::resource))
        .route("/metrics/cadvisor", get(metrics::cadvisor))
        .route("/metrics/probes", get(metrics::probes))
        .route("/stats/summary", get(stats::summary));
    router = if state.options.debugging_handlers {
        router
            .route("/runningpods/", get(pods::running))
            .route("/containerLogs/{namespace}/{pod}/{container}", get(logs::container_logs))
            .route("/exec/{namespace}/{pod}/{container}", any(exec::exec))
            .route("/exec/{namespace}/{pod}/{uid}/{container}", any(exec::exec))
            .route("/attach/{namespace}/{pod}/{container}", any(exec::attach))
            .route("/attach/{namespace}/{pod}/{uid}/{container}", any(exec::attach))
            .route("/portForward/{namespace}/{pod}", any(port_forward::port_forward))
            .route("/portForward/{namespace}/{pod}/{uid}", any(port_forward::port_forward))
    } else {
        let disabled = || async { (StatusCode::METHOD_NOT_ALLOWED, "Debug endpoints are disabled.") };
        ["/runningpods/", "/containerLogs/{*rest}", "/exec/{*rest}", "/attach/{*rest}", "/portForward/{*rest}"]
            .into_iter()
            .fold(router, |router, path| router.route(path, any(disabled)))
    };
    router = if state.options.debugging_handlers && state.options.system_logs {
        router.route("/logs/", get(files::root)).route("/logs/{*path}", get(files::file))
    } else {
        let disabled = || async { (StatusCode::METHOD_NOT_ALLOWED, "logs endpoint is disabled.") };
        router.route("/logs/", any(disabled)).route("/logs/{*path}", any(disabled))
    };
    router.layer(from_fn_with_state(Arc::clone(&state), guard)).with_state(state)
}

async fn guard(
    State(state): State<Arc<ServerState>>,
    Extension(certificate): Extension<Option<Identity>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(identity) = state.authenticator.authenticate(certificate.as_ref(), request.headers()).await else {
        return HttpError::new(StatusCode::UNAUTHORIZED, "Unauthorized").into_response();
    };
    match state.authorizer.authorize(&identity, request.method(), request.uri().path()).await {
        Ok(()) => next.run(request).await,
        Err(text) => HttpError::new(StatusCode::FORBIDDEN, text).into_response(),
    }
}
