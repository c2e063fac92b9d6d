//! The node's conditions. Pure. Source of reasons and texts: upstream `pkg/kubelet/nodestatus/setters.go`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::NodeCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::eviction::Pressure;

/// What the conditions are made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Why no pod gets a network; `None` when it does.
    pub network: Option<String>,
    /// Why the container engine does not answer; `None` when it does.
    pub runtime: Option<String>,
    pub pressure: Pressure,
    /// The node goes down, and its pods with it.
    pub shutting_down: bool,
}

impl Health {
    /// All that keeps the node from being ready, `None` if nothing does.
    #[must_use]
    pub fn not_ready(&self) -> Option<String> {
        let runtime = self.runtime.as_ref().map(|cause| format!("container runtime is down: {cause}"));
        let network = self.network.as_ref().map(|cause| {
            format!(
                "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:docker: network plugin is not ready: {cause}"
            )
        });
        let shutdown = self.shutting_down.then(|| "node is shutting down".to_owned());
        let causes: Vec<String> = runtime.into_iter().chain(network).chain(shutdown).collect();
        match causes.len() {
            0 => None,
            1 => causes.into_iter().next(),
            _ => Some(format!("[{}]", causes.join(", "))),
        }
    }
}

/// All conditions, Ready last. A transition time is kept while its condition's status stays.
#[must_use]
pub fn conditions(health: &Health, old: &[NodeCondition], now: Timestamp) -> Vec<NodeCondition> {
    let not_ready = health.not_ready();
    let pressure = |type_: &str, present: bool, yes: (&str, &str), no: (&str, &str)| {
        let (reason, message) = if present { yes } else { no };
        (type_.to_owned(), present, reason.to_owned(), message.to_owned())
    };
    let list = [
        pressure(
            "MemoryPressure",
            health.pressure.memory,
            ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
            ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ),
        pressure(
            "DiskPressure",
            health.pressure.disk,
            ("KubeletHasDiskPressure", "kubelet has disk pressure"),
            ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ),
        pressure(
            "PIDPressure",
            health.pressure.pid,
            ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
            ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ),
        match not_ready {
            None => ("Ready".to_owned(), true, "KubeletReady".to_owned(), "kubelet is posting ready status".to_owned()),
            Some(message) => ("Ready".to_owned(), false, "KubeletNotReady".to_owned(), message),
        },
    ];
    list.into_iter()
        .map(|(type_, present, reason, message)| {
            let status = if present { "True" } else { "False" }.to_owned();
            let same = old.iter().find(|old| old.type_ == type_ && old.status == status);
            NodeCondition {
                last_heartbeat_time: Some(Time(now)),
                last_transition_time: same.and_then(|old| old.last_transition_time.clone()).or(Some(Time(now))),
                type_,
                status,
                reason: Some(reason),
                message: Some(message),
            }
        })
        .collect()
}

/// The event that tells a change of a condition.
#[must_use]
pub fn change_event(type_: &str, status: &str) -> Option<&'static str> {
    Some(match (type_, status) {
        ("Ready", "True") => "NodeReady",
        ("Ready", _) => "NodeNotReady",
        ("MemoryPressure", "True") => "NodeHasInsufficientMemory",
        ("MemoryPressure", _) => "NodeHasSufficientMemory",
        ("DiskPressure", "True") => "NodeHasDiskPressure",
        ("DiskPressure", _) => "NodeHasNoDiskPressure",
        ("PIDPressure", "True") => "NodeHasInsufficientPID",
        ("PIDPressure", _) => "NodeHasSufficientPID",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("valid")
    }

    #[test]
    fn ready_comes_last_and_names_the_network() {
        let health = Health { network: Some("cni config uninitialized".into()), ..Health::default() };
        let list = conditions(&health, &[], at(1));
        let ready = list.last().expect("conditions");
        assert_eq!((ready.type_.as_str(), ready.status.as_str()), ("Ready", "False"));
        let message = ready.message.as_deref().unwrap_or_default();
        assert!(
            message.starts_with("container runtime network not ready") && message.ends_with("cni config uninitialized"),
            "{message}"
        );
    }

    #[test]
    fn heartbeats_move_and_transitions_stay() {
        let first = conditions(&Health::default(), &[], at(1));
        let second = conditions(&Health::default(), &first, at(5));
        let ready = second.last().expect("conditions");
        assert_eq!(ready.last_transition_time, Some(Time(at(1))));
        assert_eq!(ready.last_heartbeat_time, Some(Time(at(5))));
        let third = conditions(&Health { runtime: Some("gone".into()), ..Health::default() }, &second, at(9));
        assert_eq!(third.last().and_then(|ready| ready.last_transition_time.clone()), Some(Time(at(9))));
    }

    #[test]
    fn a_node_that_goes_down_says_so() {
        let health = Health { shutting_down: true, ..Health::default() };
        assert_eq!(health.not_ready().as_deref(), Some("node is shutting down"));
    }

    #[test]
    fn several_causes_are_joined() {
        let health = Health { network: Some("a".into()), runtime: Some("b".into()), ..Health::default() };
        assert!(health.not_ready().is_some_and(|text| text.starts_with("[container runtime is down: b, ")));
    }
}
