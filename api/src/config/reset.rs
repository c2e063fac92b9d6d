//! `ResetConfiguration`: how a host is cleaned.

use super::common::Timeouts;
use super::macros::top_level;

top_level! {
    /// Source: kubeadm.k8s.io/v1beta4 `ResetConfiguration`.
    pub struct ResetConfiguration {
        cleanup_tmp_dir: bool,
        certificates_dir: String,
        cri_socket: String,
        dry_run: bool,
        force: bool,
        ignore_preflight_errors: Vec<String>,
        skip_phases: Vec<String>,
        /// `MNT_FORCE`, `MNT_DETACH`, `MNT_EXPIRE`, `UMOUNT_NOFOLLOW`.
        unmount_flags: Vec<String>,
        timeouts: Timeouts,
    }
}
