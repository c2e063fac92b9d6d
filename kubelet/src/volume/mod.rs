//! The volumes of pods: made before the containers, refreshed at each sync, removed with the pod. All state is below
//! `pods/UID/` of the kubelet's directory.

mod atomic_writer;
mod cleanup;
mod downward;
mod empty_dir;
mod error;
mod host_path;
mod image;
mod manager;
mod mount_table;
mod ownership;
mod payload;
mod projected;
mod subpath;
mod tmpfs;

pub use atomic_writer::{FileProjection, Payload, write_atomically};
pub use error::VolumeError;
pub use image::{image_volume_dir, images_in_volumes, is_image_mounted, mount_image};
pub use manager::{PodVolumes, VolumeManager, is_read_only_volume};
pub use mount_table::{MountEntry, mount_table, mount_table_of, mounts_below};
pub use subpath::{SubpathError, SubpathRequest, prepare_subpath};
