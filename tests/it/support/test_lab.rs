//! A lab for one test, taken down when it goes out of scope.

use std::ops::Deref;

use junio_lab::{FirstProcess, Lab, LabHost, NoProgress, OutputStream, Progress, Suite, UpOptions};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::{product, reaper};

/// A lab of this test process. Derefs to [`Lab`].
pub struct TestLab {
    lab: Lab,
    /// A shared lab stays until the process ends; its reaper takes it.
    shared: bool,
}

impl Deref for TestLab {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

impl TestLab {
    /// `count` hosts with nothing of ours on them. `purpose` is a short word, unique among the tests.
    pub async fn plain(purpose: &str, suite: Suite, count: usize) -> Self {
        Self::up(UpOptions {
            control_planes: count,
            suite,
            hosts_only: true,
            ..UpOptions::new(reaper::name(purpose), None)
        })
        .await
    }

    /// `count` hosts with junioadm, junio-kubelet and the bundle in their places, and no cluster.
    pub async fn hosts(purpose: &str, suite: Suite, count: usize) -> Self {
        Self::up(UpOptions {
            control_planes: count,
            suite,
            hosts_only: true,
            ..UpOptions::new(reaper::name(purpose), Some(product::payload()))
        })
        .await
    }

    /// One host as of [`TestLab::hosts`] on which no systemd runs.
    pub async fn without_systemd(purpose: &str, suite: Suite) -> Self {
        let options = UpOptions::new(reaper::name(purpose), Some(product::payload()));
        Self::up(UpOptions { suite, hosts_only: true, first_process: FirstProcess::Script, ..options }).await
    }

    /// One host with a cluster that this test has for itself.
    pub async fn cluster(purpose: &str, suite: Suite) -> Self {
        Self::up(UpOptions { suite, ..UpOptions::new(reaper::name(purpose), Some(product::payload())) }).await
    }

    /// The cluster that all tests of this process share, one per suite, made by the first who asks. A test must leave it as
    /// it found it and use names of its own.
    pub async fn shared_cluster(suite: Suite) -> Self {
        static CLUSTERS: [OnceCell<()>; 2] = [OnceCell::const_new(), OnceCell::const_new()];
        let (cell, purpose) = match suite {
            Suite::Bookworm => (&CLUSTERS[0], "shared-bookworm"),
            Suite::Trixie => (&CLUSTERS[1], "shared-trixie"),
        };
        cell.get_or_init(|| async {
            let mut lab = Self::cluster(purpose, suite).await;
            lab.shared = true;
        })
        .await;
        // a connection of this test's own runtime: the first one's ends with its test
        Self { lab: Lab::open(&reaper::name(purpose)).await.expect("the shared lab is there"), shared: true }
    }

    async fn up(options: UpOptions) -> Self {
        reaper::remove_stale().await;
        reaper::watch(&options.name);
        let output = Output::default();
        match junio_lab::up(&options, &output, &CancellationToken::new()).await {
            Ok(lab) => Self { lab, shared: false },
            Err(error) => panic!("lab {}: {}\n{}", options.name, with_causes(&error), output.text()),
        }
    }

    /// The host `NAME-number`.
    pub fn at(&self, number: usize) -> &LabHost {
        &self.lab.hosts()[number - 1]
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if self.shared {
            return;
        }
        if failed && std::env::var_os("JUNIO_LAB_KEEP").is_some() {
            eprintln_kept(&self.lab);
            return;
        }
        let name = self.lab.name().clone();
        // not on this thread: it may be one of a runtime, which must not be blocked by another
        let ended = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(junio_lab::down(&name, &NoProgress))
        })
        .join();
        match ended {
            Ok(Err(error)) if !failed => panic!("the lab did not go down: {}", with_causes(&error)),
            Err(_) if !failed => panic!("taking the lab down panicked"),
            _ => {}
        }
    }
}

#[expect(clippy::print_stderr, reason = "whoever asked to keep the lab must learn its name")]
fn eprintln_kept(lab: &Lab) {
    eprintln!("kept: docker exec -it {} bash (until this test process ends)", lab.hosts()[0].name());
}

/// An error with all its causes on one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}

/// Keeps what a lab tells, for the message of a failed test.
#[derive(Default)]
struct Output(std::sync::Mutex<Vec<u8>>);

impl Output {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic while it is held")).into_owned()
    }

    fn append(&self, bytes: &[u8]) {
        self.0.lock().expect("no panic while it is held").extend_from_slice(bytes);
    }
}

impl Progress for Output {
    fn step(&self, text: &str) {
        self.append(format!("==> {text}\n").as_bytes());
    }

    fn output(&self, _host: &str, _stream: OutputStream, bytes: &[u8]) {
        self.append(bytes);
    }
}
