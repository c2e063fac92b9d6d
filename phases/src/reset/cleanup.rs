//! Removing, step by step. A step that fails is reported and the next one goes on.

use std::path::{Path, PathBuf};

use junio_host::{Docker, Host, HostError, ServiceManager, firewall, links, mounts, sysctl};
use nix::mount::MntFlags;

use crate::changes::sha256;
use crate::context::{KUBELET_SERVICE, kubelet_service};
use crate::journal::{Made, Previous};
use crate::options::ResetReport;
use crate::reset::known::{self, Fate};

/// One reset.
pub(crate) struct Cleanup<'a> {
    pub(crate) host: &'a dyn Host,
    pub(crate) made: Made,
    pub(crate) services: ServiceManager,
    pub(crate) dry_run: bool,
    pub(crate) report: ResetReport,
    /// A kubelet of ours ran on this host: the journal says so, or what it left does where the journal is lost.
    pub(crate) kubelet_ran: bool,
}

impl Cleanup<'_> {
    fn note(&mut self, what: impl Into<String>, result: Result<bool, HostError>) {
        let what = what.into();
        match result {
            Ok(true) => self.report.removed.push(what),
            Ok(false) => {}
            Err(error) => {
                let cause = std::error::Error::source(&error).map_or_else(String::new, |source| format!(": {source}"));
                self.report.failed.push(format!("{what}: {error}{cause}"));
            }
        }
    }

    pub(crate) async fn kubelet(&mut self) {
        let unit = self.host.layout().kubelet_unit();
        let service = kubelet_service(self.host.layout());
        let active = self.services.has_processes(self.host, &service).await.unwrap_or(false);
        let installed = matches!(self.host.stat(&unit).await, Ok(Some(_)));
        self.kubelet_ran |= active || installed;
        if !active && !installed && !self.made.services.iter().any(|name| name == KUBELET_SERVICE) {
            return;
        }
        if self.dry_run {
            self.report.removed.push(format!("service {KUBELET_SERVICE}"));
            return;
        }
        let result = async {
            self.services.stop(self.host, &service).await?;
            self.services.disable(self.host, KUBELET_SERVICE).await?;
            self.host.remove_file(&unit).await?;
            self.services.reload(self.host).await?;
            Ok(active || installed)
        };
        let result = result.await;
        self.note(format!("service {KUBELET_SERVICE}"), result);
    }

    pub(crate) async fn containers(&mut self) {
        let socket = self.host.layout().docker_socket();
        let docker = match Docker::connect(&socket).await {
            Ok(docker) => docker,
            Err(error) => {
                if self.made.kubelet || !self.made.images.is_empty() {
                    self.note("containers and images of the cluster", Err(error));
                }
                return;
            }
        };
        match docker.containers(known::OUR_CONTAINERS).await {
            Ok(found) => {
                let count = found.len();
                self.kubelet_ran |= count > 0;
                let removals =
                    found.iter().filter(|_| !self.dry_run).map(|container| docker.remove_container(&container.id));
                let failed: Vec<HostError> =
                    futures::future::join_all(removals).await.into_iter().filter_map(Result::err).collect();
                if count > failed.len() {
                    self.report.removed.push(format!("{} containers", count - failed.len()));
                }
                for error in failed {
                    self.note("a container", Err(error));
                }
            }
            Err(error) => self.note("containers", Err(error)),
        }
        self.images(&docker).await;
    }

    async fn images(&mut self, docker: &Docker) {
        let present = match docker.image_references().await {
            Ok(present) => present,
            Err(error) => return self.note("images", Err(error)),
        };
        for reference in self.made.images.clone() {
            if present.contains(&reference) {
                let result = if self.dry_run { Ok(()) } else { docker.remove_image(&reference).await };
                self.note(format!("image {reference}"), result.map(|()| true));
            }
        }
    }

    pub(crate) fn mounts(&mut self, directory: &Path, flags: MntFlags) {
        match mounts::below(directory) {
            Ok(points) => {
                for point in points {
                    let result = if self.dry_run { Ok(()) } else { mounts::unmount(&point, flags) };
                    self.note(format!("mount {}", point.display()), result.map(|()| true));
                }
            }
            Err(error) => self.note("mounts", Err(error)),
        }
    }

    pub(crate) async fn tree(&mut self, path: &Path, fate: Fate) {
        let names = match self.host.list(path).await {
            Ok(names) => names,
            Err(error) => return self.note(path.display().to_string(), Err(error)),
        };
        let exists = matches!(self.host.stat(path).await, Ok(Some(_)));
        match fate {
            Fate::Remove if exists => {
                let result = if self.dry_run { Ok(true) } else { self.host.remove_tree(path).await };
                self.note(path.display().to_string(), result);
            }
            Fate::Empty if !names.is_empty() => {
                let mut result = Ok(true);
                for name in names.iter().filter(|_| !self.dry_run) {
                    if let Err(error) = self.host.remove_tree(&path.join(name)).await {
                        result = Err(error);
                    }
                }
                self.note(format!("the content of {}", path.display()), result);
            }
            Fate::Remove | Fate::Empty => {}
        }
    }

    pub(crate) async fn file(&mut self, path: &Path) {
        let exists = matches!(self.host.stat(path).await, Ok(Some(_)));
        if exists {
            let result = if self.dry_run { Ok(true) } else { self.host.remove_file(path).await };
            self.note(path.display().to_string(), result);
        }
    }

    /// Files that the journal names: ours go, others get their content back.
    pub(crate) async fn recorded_files(&mut self) {
        for (path, previous) in self.made.files.clone() {
            self.torn_writes(&path).await;
            match previous {
                None => self.file(&path).await,
                Some(previous) => self.restore(&path, &previous).await,
            }
        }
    }

    /// What a run that was killed in the middle of a write left beside the file; it may hold half a key.
    async fn torn_writes(&mut self, path: &Path) {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
            return;
        };
        let names = self.host.list(parent).await.unwrap_or_default();
        for found in names.iter().filter(|found| is_torn_write(found, name)) {
            self.file(&parent.join(found)).await;
        }
    }

    async fn restore(&mut self, path: &Path, previous: &Previous) {
        let kept = previous.backup.as_deref();
        let is_kept = match kept {
            Some(kept) => matches!(self.host.stat(kept).await, Ok(Some(_))),
            None => false,
        };
        let result = async {
            match kept.filter(|_| is_kept) {
                Some(_) if self.dry_run => Ok(true),
                Some(kept) => {
                    if let Some(parent) = path.parent()
                        && self.host.stat(parent).await?.is_none()
                    {
                        self.host.create_dir(parent, 0o755).await?;
                    }
                    self.host.put_back(kept, path).await?;
                    Ok(true)
                }
                // A reset that was interrupted after it had put everything back.
                None => Ok(self.host.read(path).await?.is_some_and(|now| sha256(&now) == previous.sha256)),
            }
        };
        match result.await {
            Ok(true) => self.report.left.push(format!("{}, as it was before", path.display())),
            Ok(false) => {
                self.report.left.push(format!("{}: it was there before and its old content is gone", path.display()))
            }
            Err(error) => self.note(path.display().to_string(), Err(error)),
        }
    }

    /// Directories that we made, innermost first, if nothing is in them any more.
    pub(crate) async fn recorded_directories(&mut self) {
        let ours: Vec<PathBuf> =
            self.made.directories.iter().filter(|(_, existed)| !**existed).map(|(path, _)| path.clone()).collect();
        for path in ours.into_iter().rev() {
            let empty = self.host.list(&path).await.is_ok_and(|names| names.is_empty());
            let exists = matches!(self.host.stat(&path).await, Ok(Some(_)));
            if !exists || self.dry_run {
                continue;
            }
            if empty {
                let result = self.host.remove_tree(&path).await;
                self.note(path.display().to_string(), result);
            } else {
                self.report.left.push(format!("{}: something in it is not ours", path.display()));
            }
        }
    }

    pub(crate) async fn network(&mut self) {
        for link in known::LINKS.into_iter().filter(|link| links::exists(link)) {
            let result = if self.dry_run { Ok(true) } else { links::remove(link) };
            self.note(format!("link {link}"), result);
        }
        if self.dry_run {
            return;
        }
        let cleaned = async {
            let mut removed = firewall::clean(self.host).await?;
            if let Some(before) = &self.made.tables {
                removed.extend(firewall::remove_empty_tables(self.host, before).await?);
            }
            Ok(removed)
        };
        match cleaned.await {
            Ok(removed) if !removed.is_empty() => {
                self.report.removed.push(format!("{} packet filter chains and tables", removed.len()))
            }
            Ok(_) => {}
            Err(error) => self.note("packet filter rules", Err(error)),
        }
        let groups = mounts::remove_kubepods_cgroups();
        if !groups.is_empty() {
            self.report.removed.push(format!("{} control group trees", groups.len()));
        }
    }

    pub(crate) fn sysctls(&mut self) {
        for (name, previous) in self.made.sysctls.clone() {
            if self.dry_run {
                self.report.removed.push(format!("our value of {name}"));
                continue;
            }
            match sysctl::write(&name, &previous) {
                Ok(sysctl::SysctlChange::Changed { .. }) => self.report.removed.push(format!("our value of {name}")),
                Ok(sysctl::SysctlChange::Unchanged) => {}
                Ok(sysctl::SysctlChange::Refused { reason }) => self.report.failed.push(format!("{name}: {reason}")),
                Err(error) => self.note(name, Err(error)),
            }
        }
    }
}

