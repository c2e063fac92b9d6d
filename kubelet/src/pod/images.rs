//! Makes sure that a container's image is there, by its pull policy, with back-off and the pod's pull secrets. One pull
//! at a time, so that a slow registry is not asked for the same layers twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use tokio::sync::Semaphore;

use super::backoff::BackOffs;
use super::facts;
use crate::container_spec::SpecContext;
use crate::error_chain::chain;
use crate::events::{EventRecorder, EventType};
use crate::runtime::{PodRuntime, RegistryAuth, RuntimeImage};
use crate::status::Waiting;

/// Pulls images for all workers.
pub struct ImageManager {
    runtime: Arc<dyn PodRuntime>,
    context: Arc<SpecContext>,
    events: EventRecorder,
    turns: Semaphore,
    failures: Mutex<Failures>,
}

struct Failures {
    back_offs: BackOffs,
    last: HashMap<String, Timestamp>,
}

impl ImageManager {
    /// `parallel` pulls at a time.
    #[must_use]
    pub fn new(
        runtime: Arc<dyn PodRuntime>,
        context: Arc<SpecContext>,
        events: EventRecorder,
        parallel: usize,
    ) -> Self {
        let back_offs = BackOffs::new(Duration::from_secs(10), Duration::from_secs(300));
        Self {
            runtime,
            context,
            events,
            turns: Semaphore::new(parallel.max(1)),
            failures: Mutex::new(Failures { back_offs, last: HashMap::new() }),
        }
    }

    /// The image, pulled if the policy wants it. The error is what the container waits for.
    pub async fn ensure(&self, pod: &Pod, container: &Container, field: &str) -> Result<RuntimeImage, Waiting> {
        let reference = container.image.as_deref().unwrap_or_default();
        if reference.is_empty() || reference.contains(char::is_whitespace) {
            return Err(self.failed(
                pod,
                field,
                "InvalidImageName",
                format!("Failed to apply default image tag {reference:?}: invalid reference format"),
            ));
        }
        let policy = container.image_pull_policy.as_deref().unwrap_or("IfNotPresent");
        let present = self.find(pod, field, reference).await?;
        match (present, policy) {
            (Some(image), "IfNotPresent" | "Never") => {
                let message =
                    format!("Container image {reference:?} already present on machine and can be accessed by the pod");
                self.events.container(pod, field.to_owned(), EventType::Normal, "Pulled", message);
                Ok(image)
            }
            (None, "Never") => {
                let message = format!("Container image {reference:?} is not present with pull policy of Never");
                Err(self.failed(pod, field, "ErrImageNeverPull", message))
            }
            _ => self.pull(pod, field, reference).await,
        }
    }

    async fn find(&self, pod: &Pod, field: &str, reference: &str) -> Result<Option<RuntimeImage>, Waiting> {
        let inspect = |error: crate::runtime::RuntimeError| {
            self.failed(pod, field, "ImageInspectError", format!("Failed to inspect image {reference:?}: {error}"))
        };
        self.runtime.image(reference).await.map_err(inspect)
    }

    async fn pull(&self, pod: &Pod, field: &str, reference: &str) -> Result<RuntimeImage, Waiting> {
        let key = format!("{}_{reference}", facts::uid(pod));
        if self.is_backing_off(&key) {
            let message = format!("Back-off pulling image {reference:?}");
            self.events.container(pod, field.to_owned(), EventType::Normal, "BackOff", message.clone());
            self.events.container(pod, field.to_owned(), EventType::Warning, "Failed", "Error: ImagePullBackOff");
            return Err(Waiting { reason: "ImagePullBackOff".to_owned(), message });
        }
        self.events.container(
            pod,
            field.to_owned(),
            EventType::Normal,
            "Pulling",
            format!("Pulling image {reference:?}"),
        );
        let started = tokio::time::Instant::now();
        let turn = self.turns.acquire().await;
        let result = self.pull_with_secrets(pod, reference).await;
        drop(turn);
        match result {
            Ok(()) => {
                self.lock().back_offs.reset(&key);
                let image = self.find(pod, field, reference).await?;
                let Some(image) = image else {
                    return Err(self.failed(
                        pod,
                        field,
                        "ErrImagePull",
                        format!("image {reference:?} is not there after its pull"),
                    ));
                };
                let message = format!(
                    "Successfully pulled image {reference:?} in {:.3}s. Image size: {} bytes.",
                    started.elapsed().as_secs_f64(),
                    image.size
                );
                self.events.container(pod, field.to_owned(), EventType::Normal, "Pulled", message);
                Ok(image)
            }
            Err(message) => {
                let now = Timestamp::now();
                let mut failures = self.lock();
                let previous = failures.last.insert(key.clone(), now).unwrap_or(now);
                failures.back_offs.next(&key, previous, now);
                drop(failures);
                self.events.container(
                    pod,
                    field.to_owned(),
                    EventType::Warning,
                    "Failed",
                    format!("Failed to pull image {reference:?}: {message}"),
                );
                Err(self.failed(pod, field, "ErrImagePull", message))
            }
        }
    }

