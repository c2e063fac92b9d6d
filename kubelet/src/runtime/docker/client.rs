//! The connection to one Docker Engine and what was learned of it at the start. Holds the only caches of this module.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bollard::{API_DEFAULT_VERSION, Docker};
use tokio::sync::broadcast;

use super::capability::Bounding;
use super::convert::Seen;
use super::error::classify;
use super::socket::Socket;
use crate::runtime::{ContainerId, RuntimeError, RuntimeEvent, RuntimeVersion, SandboxId};

/// Seconds that the engine has to begin its answer. Starting a container on a loaded host can take many.
const ANSWER_TIMEOUT: u64 = 120;
/// Early events that wait for a slow listener; older ones are lost to it and come from the engine instead.
const EARLY_BACKLOG: usize = 256;

/// What a `DockerRuntime` needs from the kubelet's configuration.
#[derive(Debug, Clone)]
pub struct DockerOptions {
    /// Reference of the pause image; it must be present before `create_sandbox`.
    pub pause_image: String,
    /// `containerLogMaxSize` in bytes.
    pub log_max_size: u64,
    /// `containerLogMaxFiles`.
    pub log_max_files: u32,
    /// Directory of the links `POD_NS_CONTAINER-ID.log`.
    pub container_log_dir: PathBuf,
    /// Value of the label `io.junioadm.managed`: this runtime sees only containers that carry it. Two kubelets on one
    /// engine (tests) must differ here.
    pub owner: String,
}

impl Default for DockerOptions {
    fn default() -> Self {
        Self {
            pause_image: format!("registry.k8s.io/pause:{}", junio_api::versions::PAUSE),
            log_max_size: 10 * 1024 * 1024,
            log_max_files: 5,
            container_log_dir: PathBuf::from("/var/log/containers"),
            owner: "kubelet".to_owned(),
        }
    }
}

/// Pods on a Docker Engine (API 1.41 or later) over its Unix socket. Clones share one state.
#[derive(Clone)]
pub struct DockerRuntime {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub docker: Docker,
    pub socket: Socket,
    pub options: DockerOptions,
    pub version: RuntimeVersion,
    pub bounding: Bounding,
    /// False once this engine proved to run a `NetworkDisabled` container in the host's network namespace.
    pub network_disabled: AtomicBool,
    /// Ends that the engine has not told yet.
    pub early: broadcast::Sender<RuntimeEvent>,
    seen: Mutex<HashMap<String, Seen>>,
    handlers: Mutex<HashMap<SandboxId, Option<String>>>,
    watched: Mutex<HashSet<String>>,
    announced: Mutex<HashSet<String>>,
}

impl DockerRuntime {
    /// Connects, negotiates the API version and reads what the engine is. Fails with `Unreachable` while the engine
    /// does not answer; the caller decides when to try again.
    pub async fn connect(socket: &Path, options: DockerOptions) -> Result<Self, RuntimeError> {
        let object = || socket.display().to_string();
        let docker = Docker::connect_with_unix(&object(), ANSWER_TIMEOUT, API_DEFAULT_VERSION)
            .map_err(|error| classify("connect to", "engine", &object(), error))?
            .negotiate_version()
            .await
            .map_err(|error| classify("ask version of", "engine", &object(), error))?;
        let api = docker.client_version().to_string();
        let info = docker.info().await.map_err(|error| classify("inspect", "engine", &object(), error))?;
        let mut runtimes: Vec<String> = info.runtimes.unwrap_or_default().into_keys().collect();
        runtimes.sort();
        let version = RuntimeVersion {
            name: "docker".to_owned(),
            version: info.server_version.unwrap_or_default(),
            api_version: api.clone(),
            cgroup_driver: info.cgroup_driver.map(|driver| driver.to_string()).unwrap_or_default(),
            cgroup_version: info.cgroup_version.and_then(|version| version.to_string().parse().ok()).unwrap_or(1),
            runtimes,
            root_dir: PathBuf::from(info.docker_root_dir.unwrap_or_else(|| "/var/lib/docker".to_owned())),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                docker,
                socket: Socket::new(socket.to_path_buf(), &api),
                options,
                version,
                bounding: Bounding::of_this_process(),
                network_disabled: AtomicBool::new(true),
                early: broadcast::channel(EARLY_BACKLOG).0,
                seen: Mutex::default(),
                handlers: Mutex::default(),
                watched: Mutex::default(),
                announced: Mutex::default(),
            }),
        })
    }

    pub(super) fn docker(&self) -> &Docker {
        &self.inner.docker
    }

    /// What is known of containers that run or have ended; such facts do not change until the state does.
    pub(super) fn seen(&self) -> MutexGuard<'_, HashMap<String, Seen>> {
        lock(&self.inner.seen)
    }

    /// Engine runtimes of sandboxes, which their containers must share.
    pub(super) fn handlers(&self) -> MutexGuard<'_, HashMap<SandboxId, Option<String>>> {
        lock(&self.inner.handlers)
    }

    /// Containers whose exit is being watched or was seen.
    pub(super) fn watched(&self) -> MutexGuard<'_, HashSet<String>> {
        lock(&self.inner.watched)
    }

    /// Containers whose end was told before the engine's own event.
    pub(super) fn announced(&self) -> MutexGuard<'_, HashSet<String>> {
        lock(&self.inner.announced)
    }

    /// Forgets everything about containers that are gone.
    pub(super) fn forget(&self, keep: impl Fn(&str) -> bool) {
        self.seen().retain(|id, _| keep(id));
        self.handlers().retain(|id, _| keep(&id.0));
        self.watched().retain(|id| keep(id));
        self.announced().retain(|id| keep(id));
    }

    /// Where the json-file driver writes a container's log.
    pub(super) fn engine_log_path(&self, id: &ContainerId) -> PathBuf {
        self.inner.version.root_dir.join("containers").join(&id.0).join(format!("{}-json.log", id.0))
    }
}

/// The values stay whole whatever a panicking holder did: every change is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
