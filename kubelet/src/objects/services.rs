//! All services of the cluster, for the environment variables of containers.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::runtime::watcher::{self, Event, watcher};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::certs::ApiClient;

type Services = BTreeMap<(String, String), Arc<Service>>;

/// Cheap to clone; filled by [`ServiceSource::run`].
#[derive(Clone)]
pub struct ServiceSource {
    services: Arc<RwLock<Services>>,
    ready: watch::Sender<bool>,
}

impl ServiceSource {
    /// Empty and, without an API server, ready at once.
    #[must_use]
    pub fn new(standalone: bool) -> Self {
        Self { services: Arc::default(), ready: watch::Sender::new(standalone) }
    }

    /// Waits for the first complete list.
    pub async fn ready(&self) {
        let mut receiver = self.ready.subscribe();
        // The sender is `self`, so waiting cannot fail.
        let _ = receiver.wait_for(|ready| *ready).await;
    }

    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// All services, by namespace and name.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Service>> {
        self.services.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Keeps the list current until cancelled.
    pub async fn run(&self, api: ApiClient, cancel: CancellationToken) {
        let mut generation = api.changed();
        while !cancel.is_cancelled() {
            generation.mark_unchanged();
            let client: Api<Service> = Api::all(api.current());
            let mut stream = std::pin::pin!(watcher(client, watcher::Config::default()));
            let mut fresh = Services::new();
            let mut delay = Duration::from_millis(100);
            loop {
                let item = tokio::select! {
                    item = stream.next() => item,
                    Ok(()) = generation.changed() => break,
                    () = cancel.cancelled() => return,
                };
                match item {
                    Some(Ok(event)) => {
                        delay = Duration::from_millis(100);
                        self.take(event, &mut fresh);
                    }
                    Some(Err(error)) => {
                        tracing::debug!(error = %error, "watch of services failed");
                        tokio::select! {
                            () = tokio::time::sleep(delay) => {}
                            () = cancel.cancelled() => return,
                        }
                        delay = (delay * 2).min(Duration::from_secs(1));
                    }
                    None => break,
                }
            }
        }
    }

    fn take(&self, event: Event<Service>, fresh: &mut Services) {
        let mut services = self.services.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Init => fresh.clear(),
            Event::InitApply(service) => {
                fresh.insert(name_of(&service), Arc::new(service));
            }
            Event::InitDone => {
                *services = std::mem::take(fresh);
                self.ready.send_replace(true);
            }
            Event::Apply(service) => {
                services.insert(name_of(&service), Arc::new(service));
            }
            Event::Delete(service) => {
                services.remove(&name_of(&service));
            }
        }
    }

    /// A fixed list, ready.
    #[cfg(test)]
    pub fn fixed(list: Vec<Service>) -> Self {
        let source = Self::new(true);
        let services = list.into_iter().map(|service| (name_of(&service), Arc::new(service))).collect();
        *source.services.write().unwrap_or_else(PoisonError::into_inner) = services;
        source
    }
}

fn name_of(service: &Service) -> (String, String) {
    let metadata = &service.metadata;
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> Service {
        let mut service = Service::default();
        service.metadata.name = Some(name.to_owned());
        service
    }

    #[test]
    fn a_new_list_replaces_the_old_one_only_when_complete() {
        let source = ServiceSource::new(false);
        let mut fresh = Services::new();
        source.take(Event::Init, &mut fresh);
        source.take(Event::InitApply(service("a")), &mut fresh);
        assert!(source.list().is_empty() && !source.is_ready());
        source.take(Event::InitDone, &mut fresh);
        assert!(source.is_ready());
        source.take(Event::Apply(service("b")), &mut fresh);
        assert_eq!(source.list().len(), 2);
        source.take(Event::Init, &mut fresh);
        source.take(Event::InitApply(service("c")), &mut fresh);
        assert_eq!(source.list().len(), 2);
        source.take(Event::InitDone, &mut fresh);
        assert_eq!(source.list().len(), 1);
        source.take(Event::Delete(service("c")), &mut fresh);
        assert!(source.list().is_empty());
    }
}
