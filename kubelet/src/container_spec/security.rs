//! The security context of a container: the container's own settings over the pod's.

use std::io;
use std::path::Path;

use k8s_openapi::api::core::v1::{
    AppArmorProfile, Container, Pod, PodSecurityContext, SeccompProfile, SecurityContext,
};

use super::context::{name, namespace};
use super::error::SpecError;
use crate::runtime::Seccomp;

/// What the engine needs, resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    pub user: Option<String>,
    pub supplemental_groups: Vec<i64>,
    pub privileged: bool,
    pub capabilities_add: Vec<String>,
    pub capabilities_drop: Vec<String>,
    pub read_only_root: bool,
    pub no_new_privileges: bool,
    pub seccomp: Seccomp,
    /// `None`: the engine's default profile.
    pub apparmor: Option<String>,
    pub unmasked_proc: bool,
}

/// Resolves the settings of `container`. `image_user` is the image's `USER`; `seccomp_root` is where Localhost profiles
/// are.
pub fn security(
    pod: &Pod,
    container: &Container,
    image_user: &str,
    seccomp_default: bool,
    seccomp_root: &Path,
) -> Result<Security, SpecError> {
    let empty_pod = PodSecurityContext::default();
    let empty_own = SecurityContext::default();
    let spec = pod.spec.as_ref().ok_or(SpecError::NoSpec)?;
    let common = spec.security_context.as_ref().unwrap_or(&empty_pod);
    let own = container.security_context.as_ref().unwrap_or(&empty_own);

    let user = own.run_as_user.or(common.run_as_user);
    let group = own.run_as_group.or(common.run_as_group);
    if own.run_as_non_root.or(common.run_as_non_root) == Some(true) {
        check_non_root(pod, container, user, image_user)?;
    }
    let privileged = own.privileged.unwrap_or(false);
    let capabilities = own.capabilities.clone().unwrap_or_default();
    Ok(Security {
        user: user_text(user, group, image_user),
        supplemental_groups: common
            .fs_group
            .into_iter()
            .chain(common.supplemental_groups.clone().unwrap_or_default())
            .collect(),
        privileged,
        capabilities_add: capabilities.add.unwrap_or_default(),
        capabilities_drop: capabilities.drop.unwrap_or_default(),
        read_only_root: own.read_only_root_filesystem.unwrap_or(false),
        no_new_privileges: own.allow_privilege_escalation == Some(false),
        seccomp: seccomp(
            own.seccomp_profile.as_ref().or(common.seccomp_profile.as_ref()),
            privileged,
            seccomp_default,
            seccomp_root,
        )?,
        apparmor: apparmor(own.app_armor_profile.as_ref().or(common.app_armor_profile.as_ref())),
        unmasked_proc: own.proc_mount.as_deref() == Some("Unmasked"),
    })
}

/// The user that a container will run as, if its manifest decides it.
#[must_use]
pub fn run_as_user(pod: &Pod, container: &Container) -> Option<i64> {
    let common = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    container
        .security_context
        .as_ref()
        .and_then(|own| own.run_as_user)
        .or_else(|| common.and_then(|common| common.run_as_user))
}

/// Refuses what may turn out to be root. The texts are upstream's, which tests and users know.
fn check_non_root(pod: &Pod, container: &Container, user: Option<i64>, image_user: &str) -> Result<(), SpecError> {
    let whose = format!(
        "(pod: {:?}, container: {})",
        format!("{}_{}({})", name(pod), namespace(pod), super::context::uid(pod)),
        container.name
    );
    if let Some(user) = user {
        if user == 0 {
            return Err(SpecError::NonRoot(format!("container's runAsUser breaks non-root policy {whose}")));
        }
        return Ok(());
    }
    let image_user = image_user.split(':').next().unwrap_or_default();
    match image_user.parse::<i64>() {
        Ok(0) => Err(SpecError::NonRoot(format!("container has runAsNonRoot and image will run as root {whose}"))),
        Ok(_) => Ok(()),
        Err(_) if image_user.is_empty() => {
            Err(SpecError::NonRoot(format!("container has runAsNonRoot and image will run as root {whose}")))
        }
        Err(_) => Err(SpecError::NonRoot(format!(
            "container has runAsNonRoot and image has non-numeric user ({image_user}), cannot verify user is non-root {whose}"
        ))),
    }
}

/// A group without a user goes with the image's own user.
fn user_text(user: Option<i64>, group: Option<i64>, image_user: &str) -> Option<String> {
    let image_name = image_user.split(':').next().filter(|name| !name.is_empty()).unwrap_or("0");
    match (user, group) {
        (Some(user), Some(group)) => Some(format!("{user}:{group}")),
        (Some(user), None) => Some(user.to_string()),
        (None, Some(group)) => Some(format!("{image_name}:{group}")),
        (None, None) => None,
    }
}

