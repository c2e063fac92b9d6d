//! Mounts, refreshes and removes the volumes of pods.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Pod, Volume};

use super::atomic_writer::{Payload, write_atomically};
use super::cleanup::remove_pod_dir;
use super::downward::downward_payload;
use super::empty_dir::{make_empty_dir, make_volume_dir};
use super::error::VolumeError;
use super::host_path::check_host_path;
use super::image::{image_volume_dir, is_image_mounted};
use super::ownership::{FsGroup, give_to_group};
use super::payload::{DEFAULT_MODE, config_map_keys, mode_of, optional, project, secret_keys};
use super::projected::projected_payload;
use super::tmpfs::mount_tmpfs;
use crate::container_spec::{SpecContext, all_containers, blocking, is_static, namespace, uid};

/// Host paths by volume name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodVolumes {
    pub volumes: BTreeMap<String, PathBuf>,
}

/// Holds nothing but the context: the state is on disk and in the mount table.
pub struct VolumeManager {
    ctx: Arc<SpecContext>,
}

impl VolumeManager {
    #[must_use]
    pub fn new(ctx: Arc<SpecContext>) -> Self {
        Self { ctx }
    }

    /// Makes every volume that some container mounts, and brings the content of config maps, secrets, tokens and
    /// downward API files up to date. Call it at each sync of the pod.
    pub async fn mount_pod(&self, pod: &Arc<Pod>) -> Result<PodVolumes, VolumeError> {
        if !is_static(pod) {
            self.ctx.objects.register(pod);
        }
        let dir = self.ctx.pod_dir(checked_uid(uid(pod))?);
        blocking(move || make_pod_dir(&dir)).await?;
        let used = used_volumes(pod);
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let mounts =
            volumes.filter(|volume| used.contains(volume.name.as_str())).map(|volume| self.mount_volume(pod, volume));
        Ok(PodVolumes { volumes: try_join_all(mounts).await?.into_iter().collect() })
    }

    /// Removes the pod's directory with all its volumes, and forgets its objects and tokens. All containers must be
    /// gone. Succeeds if there is nothing.
    pub async fn unmount_pod(&self, uid: &str) -> Result<(), VolumeError> {
        let dir = self.ctx.pod_dir(checked_uid(uid)?);
        blocking(move || remove_pod_dir(&dir)).await?;
        self.ctx.objects.release(uid);
        self.ctx.tokens.release(uid);
        Ok(())
    }

