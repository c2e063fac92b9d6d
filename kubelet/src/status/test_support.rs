//! Pods and container statuses for the table tests.

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    Pod, PodSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub fn container(name: &str) -> Container {
    Container { name: name.into(), image: Some("image:1".into()), ..Container::default() }
}

pub fn pod(policy: &str, init: &[&str], app: &[&str]) -> Pod {
    let containers = |names: &[&str]| names.iter().map(|name| container(name)).collect::<Vec<_>>();
    Pod {
        metadata: ObjectMeta {
            name: Some("p".into()),
            namespace: Some("n".into()),
            uid: Some("u".into()),
            generation: Some(3),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            restart_policy: Some(policy.into()),
            init_containers: (!init.is_empty()).then(|| containers(init)),
            containers: containers(app),
            ..PodSpec::default()
        }),
        status: None,
    }
}

fn status(name: &str, state: ContainerState) -> ContainerStatus {
    ContainerStatus { name: name.into(), state: Some(state), ..ContainerStatus::default() }
}

pub fn running(name: &str) -> ContainerStatus {
    let mut status =
        status(name, ContainerState { running: Some(ContainerStateRunning::default()), ..ContainerState::default() });
    status.ready = true;
    status
}

pub fn terminated(name: &str, exit_code: i32) -> ContainerStatus {
    let terminated = ContainerStateTerminated { exit_code, ..ContainerStateTerminated::default() };
    status(name, ContainerState { terminated: Some(terminated), ..ContainerState::default() })
}

pub fn waiting(name: &str) -> ContainerStatus {
    status(name, ContainerState { waiting: Some(ContainerStateWaiting::default()), ..ContainerState::default() })
}

pub fn waiting_after(name: &str, exit_code: i32) -> ContainerStatus {
    ContainerStatus { last_state: terminated(name, exit_code).state, ..waiting(name) }
}
