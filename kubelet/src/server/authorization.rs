//! Who may do what: a SubjectAccessReview on a subresource of this node.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::http::Method;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;

use super::authentication::Identity;
use super::state::AuthorizationMode;
use crate::certs::client::ApiClient;

const ALLOWED_CACHE: Duration = Duration::from_secs(300);
const DENIED_CACHE: Duration = Duration::from_secs(30);
const MAX_CACHED: usize = 1024;

type Question = (Identity, &'static str, &'static str);

/// Answers whether a request may pass.
pub struct Authorizer {
    api: Option<ApiClient>,
    mode: AuthorizationMode,
    node: String,
    known: Mutex<HashMap<Question, (Instant, bool)>>,
}

impl Authorizer {
    pub fn new(api: Option<ApiClient>, mode: AuthorizationMode, node: String) -> Self {
        Self { api, mode, node, known: Mutex::new(HashMap::new()) }
    }

    /// The first subresource that is allowed decides; the error is the body of the 403.
    pub async fn authorize(&self, identity: &Identity, method: &Method, path: &str) -> Result<(), String> {
        if self.mode == AuthorizationMode::AlwaysAllow {
            return Ok(());
        }
        let (verb, subresources) = (verb(method), subresources(path));
        for subresource in subresources {
            if self.allowed(identity, verb, subresource).await {
                return Ok(());
            }
        }
        let names = subresources.join(" ");
        Err(format!("Forbidden (user={}, verb={verb}, resource=nodes, subresource(s)=[{names}])", identity.user))
    }

    async fn allowed(&self, identity: &Identity, verb: &'static str, subresource: &'static str) -> bool {
        let question = (identity.clone(), verb, subresource);
        if let Ok(known) = self.known.lock()
            && let Some((since, allowed)) = known.get(&question)
            && since.elapsed() < lifetime(*allowed)
        {
            return *allowed;
        }
        let Some(api) = &self.api else { return false };
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(identity.user.clone()),
                groups: Some(identity.groups.clone()),
                resource_attributes: Some(ResourceAttributes {
                    verb: Some(verb.to_owned()),
                    version: Some("v1".to_owned()),
                    resource: Some("nodes".to_owned()),
                    subresource: Some(subresource.to_owned()),
                    name: Some(self.node.clone()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let reviews: Api<SubjectAccessReview> = Api::all(api.current());
        let allowed = match reviews.create(&PostParams::default(), &review).await {
            Ok(answer) => answer.status.is_some_and(|status| status.allowed),
            Err(error) => {
                tracing::warn!(%error, user = identity.user, "access could not be reviewed");
                return false;
            }
        };
        if let Ok(mut known) = self.known.lock() {
            if known.len() >= MAX_CACHED {
                known.retain(|_, (since, allowed)| since.elapsed() < lifetime(*allowed));
            }
            if known.len() < MAX_CACHED {
                known.insert(question, (Instant::now(), allowed));
            }
        }
        allowed
    }
}

fn lifetime(allowed: bool) -> Duration {
    if allowed { ALLOWED_CACHE } else { DENIED_CACHE }
}

fn verb(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    }
}

/// KEP-2862 (fine-grained authorization): the special subresource first, then `proxy` where it was the rule before.
fn subresources(path: &str) -> &'static [&'static str] {
    let first = path.strip_prefix('/').unwrap_or(path).split('/').next().unwrap_or_default();
    match first {
        "stats" => &["stats"],
        "metrics" => &["metrics"],
        "logs" => &["log"],
        "checkpoint" => &["checkpoint"],
        "statusz" => &["statusz"],
        "flagz" => &["configz"],
        "pods" | "runningpods" => &["pods", "proxy"],
        "healthz" => &["healthz", "proxy"],
        "configz" => &["configz", "proxy"],
        _ => &["proxy"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_map_to_subresources() {
        for (path, expected) in [
            ("/stats/summary", &["stats"][..]),
            ("/metrics/resource", &["metrics"]),
            ("/metrics/probes", &["metrics"]),
            ("/logs/", &["log"]),
            ("/logs/pods/a", &["log"]),
            ("/healthz/ping", &["healthz", "proxy"]),
            ("/configz", &["configz", "proxy"]),
            ("/runningpods/", &["pods", "proxy"]),
            ("/metricsx", &["proxy"]),
            ("//metrics", &["proxy"]),
            ("/pods", &["pods", "proxy"]),
            ("/exec/ns/pod/c", &["proxy"]),
            ("/containerLogs/ns/pod/c", &["proxy"]),
            ("/", &["proxy"]),
        ] {
            assert_eq!(subresources(path), expected, "{path}");
        }
    }

    #[test]
    fn methods_map_to_verbs() {
        assert_eq!(verb(&Method::POST), "create");
        assert_eq!(verb(&Method::GET), "get");
        assert_eq!((verb(&Method::OPTIONS), verb(&Method::HEAD)), ("", ""), "as upstream has it");
    }
}
