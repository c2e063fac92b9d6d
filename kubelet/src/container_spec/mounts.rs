//! The mounts of a container: its volumes, and the files that the kubelet adds.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};

use super::annotations::termination_message_path;
use super::context::{SpecContext, uid};
use super::error::SpecError;
use super::expand::expand_collecting;
use super::pod_files::PodFiles;
use crate::runtime::{Mount, Propagation};
use crate::volume::{PodVolumes, SubpathRequest, is_read_only_volume, prepare_subpath};

/// Mounts of volumes. Blocking: a subPath is opened, and if need be created and bound, here.
pub fn volume_mounts(
    ctx: &SpecContext,
    pod: &Pod,
    container: &Container,
    environment: &[(String, String)],
    volumes: &PodVolumes,
) -> Result<Vec<Mount>, SpecError> {
    let mut result = Vec::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let missing = || SpecError::VolumeMissing { name: mount.name.clone(), path: mount.mount_path.clone() };
        let volume = volumes.volumes.get(&mount.name).ok_or_else(missing)?;
        let read_only_volume = is_read_only_volume(pod, &mount.name);
        let host_path = match sub_path(mount, environment)? {
            None => volume.clone(),
            Some(text) => {
                let request = SubpathRequest {
                    volume_dir: volume.clone(),
                    sub_path: text.clone(),
                    target: ctx
                        .pod_dir(uid(pod))
                        .join("volume-subpaths")
                        .join(&mount.name)
                        .join(&container.name)
                        .join(index.to_string()),
                };
                prepare_subpath(&request).map_err(|error| SpecError::SubPath { text, problem: error.to_string() })?
            }
        };
        result.push(Mount {
            host_path,
            container_path: absolute(&mount.mount_path),
            // An image is mounted read-only and not executable; the engine would forget the latter if it were asked for the
            // former.
            read_only: (mount.read_only.unwrap_or(false) || read_only_volume) && !is_image_volume(pod, &mount.name),
            propagation: propagation(mount),
        });
    }
    Ok(result)
}

fn is_image_volume(pod: &Pod, name: &str) -> bool {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.into_iter().any(|volume| volume.name == name && volume.image.is_some())
}

/// Mounts of `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`, except what the container mounts itself.
#[must_use]
pub fn pod_file_mounts(container: &Container, files: &PodFiles, read_only_root: bool) -> Vec<Mount> {
    let own = |path: &str| {
        container.volume_mounts.iter().flatten().any(|mount| absolute(&mount.mount_path).trim_end_matches('/') == path)
    };
    [("/etc/hosts", &files.hosts), ("/etc/hostname", &files.hostname), ("/etc/resolv.conf", &files.resolv_conf)]
        .into_iter()
        .filter(|(path, _)| !own(path))
        .map(|(path, file)| Mount {
            host_path: file.clone(),
            container_path: path.to_owned(),
            // The hosts file stays writable even then, as upstream has it.
            read_only: read_only_root && path != "/etc/hosts",
            propagation: Propagation::Private,
        })
        .collect()
}

/// Makes the file that receives the container's last words, empty and writable by every user, and its mount.
pub fn termination_message_mount(
    ctx: &SpecContext,
    pod: &Pod,
    container: &Container,
) -> Result<(PathBuf, Mount), SpecError> {
    let dir = ctx.pod_dir(uid(pod)).join("containers").join(&container.name);
    let io = |what, path: &Path| {
        let path = path.to_owned();
        move |source| SpecError::Io { what, path, source }
    };
    fs::create_dir_all(&dir).map_err(io("create", &dir))?;
    let file = dir.join(format!("{:08x}", rand::random::<u32>()));
    let handle =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o666).open(&file).map_err(io("create", &file))?;
    handle.set_permissions(fs::Permissions::from_mode(0o666)).map_err(io("set the mode of", &file))?;
    let mount = Mount {
        host_path: file.clone(),
        container_path: absolute(termination_message_path(container)),
        read_only: false,
        propagation: Propagation::Private,
    };
    Ok((file, mount))
}

