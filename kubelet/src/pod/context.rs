//! What every worker uses. Built once by the kubelet.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use super::allocation::Allocations;
use super::images::ImageManager;
use super::start_slots::StartSlots;
use super::{PodStore, facts};
use crate::container_spec::{CgroupManager, ContainerRef, SpecContext};
use crate::events::{EventRecorder, EventType};
use crate::network::cni::Cni;
use crate::probe::ProbeManager;
use crate::runtime::{ContainerKind, PodRuntime};
use crate::status::StatusManager;
use crate::volume::VolumeManager;

/// The seams of a worker: all shared.
pub struct WorkerContext {
    pub store: PodStore,
    pub runtime: Arc<dyn PodRuntime>,
    pub network: Arc<Cni>,
    pub spec: Arc<SpecContext>,
    pub volumes: VolumeManager,
    pub allocations: Allocations,
    pub cgroups: Arc<CgroupManager>,
    pub probes: Arc<ProbeManager>,
    pub images: ImageManager,
    pub starts: StartSlots,
    pub status: StatusManager,
    pub events: EventRecorder,
    pub crash_loop_cap: Duration,
    pub sync_period: Duration,
}

impl WorkerContext {
    /// An event about a container.
    pub fn tell(
        &self,
        pod: &Pod,
        container: &ContainerRef<'_>,
        type_: EventType,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        self.events.container(pod, field_path(container.kind(), container.name()), type_, reason, message);
    }

    /// How messages name a pod: `name_namespace(uid)`.
    #[must_use]
    pub fn label(pod: &Pod) -> String {
        format!("{}_{}({})", facts::name(pod), facts::namespace(pod), facts::uid(pod))
    }
}

/// How events name a container.
#[must_use]
pub fn field_path(kind: ContainerKind, name: &str) -> String {
    let list = match kind {
        ContainerKind::Init => "initContainers",
        ContainerKind::App => "containers",
        ContainerKind::Ephemeral => "ephemeralContainers",
    };
    format!("spec.{list}{{{name}}}")
}