    /// Tries every credential that fits the registry, then none.
    async fn pull_with_secrets(&self, pod: &Pod, reference: &str) -> Result<(), String> {
        let mut last = None;
        for auth in self.credentials(pod, reference).await.iter().map(Some).chain([None]) {
            match self.runtime.pull_image(reference, auth).await {
                Ok(_) => return Ok(()),
                Err(error) => last = last.or(Some(chain(&error))),
            }
        }
        Err(last.unwrap_or_default())
    }

    async fn credentials(&self, pod: &Pod, reference: &str) -> Vec<RegistryAuth> {
        let mut found = Vec::new();
        let secrets = pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten());
        for secret in secrets {
            match self.context.objects.secret(facts::namespace(pod), &secret.name).await {
                Ok(secret) => found.extend(registry_auths(&secret, &registry(reference))),
                Err(error) => self.events.pod(
                    pod,
                    EventType::Warning,
                    "FailedToRetrieveImagePullSecret",
                    format!("Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed: {error}", secret.name),
                ),
            }
        }
        found
    }

    fn is_backing_off(&self, key: &str) -> bool {
        let failures = self.lock();
        failures.last.get(key).is_some_and(|last| failures.back_offs.until(key, *last, Timestamp::now()).is_some())
    }

    fn failed(&self, pod: &Pod, field: &str, reason: &'static str, message: String) -> Waiting {
        self.events.container(pod, field.to_owned(), EventType::Warning, "Failed", format!("Error: {reason}"));
        Waiting { reason: reason.to_owned(), message }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The registry's host of an image reference, `docker.io` when it names none.
fn registry(reference: &str) -> String {
    match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host.to_owned(),
        _ => "docker.io".to_owned(),
    }
}

/// The credentials for `registry` in a `kubernetes.io/dockerconfigjson` or `dockercfg` secret.
fn registry_auths(secret: &k8s_openapi::api::core::v1::Secret, registry: &str) -> Vec<RegistryAuth> {
    let data = secret.data.as_ref();
    let text = |key: &str| {
        data.and_then(|data| data.get(key)).and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes.0).ok())
    };
    let auths =
        text(".dockerconfigjson").and_then(|config| config.get("auths").cloned()).or_else(|| text(".dockercfg"));
    let Some(serde_json::Value::Object(auths)) = auths else { return Vec::new() };
    auths
        .iter()
        .filter(|(server, _)| serves(server, registry))
        .filter_map(|(server, entry)| registry_auth(server, entry))
        .collect()
}

fn serves(server: &str, registry: &str) -> bool {
    let host = server.trim_start_matches("https://").trim_start_matches("http://");
    let host = host.split('/').next().unwrap_or(host);
    host == registry || (registry == "docker.io" && host == "index.docker.io")
}

fn registry_auth(server: &str, entry: &serde_json::Value) -> Option<RegistryAuth> {
    let field = |name: &str| {
        entry.get(name).and_then(serde_json::Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let (username, password) = match (field("username"), field("password")) {
        (Some(username), Some(password)) => (username, password),
        _ => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(field("auth")?).ok()?;
            let text = String::from_utf8(bytes).ok()?;
            let (username, password) = text.split_once(':')?;
            (username.to_owned(), password.to_owned())
        }
    };
    Some(RegistryAuth { username, password: junio_api::Secret::new(password), server: server.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;
    use k8s_openapi::api::core::v1::Secret;

    #[test]
    fn credentials_go_to_their_registry_only() {
        let config = serde_json::json!({ "auths": {
            "https://r.example:5000/v1/": { "auth": "dTpw" },
            "https://index.docker.io/v1/": { "username": "a", "password": "b" },
        }});
        let data = [(".dockerconfigjson".to_owned(), ByteString(config.to_string().into_bytes()))].into();
        let secret = Secret { data: Some(data), ..Secret::default() };
        let found = registry_auths(&secret, &registry("r.example:5000/x/y:1"));
        assert_eq!((found.len(), found[0].username.as_str(), found[0].password.expose().as_str()), (1, "u", "p"));
        assert_eq!(registry_auths(&secret, &registry("busybox"))[0].username, "a");
        assert!(registry_auths(&secret, &registry("other.example/x")).is_empty());
    }
}
