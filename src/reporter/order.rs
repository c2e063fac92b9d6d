//! Phases overlap, but are told in kubeadm's order: a line waits while an earlier phase is still at work. Loading images is
//! not kubeadm's and holds nobody back.

use std::collections::{BTreeMap, BTreeSet};

use junio_phases::PhaseId;

/// Lines that wait for their turn. Pure: what may be shown is returned.
#[derive(Debug, Default)]
pub struct Order {
    running: BTreeSet<usize>,
    held: BTreeMap<usize, Vec<String>>,
}

impl Order {
    pub fn started(&mut self, phase: PhaseId) {
        if phase != PhaseId::Images {
            self.running.insert(position(phase));
        }
    }

    /// A line of `phase`; returns it when its turn has come.
    pub fn line(&mut self, phase: PhaseId, text: String) -> Option<String> {
        let position = position(phase);
        let earlier = self.running.first().is_some_and(|first| *first < position);
        if phase == PhaseId::Images || (!earlier && !self.held.contains_key(&position)) {
            return Some(text);
        }
        self.held.entry(position).or_default().push(text);
        None
    }

    /// The phase ended; returns the lines whose turn has come with it.
    pub fn finished(&mut self, phase: PhaseId) -> Vec<String> {
        self.running.remove(&position(phase));
        let limit = self.running.first().copied().unwrap_or(usize::MAX);
        let later = self.held.split_off(&limit.saturating_add(1));
        std::mem::replace(&mut self.held, later).into_values().flatten().collect()
    }

    /// Everything that still waits, when a run ends early.
    pub fn rest(&mut self) -> Vec<String> {
        std::mem::take(&mut self.held).into_values().flatten().collect()
    }
}

/// Groups and phases of other commands come in the order of the enum.
fn position(phase: PhaseId) -> usize {
    PhaseId::ALL.iter().position(|known| *known == phase).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_waits_for_the_phases_before_it() {
        let mut order = Order::default();
        order.started(PhaseId::CertsCa);
        order.started(PhaseId::EtcdLocal);
        assert_eq!(order.line(PhaseId::EtcdLocal, "etcd".into()), None);
        assert_eq!(order.line(PhaseId::CertsCa, "ca".into()), Some("ca".into()));
        assert_eq!(
            order.line(PhaseId::Images, "images".into()),
            Some("images".into()),
            "images hold nobody and wait for nobody"
        );
        assert_eq!(order.finished(PhaseId::EtcdLocal), Vec::<String>::new());
        assert_eq!(order.finished(PhaseId::CertsCa), ["etcd"]);
    }

    #[test]
    fn the_earliest_running_phase_speaks_at_once() {
        let mut order = Order::default();
        order.started(PhaseId::CertsCa);
        order.started(PhaseId::KubeconfigAdmin);
        order.started(PhaseId::EtcdLocal);
        assert_eq!(order.line(PhaseId::KubeconfigAdmin, "1".into()), None);
        assert_eq!(order.line(PhaseId::EtcdLocal, "2".into()), None);
        assert_eq!(
            order.finished(PhaseId::CertsCa),
            ["1"],
            "what the next phase has said comes out, the one after it waits on"
        );
        assert_eq!(order.line(PhaseId::KubeconfigAdmin, "1b".into()), Some("1b".into()));
        assert_eq!(order.finished(PhaseId::KubeconfigAdmin), ["2"]);
    }

    #[test]
    fn nothing_is_lost_when_a_run_stops() {
        let mut order = Order::default();
        order.started(PhaseId::CertsCa);
        order.line(PhaseId::EtcdLocal, "etcd".into());
        assert_eq!(order.rest(), ["etcd"]);
        assert!(order.rest().is_empty());
    }
}
