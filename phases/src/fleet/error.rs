//! What goes wrong with a host that is driven from here, and what of it goes into the table of all hosts.

use std::error::Error;
use std::path::PathBuf;

use junio_api::Code;
use junio_api::hint::{Hint, NextStep};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A failure of ours about a host, or about the way to the cluster.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    #[error("the host is a {found} machine; this junioadm and its bundle are for {ours}")]
    Architecture { found: String, ours: &'static str },
    #[error("{host} is the same machine as {other}: both have the machine id {machine_id}")]
    SameMachine { host: String, other: String, machine_id: String },
    #[error("{host} and {other} are both to be the node {name}")]
    SameName { host: String, other: String, name: String },
    #[error("the host does not answer as a Linux host does: {said}")]
    Probe { said: String },
    #[error("junioadm on the host gives an answer that cannot be read: {said}")]
    Agent { said: String },
    #[error("{command} on the host ended with {status}: {said}")]
    Command { command: String, status: String, said: String },
    #[error("{} is the kubeconfig of another cluster", .path.display())]
    OtherKubeconfig { path: PathBuf },
    #[error("{} names no {what}", .path.display())]
    Kubeconfig { path: PathBuf, what: &'static str },
    #[error("the control plane is not there, so the host cannot join")]
    NoControlPlane,
    #[error("{pods} on node {node} did not go within {seconds} s: {reason}")]
    Drain { node: String, pods: String, seconds: u64, reason: String },
    #[error("the node names of {hosts} are not known, so nobody can tell which nodes are not in the file")]
    PruneBlind { hosts: String },
    #[error("node {node} is a control plane, and those are not pruned")]
    PruneControlPlane { node: String },
    #[error("the host is the node {node} of another cluster than that of the kubeconfig")]
    NotOurs { node: String },
    #[error("cannot read or write {}", .path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("interrupted")]
    Interrupted,
}

impl Hint for FleetError {
    fn code(&self) -> Code {
        Code(match self {
            Self::Architecture { .. } => "FLEET-ARCHITECTURE",
            Self::SameMachine { .. } => "FLEET-SAME-MACHINE",
            Self::SameName { .. } => "FLEET-SAME-NAME",
            Self::Probe { .. } => "FLEET-PROBE",
            Self::Agent { .. } => "FLEET-AGENT",
            Self::Command { .. } => "FLEET-COMMAND",
            Self::OtherKubeconfig { .. } | Self::Kubeconfig { .. } => "FLEET-KUBECONFIG",
            Self::NoControlPlane => "FLEET-NO-CONTROL-PLANE",
            Self::Drain { .. } => "FLEET-DRAIN",
            Self::PruneBlind { .. } | Self::PruneControlPlane { .. } => "FLEET-PRUNE",
            Self::NotOurs { .. } => "FLEET-NOT-OURS",
            Self::File { .. } => "FLEET-FILE",
            Self::Interrupted => "INTERRUPTED",
        })
    }

    fn next_step(&self) -> Option<NextStep> {
        Some(match self {
            Self::Architecture { .. } => NextStep::default().because(
                "take a junioadm and a bundle that were built for that machine; nothing was changed on the host",
            ),
            Self::SameMachine { .. } => NextStep::command("rm /etc/machine-id && systemd-machine-id-setup").because(
                "if they are clones of one image, run it on one of them and start it anew; else name the host once",
            ),
            Self::SameName { .. } => NextStep::command("hostnamectl set-hostname NAME")
                .because("or give one of them another name with nodeName (apply) or --node-name (join)"),
            Self::Probe { .. } | Self::Agent { .. } => NextStep::command("ssh HOST junioadm version"),
            Self::Command { .. } => NextStep::default().because("its log is on the host, in /var/log/junioadm"),
            Self::OtherKubeconfig { path } => NextStep::command(format!("mv {0} {0}.old", path.display()))
                .because("it is kept as it is; --kubeconfig names another file"),
            Self::Kubeconfig { .. } => {
                NextStep::command("junioadm join --ssh HOST --kubeconfig /etc/kubernetes/admin.conf")
            }
            Self::NoControlPlane => NextStep::command("junioadm apply -f FILE")
                .because("images and programs are on the host already; the next run goes on from there"),
            Self::Drain { node, .. } => {
                NextStep::command(format!("kubectl get pods -A --field-selector spec.nodeName={node}"))
                    .because("the node is cordoned and nothing else was done to it; the next run goes on")
            }
            Self::PruneBlind { .. } => {
                NextStep::default().because("repair what keeps those hosts from being reached, or give them a nodeName")
            }
            Self::PruneControlPlane { .. } => NextStep::command("junioadm reset").because("run it on that host"),
            Self::NotOurs { .. } => {
                NextStep::command("junioadm reset").because("run it on that host if it is to leave its cluster")
            }
            Self::File { .. } => NextStep::command("df -h"),
            Self::Interrupted => NextStep::default().because("what is done stays and is reused by the next run"),
        })
    }
}

/// Why a host did not get where it should: an error of ours, or what `junioadm` on the host said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostFailure {
    /// `JUNIO-...`.
    pub code: String,
    /// One line.
    pub message: String,
    pub why: Option<String>,
    pub next: Option<String>,
    /// Failed checks, one a line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

impl<E: Error + Hint> From<E> for HostFailure {
    fn from(error: E) -> Self {
        let step = error.next_step().unwrap_or_default();
        let (code, message) = (error.code().to_string(), sentence(&error));
        Self { code, message, why: step.why, next: step.command, problems: Vec::new() }
    }
}

impl HostFailure {
    /// The last line that `junioadm --output json` writes when it fails.
    pub(crate) fn said(error: &Value) -> Self {
        let text = |field: &str| error[field].as_str().map(str::to_owned);
        let problems = error["problems"].as_array().into_iter().flatten().map(|problem| {
            let name = problem["check"].as_str().or(problem["field"].as_str()).unwrap_or_default();
            format!("{name}: {}", problem["message"].as_str().unwrap_or_default())
        });
        Self {
            code: text("code").unwrap_or_else(|| "JUNIO-INTERNAL".to_owned()),
            message: text("message").unwrap_or_default(),
            why: text("why"),
            next: text("next"),
            problems: problems.collect(),
        }
    }

    pub(crate) fn is_interruption(&self) -> bool {
        self.code == FleetError::Interrupted.code().to_string()
    }
}

/// The error and its causes; a cause that the text before it says already is left out.
fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !said.is_empty() && !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_says_is_taken_over_with_its_checks() {
        let said = serde_json::json!({
            "type": "error", "code": "JUNIO-PORT-IN-USE", "message": "phase preflight failed", "why": null,
            "next": "ss -ltnp", "problems": [{ "check": "Port-10250", "message": "port 10250 is in use" }],
        });
        let failure = HostFailure::said(&said);
        assert_eq!((failure.code.as_str(), failure.next.as_deref()), ("JUNIO-PORT-IN-USE", Some("ss -ltnp")));
        assert_eq!(failure.problems, ["Port-10250: port 10250 is in use"]);
        assert!(!failure.is_interruption());
        assert!(HostFailure::from(FleetError::Interrupted).is_interruption());
    }
}
