//! Docker Engine: there, new enough, answering. Stands for kubeadm's `CRI` and `ContainerRuntimeVersion`.

use junio_api::versions;
use junio_host::facts::{DockerState, InitSystem};

use super::Input;
use super::verdict::Verdict;

pub(super) fn engine(input: &Input<'_>, found: &mut Vec<Verdict>) {
    let socket = input.documents.init.node_registration.cri_socket.trim_start_matches("unix://");
    match &input.facts.docker {
        DockerState::Unknown => {}
        DockerState::Absent => {
            let text = format!("could not connect to the container runtime: there is no Docker Engine at {socket}");
            found.push(Verdict::error("CRI", "DOCKER-MISSING", text, "apt-get install docker.io"));
        }
        DockerState::Unreachable { error } => {
            let text = format!(
                "could not connect to the container runtime: Docker Engine at {socket} does not answer: {error}"
            );
            let look = match input.facts.init {
                InitSystem::Systemd => "systemctl status docker",
                InitSystem::Other => "docker info",
            };
            found.push(Verdict::error("CRI", "DOCKER-UNREACHABLE", text, look));
        }
        DockerState::Running(docker) => {
            if api_number(&docker.api_version) < api_number(versions::DOCKER_API_MIN) {
                let text = format!(
                    "Docker Engine {} speaks API {}, at least {} is needed (Docker 20.10)",
                    docker.version,
                    docker.api_version,
                    versions::DOCKER_API_MIN
                );
                found.push(Verdict::error(
                    "ContainerRuntimeVersion",
                    "DOCKER-TOO-OLD",
                    text,
                    "apt-get install docker.io",
                ));
            }
            if docker.storage_driver == "vfs" {
                let text = "Docker uses the storage driver vfs: every container is a full copy of its image";
                found.push(Verdict::warning("ContainerRuntimeStorage", "DOCKER-STORAGE", text));
            }
        }
    }
}

/// `1.41` as something that compares; what is no version is older than all.
fn api_number(text: &str) -> (u32, u32) {
    let parts = text.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    parts.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{documents, facts};
    use junio_host::Facts;
    use junio_host::docker::DockerFacts;

    fn codes(docker: DockerState) -> Vec<String> {
        let facts = Facts { docker, ..facts() };
        let mut found = Vec::new();
        engine(
            &Input {
                facts: &facts,
                documents: &documents(),
                ours: false,
                overlay: true,
                bundle: None,
                external_etcd: Vec::new(),
                proxies: &[],
            },
            &mut found,
        );
        found.iter().map(|verdict| verdict.code.to_string()).collect()
    }

    #[test]
    fn absent_unreachable_and_old_engines_are_told_apart() {
        let old =
            DockerFacts { version: "19.03.9".to_owned(), api_version: "1.40".to_owned(), ..DockerFacts::default() };
        let minimal =
            DockerFacts { version: "20.10.24".to_owned(), api_version: "1.41".to_owned(), ..DockerFacts::default() };
        assert_eq!(codes(DockerState::Absent), ["JUNIO-DOCKER-MISSING"]);
        assert_eq!(
            codes(DockerState::Unreachable { error: "connection refused".to_owned() }),
            ["JUNIO-DOCKER-UNREACHABLE"]
        );
        assert_eq!(codes(DockerState::Running(old)), ["JUNIO-DOCKER-TOO-OLD"]);
        assert_eq!(codes(DockerState::Running(minimal)), Vec::<String>::new());
    }
}
