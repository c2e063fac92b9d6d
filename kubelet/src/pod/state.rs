//! What a worker remembers of its pod between passes. Shared with the pass that runs beside it; locks are never held
//! across an await.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};

use super::allocation::Pending;
use super::backoff::BackOffs;
use super::facts;
use crate::runtime::{Applied, ContainerId, RuntimePod};
use crate::status::Waiting;
use crate::status::pod_status::Verdict;

/// One pod's memory.
#[derive(Clone)]
pub struct PodState {
    inner: Arc<Mutex<Memory>>,
}

pub struct Memory {
    /// The engine's state when it was last looked at; `None` if it never was.
    pub runtime: Option<Arc<RuntimePod>>,
    pub pod_ips: Vec<IpAddr>,
    pub waiting: BTreeMap<String, Waiting>,
    pub messages: HashMap<ContainerId, String>,
    pub back_offs: BackOffs,
    pub start_time: Timestamp,
    pub verdict: Option<Verdict>,
    /// The pod is being ended: only readiness is still probed.
    pub terminating: bool,
    /// All containers are dead and none will start again.
    pub terminal: bool,
    /// The status before the kubelet started, until one was computed.
    pub first_status: Option<PodStatus>,
    /// A resize that the node has no room for.
    pub pending: Option<Pending>,
    /// Why the last attempt to resize failed.
    pub resize_error: Option<String>,
    /// What the engine was told last of the limits of each container that was resized.
    pub settled: HashMap<ContainerId, Applied>,
    /// Containers that were killed for a restart, whatever their restart policy says of their exit.
    pub forced: BTreeSet<String>,
    /// Passes in a row that failed.
    pub failures: u32,
}

impl PodState {
    /// The memory of a pod that was not known before; a restarted kubelet takes over what the API server has.
    #[must_use]
    pub fn new(pod: &Pod, crash_loop_cap: Duration) -> Self {
        let stored = pod.status.as_ref();
        let start_time = stored
            .and_then(|status| status.start_time.as_ref())
            .map_or_else(facts::now_in_seconds, |time| facts::to_seconds(time.0));
        let memory = Memory {
            runtime: None,
            pod_ips: Vec::new(),
            waiting: BTreeMap::new(),
            messages: HashMap::new(),
            back_offs: BackOffs::new(Duration::from_secs(10), crash_loop_cap),
            start_time,
            verdict: None,
            terminating: false,
            terminal: false,
            first_status: stored.cloned(),
            pending: None,
            resize_error: None,
            settled: HashMap::new(),
            forced: BTreeSet::new(),
            failures: 0,
        };
        Self { inner: Arc::new(Mutex::new(memory)) }
    }

    pub fn lock(&self) -> MutexGuard<'_, Memory> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