    /// Removes the directories of all pods that are not `live`: left by an earlier run of the kubelet. Returns the UIDs
    /// that were removed; the first failure is returned after all were tried.
    pub async fn orphans(&self, live: &HashSet<String>) -> Result<Vec<String>, VolumeError> {
        let pods = self.ctx.root.join("pods");
        let entries = match fs::read_dir(&pods) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(VolumeError::io("read", pods)(error)),
        };
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let orphans: Vec<String> = names.filter(|name| !live.contains(name)).collect();
        let mut removed = Vec::new();
        let mut failure = None;
        for uid in orphans {
            match self.unmount_pod(&uid).await {
                Ok(()) => removed.push(uid),
                Err(error) => {
                    tracing::warn!(pod_uid = uid, error = %error, "directory of an unknown pod stays");
                    failure.get_or_insert(error);
                }
            }
        }
        failure.map_or(Ok(removed), Err)
    }

    async fn mount_volume(&self, pod: &Arc<Pod>, volume: &Volume) -> Result<(String, PathBuf), VolumeError> {
        let name = volume.name.clone();
        if let Some(source) = volume.host_path.clone() {
            return Ok((name, blocking(move || check_host_path(&source)).await?));
        }
        if let Some(source) = volume.empty_dir.clone() {
            let (dir, pod, memory) =
                (self.dir(pod, "empty-dir", &name), Arc::clone(pod), self.ctx.node.allocatable.memory.value());
            let path = dir.clone();
            blocking(move || make_empty_dir(&dir, &source, &pod, memory)).await?;
            return Ok((name, path));
        }
        if volume.image.is_some() {
            // mounted when the pod started, because only then images are pulled
            let dir = image_volume_dir(&self.ctx.pod_dir(uid(pod)), &name);
            let path = dir.clone();
            return match blocking(move || is_image_mounted(&dir)).await? {
                true => Ok((name, path)),
                false => Err(VolumeError::ImageNotMounted { name }),
            };
        }
        let (plugin, payload) = self.content(pod, volume).await?;
        let dir = self.dir(pod, plugin.directory, &name);
        let (path, group) = (dir.clone(), FsGroup::of(pod));
        blocking(move || write_volume(&dir, &payload, group, plugin.in_memory)).await?;
        Ok((name, path))
    }

    /// The files of a volume that is filled from the API or from the pod itself.
    async fn content(&self, pod: &Pod, volume: &Volume) -> Result<(Plugin, Payload), VolumeError> {
        let (ctx, namespace) = (&self.ctx, namespace(pod));
        let kind = kind_of(volume);
        let uses_api = volume.config_map.is_some() || volume.secret.is_some() || volume.projected.is_some();
        if is_static(pod) && uses_api {
            return Err(VolumeError::StaticPod { name: volume.name.clone(), kind });
        }
        if let Some(source) = &volume.config_map {
            let map = optional(ctx.objects.config_map(namespace, &source.name).await, source.optional)?;
            let keys = map.map(|map| config_map_keys(&map)).unwrap_or_default();
            let mode = mode_of(source.default_mode, DEFAULT_MODE);
            let payload = project(keys, source.items.as_deref(), mode, source.optional == Some(true), "config")?;
            return Ok((Plugin { directory: "configmap", in_memory: false }, payload));
        }
        if let Some(source) = &volume.secret {
            let name = source.secret_name.as_deref().unwrap_or_default();
            let secret = optional(ctx.objects.secret(namespace, name).await, source.optional)?;
            let keys = secret.map(|secret| secret_keys(&secret)).unwrap_or_default();
            let mode = mode_of(source.default_mode, DEFAULT_MODE);
            let payload = project(keys, source.items.as_deref(), mode, source.optional == Some(true), "secret")?;
            return Ok((Plugin { directory: "secret", in_memory: true }, payload));
        }
        if let Some(source) = &volume.projected {
            let payload = projected_payload(ctx, pod, &volume.name, source).await?;
            return Ok((Plugin { directory: "projected", in_memory: true }, payload));
        }
        if let Some(source) = &volume.downward_api {
            let mode = mode_of(source.default_mode, DEFAULT_MODE);
            let payload = downward_payload(source.items.as_deref().unwrap_or_default(), pod, &ctx.node, mode)?;
            return Ok((Plugin { directory: "downward-api", in_memory: true }, payload));
        }
        Err(VolumeError::Unsupported { name: volume.name.clone(), kind })
    }

    fn dir(&self, pod: &Pod, plugin: &str, name: &str) -> PathBuf {
        self.ctx.pod_dir(uid(pod)).join("volumes").join(format!("kubernetes.io~{plugin}")).join(name)
    }
}

#[derive(Debug, Clone, Copy)]
struct Plugin {
    directory: &'static str,
    /// Nothing of it may reach a disk.
    in_memory: bool,
}

/// Whether containers get the volume read-only, whatever their mount says.
#[must_use]
pub fn is_read_only_volume(pod: &Pod, name: &str) -> bool {
    pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()).any(|volume| {
        let generated = volume.config_map.is_some()
            || volume.secret.is_some()
            || volume.projected.is_some()
            || volume.downward_api.is_some();
        volume.name == name && generated
    })
}

fn write_volume(dir: &Path, payload: &Payload, group: Option<FsGroup>, in_memory: bool) -> Result<(), VolumeError> {
    make_volume_dir(dir)?;
    if in_memory {
        mount_tmpfs(dir, None)?;
    }
    let always = group.map(|group| FsGroup { only_on_mismatch: false, ..group });
    write_atomically(dir, payload, || always.map_or(Ok(()), |group| give_to_group(dir, group, true))).map(drop)
}

fn make_pod_dir(dir: &Path) -> Result<(), VolumeError> {
    fs::create_dir_all(dir.join("volumes")).map_err(VolumeError::io("create", dir))
}

fn used_volumes(pod: &Pod) -> HashSet<String> {
    all_containers(pod)
        .flat_map(|container| container.container().volume_mounts.clone().unwrap_or_default())
        .map(|mount| mount.name)
        .collect()
}

/// A UID becomes a path component, so it must be one.
fn checked_uid(uid: &str) -> Result<&str, VolumeError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let bad = uid.is_empty() || uid.starts_with('.') || !uid.chars().all(plain);
    if bad { Err(VolumeError::Uid(uid.to_owned())) } else { Ok(uid) }
}