/// `.NAME.ANYTHING.tmp` and `.NAME.junioadm` are the hidden neighbours that our writers rename over `NAME`.
fn is_torn_write(found: &str, name: &str) -> bool {
    let rest = found.strip_prefix('.').and_then(|rest| rest.strip_prefix(name)).and_then(|rest| rest.strip_prefix('.'));
    rest.is_some_and(|rest| rest.ends_with(".tmp") || rest == "tmp" || rest == "junioadm")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::Changes;
    use crate::journal::{Journal, read};
    use crate::phase_id::PhaseId;
    use junio_api::Layout;
    use junio_host::Local;

    fn snapshot(root: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut open = vec![root.to_owned()];
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(&directory).expect("listable").flatten() {
                let path = entry.path();
                let content =
                    if path.is_dir() { "directory".to_owned() } else { std::fs::read_to_string(&path).expect("text") };
                found.push(format!("{}: {content}", path.display()));
                if path.is_dir() {
                    open.push(path);
                }
            }
        }
        found.sort();
        found
    }

    #[tokio::test]
    async fn what_was_recorded_goes_and_what_was_there_before_comes_back() {
        let root = tempfile::tempdir().expect("temporary directory");
        let layout = Layout::new(root.path());
        let host = Local::new(layout.clone());
        let foreign = layout.cni_conf_dir().join("99-other.conflist");
        std::fs::create_dir_all(layout.cni_conf_dir()).expect("made");
        std::fs::write(&foreign, "theirs").expect("written");
        std::fs::create_dir_all(layout.kubelet_dir()).expect("made");
        std::fs::write(layout.kubelet_config(), "an older config").expect("written");
        let before = snapshot(root.path());

        let journal = Journal::open(&layout.journal()).expect("absent is fine");
        let changes = Changes { host: &host, journal: &journal };
        let directories =
            [(layout.manifests_dir(), 0o700), (layout.cni_conf_dir(), 0o755), (layout.kubelet_dir(), 0o700)];
        changes.directories(PhaseId::KubeletStart, &directories).await.expect("made");
        changes.write(PhaseId::EtcdLocal, &layout.manifest("etcd"), b"ours", 0o600).await.expect("written");
        changes.write(PhaseId::KubeletStart, &layout.kubelet_config(), b"ours", 0o644).await.expect("written");
        // A crash before the change leaves an intent for a file that never came to be.
        changes.intend_absent(PhaseId::CertsCa, &[layout.pki_dir().join("ca.key")]).await.expect("recorded");

        for round in 0..2 {
            let made = Made::from_entries(&read(&layout.journal()).expect("readable"));
            let services = ServiceManager::Supervised;
            let report = ResetReport::default();
            let mut cleanup = Cleanup { host: &host, made, services, dry_run: false, report, kubelet_ran: false };
            let (etcd, pki) = (layout.etcd_data_dir(), layout.pki_dir());
            for (path, fate) in known::trees(&layout, &cleanup.made, &etcd, &pki, false, false) {
                cleanup.tree(&path, fate).await;
            }
            cleanup.recorded_files().await;
            cleanup.recorded_directories().await;
            assert_eq!(cleanup.report.failed, Vec::<String>::new(), "round {round}");
        }
        std::fs::remove_dir_all(layout.junioadm_dir()).expect("the journal goes last");
        assert_eq!(snapshot(root.path()), before);
    }

    #[test]
    fn hidden_neighbours_of_a_file_are_told_from_other_hidden_files() {
        assert!(is_torn_write(".ca.key.11520-0.tmp", "ca.key"));
        assert!(is_torn_write(".kubectl.junioadm", "kubectl"));
        for other in ["ca.key", ".ca.key", ".ca.key.backup", ".ca.keys.1.tmp", ".bashrc"] {
            assert!(!is_torn_write(other, "ca.key"), "{other}");
        }
    }

    #[tokio::test]
    async fn a_dry_run_names_what_would_go_and_leaves_it() {
        let root = tempfile::tempdir().expect("temporary directory");
        let layout = Layout::new(root.path());
        let host = Local::new(layout.clone());
        std::fs::create_dir_all(layout.kubernetes_dir()).expect("made");
        std::fs::write(layout.admin_conf(), "theirs").expect("written");
        let mut cleanup = Cleanup {
            host: &host,
            made: Made::default(),
            services: ServiceManager::Supervised,
            dry_run: true,
            report: ResetReport::default(),
            kubelet_ran: false,
        };
        cleanup.file(&layout.admin_conf()).await;
        assert_eq!(cleanup.report.removed, [layout.admin_conf().display().to_string()]);
        assert!(layout.admin_conf().exists());
    }
}
