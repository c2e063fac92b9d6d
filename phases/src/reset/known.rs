//! What a kubelet and its pods leave on a host beside what the journal names. Pure: paths and decisions.

use std::path::{Path, PathBuf};

use junio_api::config::defaults::DOCKER_SOCKET;
use junio_api::{Layout, names};

use crate::journal::Made;

/// What becomes of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes with all that is in it.
    Remove,
    /// It was there before us: what is in it goes.
    Empty,
}

/// Directories whose content is a cluster's and nothing else's; they go whole unless they existed before us.
pub(crate) fn trees(
    layout: &Layout,
    made: &Made,
    etcd_data: &Path,
    certificates: &Path,
    tmp: bool,
    kubelet_ran: bool,
) -> Vec<(PathBuf, Fate)> {
    let fate = |path: &Path| match made.directories.get(path) {
        Some(true) => Fate::Empty,
        // Not recorded: a cluster that was not ours, of which kubeadm too leaves the directory.
        None if !made.is_recorded() => Fate::Empty,
        Some(false) | None => Fate::Remove,
    };
    let run = |path: &str| layout.root().join(path);
    let mut trees = vec![layout.kubelet_dir()];
    // A worker has no etcd of ours; what is there then is its owner's.
    if !made.is_recorded() || made.directories.contains_key(etcd_data) {
        trees.push(etcd_data.to_owned());
    }
    if !made.is_recorded() {
        // A cluster that was not ours, or whose journal is lost: kubeadm's list. Otherwise the journal names each file.
        trees.extend([layout.manifests_dir(), certificates.to_owned()]);
    }
    if tmp {
        trees.push(layout.tmp_dir());
    }
    if kubelet_ran {
        trees.extend([layout.pod_log_dir(), layout.container_log_dir()]);
    }
    let mut fates: Vec<_> =
        trees.into_iter().map(|path| (fate(&path), path)).map(|(fate, path)| (path, fate)).collect();
    // Made by CNI plugins and flannel, which record nothing; nobody else uses these names.
    fates.extend(["run/flannel", "var/lib/cni"].map(|path| (run(path), Fate::Remove)));
    fates
}

/// Single files that a cluster makes by itself, and without a journal also those that kubeadm removes.
pub(crate) fn files(layout: &Layout, made: &Made) -> Vec<PathBuf> {
    let mut files = vec![
        layout.bootstrap_kubelet_conf(),
        layout.cni_conf_dir().join("10-flannel.conflist"),
        // Written by a kubelet that has to hold up the shutdown of its node for long.
        layout.root().join("etc/systemd/logind.conf.d/99-kubelet.conf"),
    ];
    if !made.is_recorded() {
        files.extend([
            layout.admin_conf(),
            layout.super_admin_conf(),
            layout.kubelet_conf(),
            layout.controller_manager_conf(),
            layout.scheduler_conf(),
        ]);
    }
    files
}

/// Links of the overlay network.
pub(crate) const LINKS: [&str; 3] = ["flannel.1", "flannel-v6.1", "cni0"];

/// Where etcd keeps its data: the manifest's volume `etcd-data`, as kubeadm looks it up, else the default.
pub(crate) fn etcd_data(layout: &Layout, manifest: Option<&str>) -> PathBuf {
    let pod = manifest.and_then(|text| junio_api::yaml::from_str::<serde_json::Value>(text).ok());
    let path = pod.as_ref().and_then(|pod| {
        let volumes = pod["spec"]["volumes"].as_array()?;
        volumes.iter().find(|volume| volume["name"] == "etcd-data")?["hostPath"]["path"].as_str()
    });
    path.map_or_else(|| layout.etcd_data_dir(), |path| layout.root().join(path.trim_start_matches('/')))
}

