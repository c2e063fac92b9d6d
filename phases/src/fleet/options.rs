//! How many hosts are driven from here, and what all of them share while they are.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use junio_api::Secret;
use junio_api::config::{Arg, JoinConfiguration, Taint};
use junio_host::ssh::{Prompter, Settings, Target};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::delivery::Cargo;
use super::error::{FleetError, HostFailure};
use super::event::{FleetEvent, FleetReporter};
use super::inventory::sha256_of;

/// What holds for all hosts.
#[derive(Debug, Clone)]
pub struct FleetOptions {
    pub ssh: Settings,
    /// Hosts at work at the same time.
    pub parallel: usize,
    /// The bundle whose parts are sent.
    pub bundle: PathBuf,
    /// The junioadm that is sent: usually the running program.
    pub junioadm: PathBuf,
    /// Look, say what would be done, change nothing on any host.
    pub dry_run: bool,
}

/// How a host is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    Ssh(Target),
    /// It is this machine.
    This,
}

impl Way {
    /// As it is noted on the Node, for the day when the host leaves.
    pub(crate) fn target(&self) -> Option<String> {
        match self {
            Self::Ssh(target) => Some(target.to_string()),
            Self::This => None,
        }
    }
}

/// A host that is to be a worker.
#[derive(Debug, Clone)]
pub struct FleetHost {
    /// As the user names it.
    pub title: String,
    pub way: Way,
    /// What `join` works with there, without the way into the cluster.
    pub join: JoinConfiguration,
    /// What is to be on its Node; `None`: nothing is looked at.
    pub marks: Option<Marks>,
}

/// What a file wants on a Node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Marks {
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
}

impl FleetHost {
    /// A worker of this address, as `join --ssh` has it.
    #[must_use]
    pub fn new(target: Target, join: JoinConfiguration) -> Self {
        Self { title: target.to_string(), way: Way::Ssh(target), join, marks: None }
    }

    /// A flag for the kubelet there, before all others.
    #[must_use]
    pub fn with_kubelet_arg(mut self, name: &str, value: &str) -> Self {
        self.join.node_registration.kubelet_extra_args.insert(0, Arg::new(name, value));
        self
    }
}

/// Our junioadm.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) sha256: String,
    pub(crate) size: u64,
}

/// What the hosts of one run share.
pub(crate) struct Fleet<'a> {
    pub(crate) options: &'a FleetOptions,
    pub(crate) prompter: &'a dyn Prompter,
    pub(crate) program: Program,
    /// `None` where nothing is to be sent.
    pub(crate) cargo: Option<Arc<Cargo>>,
    pub(crate) started: Instant,
    pub(crate) permits: Semaphore,
    pub(crate) cancel: CancellationToken,
    reporter: &'a dyn FleetReporter,
    claims: Mutex<Claims>,
    /// Passphrases that were given: a key is asked for once though ten hosts want it. Held while somebody is asked.
    pub(crate) passphrases: tokio::sync::Mutex<BTreeMap<PathBuf, Secret<String>>>,
}

/// Who took what: machine ids and node names, each with the host's title.
#[derive(Debug, Default)]
struct Claims {
    machines: BTreeMap<String, String>,
    names: BTreeMap<String, String>,
}

impl<'a> Fleet<'a> {
    /// Reads the program, and with `sends` the bundle.
    pub(crate) async fn new(
        options: &'a FleetOptions,
        reporter: &'a dyn FleetReporter,
        prompter: &'a dyn Prompter,
        cancel: CancellationToken,
        sends: bool,
    ) -> Result<Self, HostFailure> {
        let (bundle, path) = (options.bundle.clone(), options.junioadm.clone());
        let read = tokio::task::spawn_blocking(move || -> Result<_, HostFailure> {
            let cargo = if sends { Some(Arc::new(Cargo::open(&bundle)?)) } else { None };
            let unreadable = |source| FleetError::File { path: path.clone(), source };
            let size = std::fs::metadata(&path).map_err(unreadable)?.len();
            let sha256 = sha256_of(&path).map_err(unreadable)?;
            Ok((cargo, Program { path, sha256, size }))
        });
        let (cargo, program) = match read.await {
            Ok(read) => read?,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        Ok(Self {
            options,
            prompter,
            program,
            cargo,
            started: Instant::now(),
            permits: Semaphore::new(options.parallel.max(1)),
            cancel,
            reporter,
            claims: Mutex::default(),
            passphrases: tokio::sync::Mutex::default(),
        })
    }

    pub(crate) fn event(&self, event: &FleetEvent) {
        self.reporter.event(event);
    }

    pub(crate) fn step(&self, host: &str, text: impl Into<String>) {
        self.event(&FleetEvent::Step { host: host.to_owned(), text: text.into() });
    }

    /// Ends `work` when the user does not want any more.
    pub(crate) async fn interruptible<T>(
        &self,
        work: impl Future<Output = Result<T, HostFailure>>,
    ) -> Result<T, HostFailure> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(FleetError::Interrupted.into()),
            result = work => result,
        }
    }

    /// A machine and a node name are one host's; the second one that wants them is told who was first.
    pub(crate) fn claim(&self, host: &str, machine_id: &str, name: &str) -> Result<(), FleetError> {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        if !machine_id.is_empty() {
            let other = claims.machines.entry(machine_id.to_owned()).or_insert_with(|| host.to_owned());
            if other != host {
                let (host, other, machine_id) = (host.to_owned(), other.clone(), machine_id.to_owned());
                return Err(FleetError::SameMachine { host, other, machine_id });
            }
        }
        let other = claims.names.entry(name.to_owned()).or_insert_with(|| host.to_owned());
        if other != host {
            let (host, other, name) = (host.to_owned(), other.clone(), name.to_owned());
            return Err(FleetError::SameName { host, other, name });
        }
        Ok(())
    }
}
