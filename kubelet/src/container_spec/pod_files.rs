//! The three files that the kubelet owns per pod and binds into each of its containers: `/etc/hosts`, `/etc/hostname`,
//! `/etc/resolv.conf`, all below `pods/UID/`.
//!
//! A file is rewritten in place, so that a container that already has it bound sees the new text.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;

use super::context::{SpecContext, is_host_network, uid};
use super::error::SpecError;
use super::hostname::pod_name;
use super::hosts::{node_hosts, pod_hosts};
use super::resolv::{Resolv, resolv_conf};

/// Paths on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodFiles {
    pub hosts: PathBuf,
    pub hostname: PathBuf,
    pub resolv_conf: PathBuf,
}

impl PodFiles {
    #[must_use]
    pub fn new(ctx: &SpecContext, pod: &Pod) -> Self {
        let dir = ctx.pod_dir(uid(pod));
        Self {
            hosts: dir.join("etc-hosts"),
            hostname: dir.join("etc-hostname"),
            resolv_conf: dir.join("etc-resolv.conf"),
        }
    }
}

/// Writes hostname and resolver file, and an empty hosts file if there is none yet, so that all three can be bound
/// before the pod has its address.
pub fn prepare_pod_files(ctx: &SpecContext, pod: &Pod) -> Result<PodFiles, SpecError> {
    let files = PodFiles::new(ctx, pod);
    let dir = ctx.pod_dir(uid(pod));
    fs::create_dir_all(&dir).map_err(|source| SpecError::Io { what: "create", path: dir.clone(), source })?;
    let hostname =
        if is_host_network(pod) { ctx.node.hostname.clone() } else { pod_name(pod, &ctx.cluster_domain)?.hostname };
    write(&files.hostname, &format!("{hostname}\n"))?;
    write(&files.resolv_conf, &pod_resolv_conf(ctx, pod)?.text)?;
    if is_host_network(pod) {
        write_hosts_file(ctx, pod, &[])?;
    } else if !files.hosts.exists() {
        write(&files.hosts, "")?;
    }
    Ok(files)
}

/// Fills the hosts file; must be done before any container of the pod starts. A hostNetwork pod needs no addresses.
pub fn write_hosts_file(ctx: &SpecContext, pod: &Pod, ips: &[IpAddr]) -> Result<(), SpecError> {
    let files = PodFiles::new(ctx, pod);
    let aliases = pod.spec.as_ref().and_then(|spec| spec.host_aliases.as_deref()).unwrap_or_default();
    let text = if is_host_network(pod) {
        node_hosts(&read_or_empty(Path::new("/etc/hosts"))?, aliases)
    } else {
        pod_hosts(ips, &pod_name(pod, &ctx.cluster_domain)?, aliases)
    };
    write(&files.hosts, &text)
}

/// The pod's resolver file together with what the user should be told of it.
pub fn pod_resolv_conf(ctx: &SpecContext, pod: &Pod) -> Result<Resolv, SpecError> {
    let host = if ctx.resolv_conf.as_os_str().is_empty() { String::new() } else { read_or_empty(&ctx.resolv_conf)? };
    Ok(resolv_conf(pod, &ctx.cluster_dns, &ctx.cluster_domain, &host))
}

fn read_or_empty(path: &Path) -> Result<String, SpecError> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(SpecError::Io { what: "read", path: path.to_owned(), source }),
    }
}

fn write(path: &Path, text: &str) -> Result<(), SpecError> {
    if fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(());
    }
    let result =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(path).and_then(|mut file| {
            file.set_permissions(fs::Permissions::from_mode(0o644))?;
            file.write_all(text.as_bytes())
        });
    result.map_err(|source| SpecError::Io { what: "write", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::container_spec::tests_support::context;

    fn pod() -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "web", "namespace": "n", "uid": "u1"}, "spec": {"containers": []}
        }))
        .expect("a pod")
    }

    #[test]
    fn the_hosts_file_keeps_its_inode() {
        let (_dir, ctx) = context();
        let files = prepare_pod_files(&ctx, &pod()).expect("files");
        assert_eq!(fs::read_to_string(&files.hosts).expect("hosts"), "");
        let inode = fs::metadata(&files.hosts).expect("metadata").ino();
        write_hosts_file(&ctx, &pod(), &["10.9.8.7".parse().expect("ip")]).expect("hosts");
        assert!(fs::read_to_string(&files.hosts).expect("hosts").ends_with("10.9.8.7\tweb\n"));
        assert_eq!(fs::metadata(&files.hosts).expect("metadata").ino(), inode);
        prepare_pod_files(&ctx, &pod()).expect("files");
        assert!(fs::read_to_string(&files.hosts).expect("hosts").contains("10.9.8.7"));
        assert_eq!(fs::read_to_string(&files.hostname).expect("hostname"), "web\n");
        assert!(fs::read_to_string(&files.resolv_conf).expect("resolv").contains("nameserver 10.96.0.10"));
        assert_eq!(fs::metadata(&files.hosts).expect("metadata").mode() & 0o777, 0o644);
    }
}
