//! Files of the kubelet on one host: configuration, environment file, systemd unit.

use junio_api::Layout;
use junio_api::config::{Arg, Taint};
use serde::Serialize;
use serde_json::Value;

use crate::component_config;
use crate::engine::{Template, render};
use crate::error::TemplateError;

/// The text of `/var/lib/kubelet/config.yaml`: what all kubelets share, with this host's own settings laid over it
/// (`containerRuntimeEndpoint`, `failCgroupV1`, `resolvConf`, ...). Both are mappings.
pub fn config(shared: &Value, of_this_host: &Value) -> Result<String, TemplateError> {
    let mut merged = shared.clone();
    let not_a_mapping = TemplateError::NotAMapping { kind: "KubeletConfiguration" };
    let (Some(target), Some(own)) = (merged.as_object_mut(), of_this_host.as_object()) else {
        return Err(not_a_mapping);
    };
    for (key, value) in own {
        target.insert(key.clone(), value.clone());
    }
    Ok(component_config::text(&merged)?)
}

#[derive(Serialize)]
struct InstanceConfig<'a> {
    endpoint: &'a str,
}

impl Template for InstanceConfig<'_> {
    const NAME: &'static str = "kubelet_instance_config.yaml";
}

/// The text of `/var/lib/kubelet/instance-config.yaml`; `endpoint` is the container engine's socket, `unix:///PATH`.
pub fn instance_config(endpoint: &str) -> Result<String, TemplateError> {
    render(&InstanceConfig { endpoint })
}

/// What ends up on the kubelet's command line.
#[derive(Debug, Clone, Default)]
pub struct KubeletFlags<'a> {
    /// Only when it differs from the host name.
    pub hostname_override: Option<&'a str>,
    /// Taints of a worker; the control plane's own are set by patching the node.
    pub register_with_taints: &'a [Taint],
    pub extra_args: &'a [Arg],
}

/// The text of `/var/lib/kubelet/kubeadm-flags.env`: one variable, one line, quoted as Go and systemd read it.
#[must_use]
pub fn flags_env(flags: &KubeletFlags<'_>) -> String {
    let mut defaults = Vec::new();
    if let Some(name) = flags.hostname_override {
        defaults.push(("hostname-override", name.to_owned()));
    }
    if !flags.register_with_taints.is_empty() {
        let taints: Vec<_> =
            flags.register_with_taints.iter().map(|t| format!("{}={}:{}", t.key, t.value, t.effect)).collect();
        defaults.push(("register-with-taints", taints.join(",")));
    }
    let line = crate::flags::command_line("", defaults, flags.extra_args)[1..].join(" ");
    let quoted = Value::String(line).to_string();
    format!("KUBELET_KUBEADM_ARGS={quoted}\n")
}

#[derive(Serialize)]
struct Unit {
    kubelet: String,
    config: String,
    kubeconfig: String,
    bootstrap_kubeconfig: String,
    flags_env: String,
}

impl Template for Unit {
    const NAME: &'static str = "junio-kubelet.service";
}

/// The text of the systemd unit `junio-kubelet.service`.
pub fn unit(layout: &Layout) -> Result<String, TemplateError> {
    let text = |path: std::path::PathBuf| path.display().to_string();
    render(&Unit {
        kubelet: text(layout.kubelet_bin()),
        config: text(layout.kubelet_config()),
        kubeconfig: text(layout.kubelet_conf()),
        bootstrap_kubeconfig: text(layout.bootstrap_kubelet_conf()),
        flags_env: text(layout.kubelet_flags_env()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_one_quoted_line() {
        assert_eq!(flags_env(&KubeletFlags::default()), "KUBELET_KUBEADM_ARGS=\"\"\n");
        let taints = [Taint { key: "a".to_owned(), value: String::new(), effect: "NoSchedule".to_owned() }];
        let extra = [Arg::new("v", "2"), Arg::new("x", "say \"hi\"")];
        let flags = KubeletFlags { hostname_override: Some("n1"), register_with_taints: &taints, extra_args: &extra };
        assert_eq!(
            flags_env(&flags),
            "KUBELET_KUBEADM_ARGS=\"--hostname-override=n1 --register-with-taints=a=:NoSchedule --v=2 --x=say \\\"hi\\\"\"\n"
        );
    }

    #[test]
    fn the_unit_starts_our_kubelet_and_leaves_containers_alone() {
        let text = unit(&Layout::default()).expect("renders");
        for line in [
            "Type=notify",
            "KillMode=process",
            "Restart=always",
            "EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env",
            "WantedBy=multi-user.target",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
        assert!(text.contains("/usr/local/bin/junio-kubelet --config /var/lib/kubelet/config.yaml "), "{text}");
    }

    #[test]
    fn the_hosts_settings_win() {
        let shared = serde_json::json!({"kind": "KubeletConfiguration", "containerRuntimeEndpoint": "", "a": 1});
        let text = config(&shared, &serde_json::json!({"containerRuntimeEndpoint": "unix:///run/docker.sock"}))
            .expect("merges");
        assert_eq!(text, "a: 1\ncontainerRuntimeEndpoint: unix:///run/docker.sock\nkind: KubeletConfiguration\n");
        assert!(config(&shared, &Value::Null).is_err());
    }
}