fn kind_of(volume: &Volume) -> &'static str {
    let kinds: [(bool, &'static str); 8] = [
        (volume.config_map.is_some(), "configMap"),
        (volume.secret.is_some(), "secret"),
        (volume.projected.is_some(), "projected"),
        (volume.persistent_volume_claim.is_some(), "persistentVolumeClaim"),
        (volume.csi.is_some(), "csi"),
        (volume.ephemeral.is_some(), "ephemeral"),
        (volume.nfs.is_some(), "nfs"),
        (volume.iscsi.is_some(), "iscsi"),
    ];
    kinds.into_iter().find(|(is, _)| *is).map_or("such", |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::container_spec::tests_support::context;

    fn pod(volumes: serde_json::Value, mounts: &[&str]) -> Arc<Pod> {
        let mounts: Vec<_> =
            mounts.iter().map(|name| serde_json::json!({"name": name, "mountPath": format!("/{name}")})).collect();
        Arc::new(
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": "p", "namespace": "n", "uid": "u-1", "labels": {"a": "b"}},
                "spec": {"securityContext": {"fsGroup": 1234}, "volumes": volumes,
                         "containers": [{"name": "c", "volumeMounts": mounts}]}
            }))
            .expect("a pod"),
        )
    }

    /// Needs the right to mount and to chown, as the kubelet has.
    #[tokio::test]
    async fn mounts_refreshes_and_removes() {
        let (_dir, ctx) = context();
        let manager = VolumeManager::new(Arc::clone(&ctx));
        let pod = pod(
            serde_json::json!([{"name": "scratch", "emptyDir": {}}, {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
                {"name": "down", "downwardAPI": {"defaultMode": 0o400, "items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                {"name": "unused", "persistentVolumeClaim": {"claimName": "x"}}]),
            &["scratch", "memory", "down"],
        );
        let volumes = manager.mount_pod(&pod).await.expect("mounted").volumes;
        assert_eq!(volumes.len(), 3);
        let labels = volumes["down"].join("labels");
        assert_eq!(fs::read_to_string(&labels).expect("a file"), "a=\"b\"");
        let metadata = fs::metadata(&labels).expect("metadata");
        assert_eq!((metadata.mode() & 0o7777, metadata.gid()), (0o440, 1234));
        let metadata = fs::metadata(&volumes["scratch"]).expect("metadata");
        assert_eq!((metadata.mode() & 0o7777, metadata.gid()), (0o2777, 1234));
        assert_ne!(fs::metadata(&volumes["memory"]).expect("metadata").dev(), metadata.dev());

        let mut changed = (*pod).clone();
        changed.metadata.labels = Some([("a".to_owned(), "c".to_owned())].into());
        manager.mount_pod(&Arc::new(changed)).await.expect("mounted again");
        assert_eq!(fs::read_to_string(&labels).expect("a file"), "a=\"c\"");

        assert!(manager.orphans(&HashSet::from(["u-1".to_owned()])).await.expect("none").is_empty());
        assert!(labels.exists());
        assert_eq!(manager.orphans(&HashSet::new()).await.expect("one"), ["u-1"]);
        assert!(!ctx.pod_dir("u-1").exists());
        manager.unmount_pod("u-1").await.expect("nothing to do");
    }

    #[tokio::test]
    async fn says_what_it_cannot_do() {
        let (_dir, ctx) = context();
        let manager = VolumeManager::new(ctx);
        let claim = pod(serde_json::json!([{"name": "v", "persistentVolumeClaim": {"claimName": "x"}}]), &["v"]);
        let error = manager.mount_pod(&claim).await.expect_err("unsupported");
        assert_eq!(error.to_string(), "volume \"v\": persistentVolumeClaim volumes are not supported by this kubelet");
        let mut of_file = (*pod(serde_json::json!([{"name": "v", "secret": {"secretName": "x"}}]), &["v"])).clone();
        of_file.metadata.annotations = Some([("kubernetes.io/config.source".to_owned(), "file".to_owned())].into());
        assert!(matches!(manager.mount_pod(&Arc::new(of_file)).await, Err(VolumeError::StaticPod { .. })));
        assert!(matches!(manager.unmount_pod("../etc").await, Err(VolumeError::Uid(_))));
    }
}
