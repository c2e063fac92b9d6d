//! What a caller passes into a run, and what it gets back. No defaults are computed here: `api::config` did that.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use junio_api::config::{InitDocuments, JoinDocuments, ResetConfiguration};
use junio_api::token::Token;
use junio_api::{Layout, Secret};
use serde::Serialize;

use crate::event::Outcome;
use crate::phase_id::PhaseId;

/// How `init` runs.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// Defaulted and validated.
    pub documents: InitDocuments,
    /// True when a file was given: the token's description then stays empty, as kubeadm does it.
    pub documents_from_file: bool,
    /// The user named no token: a later run then keeps the one that an earlier run made.
    pub token_generated: bool,
    /// Phases and groups that are left out.
    pub skip: Vec<PhaseId>,
    /// `init phase NAME`: this phase or group alone, with its inputs read from disk.
    pub only: Option<PhaseId>,
    /// Render everything into a directory and change nothing else.
    pub dry_run: bool,
    /// Lower-case names, or `all` alone.
    pub ignore_preflight_errors: BTreeSet<String>,
    pub layout: Layout,
    /// The bundle file.
    pub bundle: PathBuf,
    /// Leave the token out of the join command.
    pub skip_token_print: bool,
    /// Store the certificates encrypted in the cluster.
    pub upload_certs: bool,
    pub skip_certificate_key_print: bool,
    /// For phases that talk to the API server; this host's own by default.
    pub kubeconfig: Option<PathBuf>,
    /// Where the phase `kubeconfig` puts its files; `/etc/kubernetes` by default.
    pub kubeconfig_dir: Option<PathBuf>,
    /// Render the objects of one add-on instead of applying them.
    pub print_manifest: bool,
}

impl InitOptions {
    /// Nothing on this host or in the cluster is changed.
    #[must_use]
    pub fn read_only(&self) -> bool {
        self.dry_run || self.print_manifest
    }
}

/// How `join` runs.
#[derive(Debug, Clone)]
pub struct JoinOptions {
    /// Defaulted and validated.
    pub documents: JoinDocuments,
    /// Phases that are left out.
    pub skip: Vec<PhaseId>,
    /// `join phase NAME`: this phase alone.
    pub only: Option<PhaseId>,
    /// Find the cluster, render the files into a directory, change nothing else.
    pub dry_run: bool,
    /// Lower-case names, or `all` alone.
    pub ignore_preflight_errors: BTreeSet<String>,
    pub layout: Layout,
    /// The bundle file.
    pub bundle: PathBuf,
}

/// What `join` made.
#[derive(Debug, Clone)]
pub struct JoinReport {
    pub node_name: String,
    /// `https://HOST:PORT` as the kubelet uses it; empty where a phase alone did not need it.
    pub server: String,
    /// The host was a node of this cluster before.
    pub already: bool,
    /// The node was seen to be Ready.
    pub ready: bool,
    /// In the order in which phases ended.
    pub timeline: Vec<Timing>,
    pub elapsed: Duration,
    /// Where a dry run put its files.
    pub dry_run_directory: Option<PathBuf>,
}

/// How the checks alone run.
#[derive(Debug, Clone)]
pub struct PreflightOptions {
    pub documents: InitDocuments,
    pub ignore_preflight_errors: BTreeSet<String>,
    pub layout: Layout,
    pub bundle: PathBuf,
}

/// How `reset` runs; the question was asked by the caller.
#[derive(Debug, Clone)]
pub struct ResetOptions {
    pub configuration: ResetConfiguration,
    pub skip: Vec<PhaseId>,
    pub dry_run: bool,
    pub ignore_preflight_errors: BTreeSet<String>,
    pub layout: Layout,
    pub bundle: PathBuf,
    pub cleanup_tmp_dir: bool,
}

/// What `init` made. It holds a token; print it only on purpose.
#[derive(Debug, Clone)]
pub struct InitReport {
    pub node_name: String,
    pub kubernetes_version: String,
    /// `admin.conf`.
    pub kubeconfig: PathBuf,
    /// `None` after a dry run, or when the phase was left out.
    pub join: Option<JoinCommand>,
    /// In the order in which phases ended.
    pub timeline: Vec<Timing>,
    pub elapsed: Duration,
    /// What the uploaded certificates are encrypted with; `None` when none were.
    pub certificate_key: Option<Secret<String>>,
    /// The objects of an add-on, with `print_manifest`.
    pub manifest: Option<String>,
    /// Where a dry run put its files; `None` when there were none.
    pub dry_run_directory: Option<PathBuf>,
    /// The network was left out: the node stays NotReady until one is installed.
    pub network_installed: bool,
}

impl InitReport {
    /// True when nothing had to be done.
    #[must_use]
    pub fn all_reused(&self) -> bool {
        self.timeline.iter().all(|timing| timing.outcome != Outcome::Done || timing.phase == PhaseId::Preflight)
    }
}

/// One phase's part of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Timing {
    pub phase: PhaseId,
    pub outcome: Outcome,
    /// From the start of the run.
    #[serde(skip)]
    pub started: Duration,
    #[serde(skip)]
    pub elapsed: Duration,
}

/// What a worker types.
#[derive(Debug, Clone)]
pub struct JoinCommand {
    /// `HOST:PORT`.
    pub endpoint: String,
    /// `None` with `--skip-token-print`.
    pub token: Option<Token>,
    /// `sha256:HEX`.
    pub ca_cert_hash: String,
}

impl JoinCommand {
    /// The command of a worker, in two lines as kubeadm prints them.
    #[must_use]
    pub fn text(&self) -> String {
        let token = self.token.as_ref().map_or_else(|| "<value withheld>".to_owned(), ToString::to_string);
        format!(
            "junioadm join {} --token {token} \\\n\t--discovery-token-ca-cert-hash {} ",
            self.endpoint, self.ca_cert_hash
        )
    }
}

/// The checks that passed, and what they warned about.
#[derive(Debug, Clone, Default)]
pub struct PreflightReport {
    pub checks: usize,
    pub warnings: usize,
}

/// What `reset` did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ResetReport {
    /// What is gone now.
    pub removed: Vec<String>,
    /// What was left, each with the reason.
    pub left: Vec<String>,
    /// What should have gone and did not, each with the error.
    pub failed: Vec<String>,
}