fn seccomp(
    profile: Option<&SeccompProfile>,
    privileged: bool,
    by_default: bool,
    root: &Path,
) -> Result<Seccomp, SpecError> {
    if privileged {
        return Ok(Seccomp::Unconfined);
    }
    let Some(profile) = profile else {
        return Ok(if by_default { Seccomp::RuntimeDefault } else { Seccomp::Unconfined });
    };
    match profile.type_.as_str() {
        "RuntimeDefault" => Ok(Seccomp::RuntimeDefault),
        "Localhost" => {
            let relative = profile.localhost_profile.as_deref().unwrap_or_default();
            let path = root.join(relative);
            let outside = Path::new(relative).components().any(|c| !matches!(c, std::path::Component::Normal(_)));
            let text = if outside || relative.is_empty() {
                Err(io::Error::new(io::ErrorKind::InvalidInput, "not a path inside the seccomp directory"))
            } else {
                std::fs::read_to_string(&path)
            };
            text.map(Seccomp::Localhost).map_err(|source| SpecError::SeccompProfile { path, source })
        }
        _ => Ok(Seccomp::Unconfined),
    }
}

fn apparmor(profile: Option<&AppArmorProfile>) -> Option<String> {
    let profile = profile?;
    match profile.type_.as_str() {
        "Unconfined" => Some("unconfined".to_owned()),
        "Localhost" => profile.localhost_profile.clone(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pod_context: serde_json::Value, own: serde_json::Value, image_user: &str) -> Result<Security, SpecError> {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {"securityContext": pod_context, "containers": [{"name": "c", "securityContext": own}]}
        }))
        .expect("a pod");
        let container = &pod.spec.as_ref().expect("spec").containers[0];
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("p.json"), "{}").expect("a profile");
        security(&pod, container, image_user, false, dir.path())
    }

    #[test]
    fn decides_the_user() {
        for (common, own, image, expected) in [
            ("{}", "{}", "app", None),
            (r#"{"runAsUser":1}"#, "{}", "app", Some("1")),
            (r#"{"runAsUser":1,"runAsGroup":2}"#, r#"{"runAsUser":3}"#, "", Some("3:2")),
            ("{}", r#"{"runAsGroup":2}"#, "app:app", Some("app:2")),
            ("{}", r#"{"runAsGroup":2}"#, "", Some("0:2")),
        ] {
            let json = |text: &str| serde_json::from_str(text).expect("json");
            let result = run(json(common), json(own), image).expect("allowed");
            assert_eq!(result.user.as_deref(), expected, "{common} {own} {image}");
        }
    }

    #[test]
    fn checks_non_root() {
        for (common, own, image, allowed) in [
            (r#"{"runAsNonRoot":true}"#, "{}", "", false),
            (r#"{"runAsNonRoot":true}"#, "{}", "0", false),
            (r#"{"runAsNonRoot":true}"#, "{}", "nobody", false),
            (r#"{"runAsNonRoot":true}"#, "{}", "65534:65534", true),
            (r#"{"runAsNonRoot":true}"#, r#"{"runAsUser":0}"#, "1", false),
            (r#"{"runAsNonRoot":true}"#, r#"{"runAsUser":5}"#, "root", true),
            (r#"{"runAsNonRoot":true}"#, r#"{"runAsNonRoot":false}"#, "", true),
        ] {
            let json = |text: &str| serde_json::from_str(text).expect("json");
            assert_eq!(run(json(common), json(own), image).is_ok(), allowed, "{common} {own} {image}");
        }
        let error = run(serde_json::json!({"runAsNonRoot": true}), serde_json::json!({}), "").expect_err("root");
        assert_eq!(
            error.to_string(),
            "container has runAsNonRoot and image will run as root (pod: \"p_n(u)\", container: c)"
        );
    }

    #[test]
    fn resolves_everything_else() {
        let result = run(
            serde_json::json!({"fsGroup": 7, "supplementalGroups": [8], "seccompProfile": {"type": "RuntimeDefault"}}),
            serde_json::json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "procMount": "Unmasked",
                "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}, "appArmorProfile": {"type": "Unconfined"}}),
            "",
        )
        .expect("allowed");
        assert_eq!(result.supplemental_groups, [7, 8]);
        assert!(result.no_new_privileges && result.read_only_root && result.unmasked_proc);
        assert_eq!((result.capabilities_add, result.capabilities_drop), (vec!["NET_ADMIN".into()], vec!["ALL".into()]));
        assert_eq!(result.seccomp, Seccomp::RuntimeDefault);
        assert_eq!(result.apparmor.as_deref(), Some("unconfined"));
    }

    #[test]
    fn chooses_seccomp() {
        let local = |path: &str| serde_json::json!({"seccompProfile": {"type": "Localhost", "localhostProfile": path}});
        let own = || serde_json::json!({});
        assert_eq!(run(own(), own(), "").expect("allowed").seccomp, Seccomp::Unconfined);
        assert_eq!(run(own(), local("p.json"), "").expect("allowed").seccomp, Seccomp::Localhost("{}".into()));
        assert!(run(own(), local("../p.json"), "").is_err());
        assert!(run(own(), local("none.json"), "").is_err());
        let privileged = serde_json::json!({"privileged": true});
        let runtime = serde_json::json!({"seccompProfile": {"type": "RuntimeDefault"}});
        assert_eq!(run(runtime, privileged, "").expect("allowed").seccomp, Seccomp::Unconfined);
    }
}
