//! `reset`: kubeadm's flags.

use std::path::PathBuf;

use clap::Args;
use junio_api::Layout;

use super::{RemoteArgs, RunOutput};

#[derive(Debug, Args)]
pub struct ResetArgs {
    /// Where certificates are stored [default: /etc/kubernetes/pki]
    #[arg(long, value_name = "PATH")]
    pub cert_dir: Option<String>,
    /// Empty /etc/kubernetes/tmp too
    #[arg(long)]
    pub cleanup_tmp_dir: bool,
    /// File with a ResetConfiguration; - reads standard input
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Docker Engine's socket [default: unix:///run/docker.sock]
    #[arg(long, value_name = "SOCKET")]
    pub cri_socket: Option<String>,
    /// Say what would go, change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(short, long, visible_alias = "yes")]
    pub force: bool,
    /// Checks whose errors become warnings: names, or `all`
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub ignore_preflight_errors: Vec<String>,
    /// Phases to leave out: preflight, remove-etcd-member, cleanup-node
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub skip_phases: Vec<String>,
    #[command(flatten)]
    pub remote: RemoteArgs,
    /// The bundle file
    #[arg(long, value_name = "FILE", env = "JUNIOADM_BUNDLE", default_value_os_t = Layout::default().bundle(), hide_env = true)]
    pub bundle: PathBuf,
    #[arg(short, long, value_enum, default_value_t = RunOutput::Text, hide_possible_values = true)]
    pub output: RunOutput,
}

impl ResetArgs {
    /// Flags that were given and that a file excludes.
    pub fn excluded_by_config(&self) -> Vec<&'static str> {
        [
            ("cert-dir", self.cert_dir.is_some()),
            ("cleanup-tmp-dir", self.cleanup_tmp_dir),
            ("cri-socket", self.cri_socket.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
        .collect()
    }
}
