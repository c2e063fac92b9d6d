//! Rewrites kubeadm.k8s.io/v1beta3 documents as v1beta4: flag maps become lists, timeouts move to `timeouts`. Documents that
//! are of today pass through. The result is checked as strictly as any other text.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::documents::{Documents, KUBEADM_API, Kind, load};
use super::emit::to_multi_yaml;
use super::error::{ConfigError, Place, Problem};
use super::split::{self, Part};
use crate::yaml;

const OLD_API: &str = "kubeadm.k8s.io/v1beta3";

/// The whole text in v1beta4, in kubeadm's order of documents.
pub fn to_v1beta4(text: &str) -> Result<String, ConfigError> {
    let mut documents = Documents::default();
    let mut control_plane_timeout = None;
    for part in split::documents(text) {
        let value: Value = yaml::from_str(&part.padded).map_err(|e| super::documents::malformed(&e))?;
        if value["apiVersion"] == OLD_API {
            migrate(&part, value, &mut documents, &mut control_plane_timeout)?;
        } else {
            take(&mut documents, load(&part.padded)?, &part)?;
        }
    }
    if let Some(timeout) = control_plane_timeout {
        let init = documents.init.get_or_insert_default();
        init.timeouts.control_plane_component_health_check.get_or_insert(timeout);
    }
    let values = documents.to_values().map_err(|e| error(e.to_string(), None))?;
    to_multi_yaml(&values).map_err(|e| error(e.to_string(), None))
}

fn migrate(
    part: &Part,
    mut value: Value,
    documents: &mut Documents,
    control_plane_timeout: &mut Option<crate::duration::GoDuration>,
) -> Result<(), ConfigError> {
    let place = Some(Place { line: part.first_line, column: 1 });
    let kind = value["kind"].as_str().unwrap_or_default().to_owned();
    value["apiVersion"] = KUBEADM_API.into();
    let mut one = Documents::default();
    match kind.as_str() {
        "ClusterConfiguration" => {
            for path in [&["apiServer"][..], &["controllerManager"], &["scheduler"], &["etcd", "local"]] {
                list_flags(&mut value, path, "extraArgs");
            }
            if let Some(timeout) = remove(&mut value, &["apiServer"], "timeoutForControlPlane") {
                *control_plane_timeout = Some(typed(timeout, place)?);
            }
            one.cluster = Some(typed(value, place)?);
        }
        "InitConfiguration" => {
            list_flags(&mut value, &["nodeRegistration"], "kubeletExtraArgs");
            one.init = Some(typed(value, place)?);
        }
        "JoinConfiguration" => {
            list_flags(&mut value, &["nodeRegistration"], "kubeletExtraArgs");
            if let Some(timeout) = remove(&mut value, &["discovery"], "timeout") {
                value["timeouts"]["discovery"] = timeout;
            }
            one.join = Some(typed(value, place)?);
        }
        _ => {
            let problem = Problem::UnknownKind { api_version: OLD_API.into(), kind };
            return Err(ConfigError::new(problem, place));
        }
    }
    take(documents, one, part)
}

/// `{v: "4"}` becomes `[{name: v, value: "4"}]`, by name.
fn list_flags(value: &mut Value, path: &[&str], field: &str) {
    let Some(parent) = object(value, path) else { return };
    if let Some(Value::Object(flags)) = parent.get(field) {
        let mut flags: Vec<(&String, &Value)> = flags.iter().collect();
        flags.sort_by_key(|(name, _)| *name);
        let list = flags.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        parent.insert(field.to_owned(), Value::Array(list));
    }
}

fn remove(value: &mut Value, path: &[&str], field: &str) -> Option<Value> {
    object(value, path)?.remove(field).filter(|value| !value.is_null())
}

fn object<'a>(value: &'a mut Value, path: &[&str]) -> Option<&'a mut Map<String, Value>> {
    path.iter().try_fold(value, |value, key| value.get_mut(*key))?.as_object_mut()
}

fn typed<T: DeserializeOwned>(value: Value, place: Option<Place>) -> Result<T, ConfigError> {
    serde_json::from_value(value).map_err(|e| error(e.to_string(), place))
}

fn error(text: String, place: Option<Place>) -> ConfigError {
    ConfigError::new(Problem::Malformed(text), place)
}

/// Moves what `from` holds into `into`; a kind that is there already is refused.
fn take(into: &mut Documents, from: Documents, part: &Part) -> Result<(), ConfigError> {
    fn slot<T>(into: &mut Option<T>, from: Option<T>, kind: Kind, part: &Part) -> Result<(), ConfigError> {
        if from.is_some() {
            if into.is_some() {
                return Err(ConfigError::new(Problem::Twice(kind), Some(Place { line: part.first_line, column: 1 })));
            }
            *into = from;
        }
        Ok(())
    }
    slot(&mut into.init, from.init, Kind::InitConfiguration, part)?;
    slot(&mut into.cluster, from.cluster, Kind::ClusterConfiguration, part)?;
    slot(&mut into.join, from.join, Kind::JoinConfiguration, part)?;
    slot(&mut into.reset, from.reset, Kind::ResetConfiguration, part)?;
    slot(&mut into.upgrade, from.upgrade, Kind::UpgradeConfiguration, part)?;
    slot(&mut into.kubelet, from.kubelet, Kind::KubeletConfiguration, part)?;
    slot(&mut into.kube_proxy, from.kube_proxy, Kind::KubeProxyConfiguration, part)?;
    slot(&mut into.fleet, from.fleet, Kind::Cluster, part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_lists_and_timeouts_move() {
        let old = "apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\napiServer:\n  timeoutForControlPlane: 8m0s\n  \
                   extraArgs: {v: '4', audit-log-path: /x}\nscheduler: {extraArgs: {v: '2'}}\n---\n\
                   apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 7\n";
        let new = to_v1beta4(old).expect("migrates");
        let documents = load(&new).expect("strictly valid");
        let cluster = documents.cluster.expect("there");
        let names: Vec<&str> = cluster.api_server.extra_args.iter().map(|arg| arg.name.as_str()).collect();
        assert_eq!(names, ["audit-log-path", "v"]);
        assert_eq!(cluster.scheduler.extra_args[0].value, "2");
        let init = documents.init.expect("made for the timeout");
        assert_eq!(init.timeouts.control_plane_component_health_check().as_secs(), 480);
        assert_eq!(documents.kubelet.expect("passes").0["maxPods"], 7);
    }

    #[test]
    fn a_join_keeps_its_discovery_timeout() {
        let old = "apiVersion: kubeadm.k8s.io/v1beta3\nkind: JoinConfiguration\ndiscovery: {timeout: 2m0s, file: {kubeConfigPath: /x}}\n\
                   nodeRegistration: {kubeletExtraArgs: {v: '4'}}\n";
        let join = load(&to_v1beta4(old).expect("migrates")).expect("valid").join.expect("there");
        assert_eq!(join.timeouts.discovery().as_secs(), 120);
        assert_eq!(join.node_registration.kubelet_extra_args[0].name, "v");
    }

    #[test]
    fn what_is_not_known_is_refused_with_its_line() {
        let refused = to_v1beta4("\n\napiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\nbanana: 1\n")
            .expect_err("unknown");
        assert_eq!(refused.place.map(|p| p.line), Some(3));
        assert!(refused.to_string().contains("banana"));
        assert!(to_v1beta4("apiVersion: kubeadm.k8s.io/v1beta3\nkind: Banana\n").is_err());
    }
}
