//! The state of a host as a set of facts, and what changed between two of them.

use std::collections::BTreeSet;
use std::fmt;

use junio_lab::LabHost;

/// Files with modes and contents, sysctls, units, mounts, links, addresses, routes, firewall rules, containers, images,
/// volumes, networks, cgroups and processes of one host at one moment. `snapshot.sh` says exactly what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot(BTreeSet<String>);

impl Snapshot {
    /// Looks at a host. Changes nothing on it.
    pub async fn of(host: &LabHost) -> Self {
        let output = host.shell(include_str!("snapshot.sh")).await.expect("the host answers");
        let facts: BTreeSet<String> = output.text().lines().map(|line| line.trim_end().to_owned()).collect();
        for section in
            ["file", "content", "sysctl", "unit-file", "mount", "link", "route", "iptables", "network", "process"]
        {
            assert!(
                facts.iter().any(|fact| fact.starts_with(&format!("{section} "))),
                "the snapshot of {} has no section {section}: {}",
                host.name(),
                output.error_text()
            );
        }
        Self(facts)
    }

    /// What `later` has and lacks in comparison.
    pub fn difference(&self, later: &Self) -> Difference {
        Difference {
            added: later.0.difference(&self.0).cloned().collect(),
            removed: self.0.difference(&later.0).cloned().collect(),
        }
    }
}

/// Facts that came and went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub added: Vec<String>,
    pub removed: Vec<String>,
}

impl Difference {
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }

    /// Leaves out facts that a test has a reason to accept.
    #[must_use]
    pub fn without(mut self, accepted: impl Fn(&str) -> bool) -> Self {
        self.added.retain(|fact| !accepted(fact));
        self.removed.retain(|fact| !accepted(fact));
        self
    }

    /// Fails with the whole difference unless it is empty.
    pub fn assert_empty(&self, when: &str) {
        assert!(self.is_empty(), "{when}, the host differs from before:\n{self}");
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fact in &self.added {
            writeln!(f, "+ {fact}")?;
        }
        for fact in &self.removed {
            writeln!(f, "- {fact}")?;
        }
        Ok(())
    }
}