/// The subPath with its variables filled in. All of `environment` counts, which is the container's own.
fn sub_path(mount: &VolumeMount, environment: &[(String, String)]) -> Result<Option<String>, SpecError> {
    let expression = mount.sub_path_expr.as_deref().filter(|text| !text.is_empty());
    let text = match expression {
        None => mount.sub_path.clone().unwrap_or_default(),
        Some(expression) => {
            let lookup =
                |name: &str| environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
            let mut missing = Vec::new();
            let text = expand_collecting(expression, lookup, &mut missing);
            if !missing.is_empty() {
                let problem = format!("missing value for {}", missing.join(", "));
                return Err(SpecError::SubPath { text: expression.to_owned(), problem });
            }
            text
        }
    };
    let problem = if text.starts_with('/') {
        "must not be an absolute path"
    } else if text.split('/').any(|part| part == "..") {
        "must not contain '..'"
    } else {
        return Ok((!text.is_empty()).then_some(text));
    };
    Err(SpecError::SubPath { text, problem: problem.to_owned() })
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

fn propagation(mount: &VolumeMount) -> Propagation {
    match mount.mount_propagation.as_deref() {
        Some("HostToContainer") => Propagation::HostToContainer,
        Some("Bidirectional") => Propagation::Bidirectional,
        _ => Propagation::Private,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container_spec::tests_support::context;

    fn mount(expression: &str) -> VolumeMount {
        VolumeMount {
            name: "v".into(),
            mount_path: "/v".into(),
            sub_path_expr: Some(expression.into()),
            ..Default::default()
        }
    }

    #[test]
    fn expands_sub_paths_and_refuses_escapes() {
        let environment = [
            ("UP".to_owned(), "..".to_owned()),
            ("ABS".to_owned(), "/tmp".to_owned()),
            ("OK".to_owned(), "a/b".to_owned()),
        ];
        assert_eq!(sub_path(&mount("$(OK)/c"), &environment).expect("a path").as_deref(), Some("a/b/c"));
        assert_eq!(sub_path(&mount(""), &environment).expect("no path"), None);
        for text in ["$(UP)", "$(ABS)", "$(NO)", "x/../y"] {
            let error = sub_path(&mount(text), &environment).expect_err(text);
            assert_eq!(error.reason(), "CreateContainerConfigError");
        }
    }

    #[test]
    fn a_container_may_bring_its_own_hosts_file() {
        let files = PodFiles { hosts: "/h".into(), hostname: "/n".into(), resolv_conf: "/r".into() };
        let own = VolumeMount { name: "v".into(), mount_path: "/etc/hosts/".into(), ..Default::default() };
        let container = Container { volume_mounts: Some(vec![own]), ..Default::default() };
        let paths: Vec<String> =
            pod_file_mounts(&container, &files, false).into_iter().map(|m| m.container_path).collect();
        assert_eq!(paths, ["/etc/hostname", "/etc/resolv.conf"]);
        assert_eq!(pod_file_mounts(&Container::default(), &files, false).len(), 3);
    }

    #[test]
    fn each_instance_has_its_own_termination_file() {
        let (_dir, ctx) = context();
        let mut pod = Pod::default();
        pod.metadata.uid = Some("u".to_owned());
        let container =
            Container { name: "c".into(), termination_message_path: Some("/tmp/last".into()), ..Default::default() };
        let (first, mount) = termination_message_mount(&ctx, &pod, &container).expect("a file");
        let (second, _) = termination_message_mount(&ctx, &pod, &container).expect("a file");
        assert_ne!(first, second);
        assert_eq!(mount.container_path, "/tmp/last");
        assert_eq!(fs::metadata(&first).expect("metadata").permissions().mode() & 0o777, 0o666);
    }
}
