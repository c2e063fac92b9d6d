//! One view over the three kinds of container that a pod may have.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec};

use crate::runtime::ContainerKind;

/// A container of a pod together with its kind.
#[derive(Debug, Clone, Copy)]
pub enum ContainerRef<'a> {
    Init(&'a Container),
    App(&'a Container),
    Ephemeral(&'a EphemeralContainer),
}

impl<'a> ContainerRef<'a> {
    #[must_use]
    pub fn kind(&self) -> ContainerKind {
        match self {
            Self::Init(_) => ContainerKind::Init,
            Self::App(_) => ContainerKind::App,
            Self::Ephemeral(_) => ContainerKind::Ephemeral,
        }
    }

    #[must_use]
    pub fn name(&self) -> &'a str {
        match self {
            Self::Init(container) | Self::App(container) => &container.name,
            Self::Ephemeral(container) => &container.name,
        }
    }

    /// The container; an ephemeral one is converted, which loses only its target.
    #[must_use]
    pub fn container(&self) -> Cow<'a, Container> {
        match self {
            Self::Init(container) | Self::App(container) => Cow::Borrowed(container),
            Self::Ephemeral(container) => Cow::Owned(from_ephemeral(container)),
        }
    }

    /// `targetContainerName` of an ephemeral container.
    #[must_use]
    pub fn target(&self) -> Option<&'a str> {
        match self {
            Self::Ephemeral(container) => container.target_container_name.as_deref().filter(|name| !name.is_empty()),
            Self::Init(_) | Self::App(_) => None,
        }
    }

    /// An init container with `restartPolicy: Always`.
    #[must_use]
    pub fn is_sidecar(&self) -> bool {
        matches!(self, Self::Init(container) if container.restart_policy.as_deref() == Some("Always"))
    }
}

/// All containers of a pod: init, app, ephemeral, each in declared order.
pub fn all_containers(pod: &Pod) -> impl Iterator<Item = ContainerRef<'_>> {
    pod.spec.iter().flat_map(spec_containers)
}

/// The container with this name.
#[must_use]
pub fn find_container<'a>(pod: &'a Pod, name: &str) -> Option<ContainerRef<'a>> {
    all_containers(pod).find(|container| container.name() == name)
}

fn spec_containers(spec: &PodSpec) -> impl Iterator<Item = ContainerRef<'_>> {
    let init = spec.init_containers.iter().flatten().map(ContainerRef::Init);
    let app = spec.containers.iter().map(ContainerRef::App);
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(ContainerRef::Ephemeral);
    init.chain(app).chain(ephemeral)
}

fn from_ephemeral(container: &EphemeralContainer) -> Container {
    let EphemeralContainer {
        args,
        command,
        env,
        env_from,
        image,
        image_pull_policy,
        lifecycle,
        liveness_probe,
        name,
        ports,
        readiness_probe,
        resize_policy,
        resources,
        restart_policy,
        restart_policy_rules,
        security_context,
        startup_probe,
        stdin,
        stdin_once,
        target_container_name: _,
        termination_message_path,
        termination_message_policy,
        tty,
        volume_devices,
        volume_mounts,
        working_dir,
    } = container.clone();
    Container {
        args,
        command,
        env,
        env_from,
        image,
        image_pull_policy,
        lifecycle,
        liveness_probe,
        name,
        ports,
        readiness_probe,
        resize_policy,
        resources,
        restart_policy,
        restart_policy_rules,
        security_context,
        startup_probe,
        stdin,
        stdin_once,
        termination_message_path,
        termination_message_policy,
        tty,
        volume_devices,
        volume_mounts,
        working_dir,
    }
}
