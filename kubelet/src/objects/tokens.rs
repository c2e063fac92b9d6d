//! Service account tokens bound to pods, by TokenRequest, renewed well before they expire.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use junio_api::Secret;
use k8s_openapi::api::authentication::v1 as authentication;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::Api;
use kube::api::PostParams;
use tokio::sync::Mutex as AsyncMutex;

use super::ObjectError;
use crate::certs::ApiClient;

/// What is asked for, besides the pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenRequestSpec {
    /// `None`: the API server's own audience.
    pub audience: Option<String>,
    pub expiration_seconds: i64,
}

/// Cheap to clone; holds every token it has got until the pod is released.
#[derive(Clone)]
pub struct TokenManager {
    api: Option<ApiClient>,
    tokens: Arc<Mutex<HashMap<Key, Slot>>>,
}

type Slot = Arc<AsyncMutex<Option<Token>>>;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    pod_uid: String,
    service_account: String,
    spec: TokenRequestSpec,
}

#[derive(Clone)]
struct Token {
    value: Secret<String>,
    issued: Timestamp,
    expires: Timestamp,
}

impl TokenManager {
    #[must_use]
    pub fn new(api: Option<ApiClient>) -> Self {
        Self { api, tokens: Arc::default() }
    }

    /// The pod's token: a kept one while it is fresh, else a new one. If renewal fails, the old one serves until it
    /// expires.
    pub async fn token(&self, pod: &Pod, spec: &TokenRequestSpec) -> Result<Secret<String>, ObjectError> {
        let key = Key {
            pod_uid: pod.metadata.uid.clone().unwrap_or_default(),
            service_account: service_account(pod).to_owned(),
            spec: spec.clone(),
        };
        let slot = Arc::clone(self.tokens.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default());
        let mut slot = slot.lock().await;
        let now = Timestamp::now();
        if let Some(token) = slot.as_ref().filter(|token| !is_due(token.issued, token.expires, now)) {
            return Ok(token.value.clone());
        }
        match self.request(pod, spec).await {
            Ok(token) => Ok(slot.insert(token).value.clone()),
            Err(error) => match slot.as_ref().filter(|token| token.expires > now) {
                Some(token) => {
                    tracing::warn!(pod = pod.metadata.name, error = %error, "service account token not renewed");
                    Ok(token.value.clone())
                }
                None => Err(error),
            },
        }
    }

    /// Forgets the pod's tokens.
    pub fn release(&self, uid: &str) {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| key.pod_uid != uid);
    }

    async fn request(&self, pod: &Pod, spec: &TokenRequestSpec) -> Result<Token, ObjectError> {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let name = service_account(pod).to_owned();
        let failed = |message: String| ObjectError::Token { namespace: namespace.clone(), name: name.clone(), message };
        let api = self.api.as_ref().ok_or_else(|| failed("this kubelet has no API server".to_owned()))?;
        let request = authentication::TokenRequest {
            spec: Some(authentication::TokenRequestSpec {
                // An empty list asks for the API server's default audience.
                audiences: Some(spec.audience.iter().cloned().collect()),
                bound_object_ref: Some(authentication::BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: pod.metadata.name.clone(),
                    uid: pod.metadata.uid.clone(),
                }),
                expiration_seconds: Some(spec.expiration_seconds),
            }),
            ..Default::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(api.current(), &namespace);
        let answer = request_patiently(&accounts, &name, &request).await.map_err(|error| failed(error.to_string()))?;
        let status = answer.status.ok_or_else(|| failed("the answer has no status".to_owned()))?;
        match (status.token.filter(|token| !token.is_empty()), status.expiration_timestamp) {
            (Some(token), Some(expires)) => {
                Ok(Token { value: Secret::new(token), issued: Timestamp::now(), expires: expires.0 })
            }
            _ => Err(failed("the answer has no token".to_owned())),
        }
    }
}

/// The node authorizer learns of a pod a little after the kubelet does, so `Forbidden` is tried again for a moment.
async fn request_patiently(
    accounts: &Api<ServiceAccount>,
    name: &str,
    request: &authentication::TokenRequest,
) -> Result<authentication::TokenRequest, kube::Error> {
    let mut delay = Duration::from_millis(30);
    loop {
        match accounts.create_token_request(name, &PostParams::default(), request).await {
            Err(kube::Error::Api(status)) if status.code == 403 && delay < Duration::from_secs(1) => {
                tokio::time::sleep(delay).await;
                delay *= 2;
            }
            other => return other,
        }
    }
}

fn service_account(pod: &Pod) -> &str {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.service_account_name.as_deref())
        .filter(|name| !name.is_empty())
        .unwrap_or("default")
}

/// True after 80 % of the token's life, or 24 hours.
fn is_due(issued: Timestamp, expires: Timestamp, now: Timestamp) -> bool {
    let life = expires.duration_since(issued);
    let age = now.duration_since(issued);
    age > life.mul_f64(0.8) || age > SignedDuration::from_hours(24)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renews_at_four_fifths_or_after_a_day() {
        let issued: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let at = |minutes: i64| issued + SignedDuration::from_mins(minutes);
        assert!(!is_due(issued, at(60), at(47)));
        assert!(is_due(issued, at(60), at(49)));
        assert!(!is_due(issued, at(60 * 24 * 365), at(60 * 23)));
        assert!(is_due(issued, at(60 * 24 * 365), at(60 * 25)));
        assert!(is_due(issued, at(60), at(120)));
    }

    #[tokio::test]
    async fn says_whose_token_failed() {
        let manager = TokenManager::new(None);
        let mut pod = Pod::default();
        pod.metadata.namespace = Some("n".to_owned());
        let spec = TokenRequestSpec { audience: None, expiration_seconds: 3600 };
        let error = manager.token(&pod, &spec).await.expect_err("no API server");
        assert_eq!(error.to_string(), "token of service account n/default: this kubelet has no API server");
    }
}