/// The host with its Docker Engine at the socket that was asked for; where none was, at the one of its kubelet.
pub(crate) fn with_docker(layout: Layout, asked: &str) -> Layout {
    if asked != DOCKER_SOCKET {
        return layout.with_docker(asked);
    }
    let config = std::fs::read_to_string(layout.kubelet_instance_config()).unwrap_or_default();
    let config = junio_api::yaml::from_str::<serde_json::Value>(&config).unwrap_or_default();
    let socket = config["containerRuntimeEndpoint"].as_str().unwrap_or(asked).to_owned();
    layout.with_docker(&socket)
}

/// The label filter of containers that our kubelet made.
pub(crate) const OUR_CONTAINERS: &str = names::DOCKER_LABEL;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_was_there_before_us_is_emptied_and_stays() {
        let layout = Layout::new("/r");
        let mut made = Made::default();
        made.directories.insert(layout.kubelet_dir(), true);
        made.directories.insert(layout.etcd_data_dir(), false);
        let fates = trees(&layout, &made, &layout.etcd_data_dir(), &layout.pki_dir(), false, false);
        let fate = |path: PathBuf| fates.iter().find(|(p, _)| *p == path).map(|(_, fate)| *fate);
        assert_eq!(fate(layout.kubelet_dir()), Some(Fate::Empty));
        assert_eq!(fate(layout.etcd_data_dir()), Some(Fate::Remove));
        assert_eq!(fate(layout.manifests_dir()), None, "the journal names its files");
        assert_eq!(fate(layout.tmp_dir()), None);
        assert_eq!(fate(layout.pod_log_dir()), None, "no kubelet of ours ever ran");
    }

    #[test]
    fn a_workers_reset_knows_nothing_of_an_etcd_on_its_host() {
        let layout = Layout::new("/r");
        let mut made = Made { kubelet: true, ..Made::default() };
        made.directories.insert(layout.kubelet_dir(), false);
        let fates = trees(&layout, &made, &layout.etcd_data_dir(), &layout.pki_dir(), false, true);
        assert!(fates.iter().all(|(path, _)| *path != layout.etcd_data_dir()), "{fates:?}");
    }

    #[test]
    fn without_a_journal_kubeadms_list_goes_and_directories_stay() {
        let layout = Layout::new("/r");
        let made = Made::default();
        let fates = trees(&layout, &made, &layout.etcd_data_dir(), &layout.pki_dir(), false, true);
        assert!(fates.contains(&(layout.pod_log_dir(), Fate::Empty)));
        assert!(
            fates.contains(&(layout.pki_dir(), Fate::Empty)) && fates.contains(&(layout.manifests_dir(), Fate::Empty))
        );
        assert!(files(&layout, &made).contains(&layout.admin_conf()));
    }

    #[test]
    fn the_engine_is_the_one_that_was_asked_for_or_the_kubelets() {
        let root = tempfile::tempdir().expect("temporary directory");
        let layout = Layout::new(root.path());
        let socket = |asked: &str| with_docker(layout.clone(), asked).docker_socket();
        assert_eq!(socket(DOCKER_SOCKET), root.path().join("run/docker.sock"));
        std::fs::create_dir_all(layout.kubelet_dir()).expect("made");
        let config = "containerRuntimeEndpoint: unix:///run/docker-2.sock\n";
        std::fs::write(layout.kubelet_instance_config(), config).expect("written");
        assert_eq!(socket(DOCKER_SOCKET), root.path().join("run/docker-2.sock"));
        assert_eq!(socket("unix:///run/docker-3.sock"), root.path().join("run/docker-3.sock"));
    }

    #[test]
    fn the_data_directory_is_the_manifests() {
        let layout = Layout::new("/r");
        let manifest = "spec:\n  volumes:\n  - name: etcd-data\n    hostPath:\n      path: /data/etcd\n";
        assert_eq!(etcd_data(&layout, Some(manifest)), PathBuf::from("/r/data/etcd"));
        assert_eq!(etcd_data(&layout, None), PathBuf::from("/r/var/lib/etcd"));
        assert_eq!(etcd_data(&layout, Some("not: [a pod")), PathBuf::from("/r/var/lib/etcd"));
    }
}
