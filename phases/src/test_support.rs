//! Facts and documents that several tests start from.

use junio_api::config::{HostFacts, InitDocuments, defaults};
use junio_api::token::Token;
use junio_host::Facts;
use junio_host::docker::DockerFacts;
use junio_host::facts::{CgroupVersion, DockerState, InitSystem, Listener, Protocol, Route};

/// A host that can become a control plane.
pub(crate) fn facts() -> Facts {
    Facts {
        hostname: "ka-1".to_owned(),
        kernel: "6.1.0".to_owned(),
        architecture: "x86_64".to_owned(),
        cpus: 2,
        memory_total: 4 << 30,
        cgroup: CgroupVersion::V2,
        init: InitSystem::Systemd,
        default_address: Some("10.78.0.11".parse().expect("an address")),
        ip_forward: Some("1".to_owned()),
        hostname_resolves: true,
        disk_free: Some(100 << 30),
        docker: DockerState::Running(DockerFacts {
            version: "20.10.24".to_owned(),
            api_version: "1.41".to_owned(),
            cgroup_driver: "cgroupfs".to_owned(),
            cgroup_version: "2".to_owned(),
            storage_driver: "overlay2".to_owned(),
            ..DockerFacts::default()
        }),
        ..Facts::default()
    }
}

/// Defaulted documents of host `ka-1`.
pub(crate) fn documents() -> InitDocuments {
    let mut documents = InitDocuments::default();
    documents.cluster.networking.pod_subnet = defaults::POD_SUBNET.to_owned();
    let host = HostFacts {
        hostname: "ka-1".to_owned(),
        default_address: Some("10.78.0.11".parse().expect("an address")),
        token: "abcdef.0123456789abcdef".parse::<Token>().expect("a token"),
    };
    defaults::apply(&mut documents, &host);
    documents
}

pub(crate) fn listener(port: u16, process: Option<&str>) -> Listener {
    Listener::new(Protocol::Tcp, std::net::Ipv4Addr::UNSPECIFIED.into(), port, process.map(str::to_owned))
}

pub(crate) fn route(destination: &str, interface: &str) -> Route {
    Route { destination: destination.parse().expect("a subnet"), interface: interface.to_owned() }
}
