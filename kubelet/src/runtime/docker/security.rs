//! Isolation settings of app containers in the engine's words.

use bollard::models::HostConfig;

use super::capability::Bounding;
use crate::runtime::{ContainerConfig, Seccomp};

/// Fills in privileges, capabilities, security options and protected paths. `real_privileged` is false where the
/// engine cannot start privileged containers (20.10 without a full bounding set: `unable to apply caps`); there they
/// get everything that can be had without that flag, except the host's device nodes.
pub(super) fn apply(host: &mut HostConfig, config: &ContainerConfig, bounding: Bounding, real_privileged: bool) {
    let mut options = Vec::new();
    if config.no_new_privileges {
        options.push("no-new-privileges".to_owned());
    }
    if config.privileged && real_privileged {
        host.privileged = Some(true);
        host.security_opt = Some(options);
        return;
    }
    let mut add: Vec<String> = config.capabilities_add.iter().map(|name| bare(name)).collect();
    let mut drop: Vec<String> = config.capabilities_drop.iter().map(|name| bare(name)).collect();
    if config.privileged {
        add = vec!["ALL".to_owned()];
        drop.clear();
        host.device_cgroup_rules = Some(vec!["a *:* rwm".to_owned()]);
        options.extend(["seccomp=unconfined", "apparmor=unconfined", "label=disable"].map(str::to_owned));
    } else {
        options.extend(seccomp(&config.seccomp));
        options.extend(config.apparmor.as_deref().and_then(apparmor));
    }
    if add.iter().any(|name| name == "ALL") {
        drop.extend(bounding.missing());
    }
    if config.privileged || config.unmasked_proc {
        host.masked_paths = Some(Vec::new());
        host.readonly_paths = Some(Vec::new());
    }
    host.cap_add = Some(add).filter(|list| !list.is_empty());
    host.cap_drop = Some(drop).filter(|list| !list.is_empty());
    host.security_opt = Some(options).filter(|list| !list.is_empty());
}

/// Without an option the engine applies its built-in profile, which is what `RuntimeDefault` means.
fn seccomp(profile: &Seccomp) -> Option<String> {
    match profile {
        Seccomp::Unconfined => Some("seccomp=unconfined".to_owned()),
        Seccomp::RuntimeDefault => None,
        Seccomp::Localhost(json) => Some(format!("seccomp={json}")),
    }
}

/// Accepts a profile name as well as the annotation's spelling `localhost/NAME`, `runtime/default`.
fn apparmor(profile: &str) -> Option<String> {
    match profile {
        "" | "runtime/default" => None,
        other => Some(format!("apparmor={}", other.strip_prefix("localhost/").unwrap_or(other))),
    }
}

fn bare(capability: &str) -> String {
    let upper = capability.to_ascii_uppercase();
    upper.strip_prefix("CAP_").map(str::to_owned).unwrap_or(upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(config: ContainerConfig, real: bool) -> HostConfig {
        let mut host = HostConfig::default();
        apply(&mut host, &config, Bounding::of_this_process(), real);
        host
    }

    #[test]
    fn an_unset_profile_is_unconfined_and_the_default_is_the_engines() {
        let options = applied(ContainerConfig::default(), true).security_opt;
        assert_eq!(options, Some(vec!["seccomp=unconfined".to_owned()]));
        let config = ContainerConfig { seccomp: Seccomp::RuntimeDefault, ..Default::default() };
        assert_eq!(applied(config, true).security_opt, None);
        let config = ContainerConfig {
            seccomp: Seccomp::Localhost("{}".into()),
            apparmor: Some("localhost/mine".into()),
            no_new_privileges: true,
            ..Default::default()
        };
        let options = applied(config, true).security_opt.expect("options");
        assert_eq!(options, ["no-new-privileges", "seccomp={}", "apparmor=mine"]);
    }

    #[test]
    fn privileged_where_the_engine_cannot() {
        let host = applied(ContainerConfig { privileged: true, ..Default::default() }, false);
        assert_eq!(host.privileged, None);
        assert_eq!(host.cap_add, Some(vec!["ALL".to_owned()]));
        assert_eq!(host.masked_paths, Some(Vec::new()));
        let host = applied(ContainerConfig { privileged: true, ..Default::default() }, true);
        assert_eq!(host.privileged, Some(true));
    }
}
