//! `UpgradeConfiguration`: options of the `upgrade` commands.

use super::common::{Patches, Timeouts};
use super::macros::{document, top_level};

top_level! {
    /// Source: kubeadm.k8s.io/v1beta4 `UpgradeConfiguration`.
    pub struct UpgradeConfiguration {
        timeouts: Timeouts,
    }
    always {
        apply: UpgradeApply,
        diff: UpgradeDiff,
        node: UpgradeNode,
        plan: UpgradePlan,
    }
}

document! {
    pub struct UpgradeApply {
        kubernetes_version: String,
        allow_experimental_upgrades: Option<bool>,
        #[serde(rename = "allowRCUpgrades")]
        allow_rc_upgrades: Option<bool>,
        certificate_renewal: Option<bool>,
        dry_run: Option<bool>,
        etcd_upgrade: Option<bool>,
        force_upgrade: Option<bool>,
        ignore_preflight_errors: Vec<String>,
        patches: Option<Patches>,
        print_config: Option<bool>,
        skip_phases: Vec<String>,
        image_pull_policy: String,
        image_pull_serial: Option<bool>,
    }
}

document! {
    pub struct UpgradeDiff {
        kubernetes_version: String,
        context_lines: u32,
    }
}

document! {
    pub struct UpgradeNode {
        certificate_renewal: Option<bool>,
        dry_run: Option<bool>,
        etcd_upgrade: Option<bool>,
        ignore_preflight_errors: Vec<String>,
        skip_phases: Vec<String>,
        patches: Option<Patches>,
        image_pull_policy: String,
        image_pull_serial: Option<bool>,
    }
}

document! {
    pub struct UpgradePlan {
        kubernetes_version: String,
        allow_experimental_upgrades: Option<bool>,
        #[serde(rename = "allowRCUpgrades")]
        allow_rc_upgrades: Option<bool>,
        dry_run: Option<bool>,
        etcd_upgrade: Option<bool>,
        ignore_preflight_errors: Vec<String>,
        print_config: Option<bool>,
    }
}
