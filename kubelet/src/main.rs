//! `junio-kubelet`: reads flags and configuration, runs the kubelet, ends on SIGTERM and leaves all containers running.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use junio_kubelet::config::{Flags, load};
use junio_kubelet::error_chain::chain;
use junio_kubelet::kubelet;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let flags = Flags::parse();
    if flags.version {
        print_version();
        return ExitCode::SUCCESS;
    }
    init_log(flags.v);
    // One TLS provider for everything; it can only be set already if this runs twice.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match run(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: Flags) -> Result<(), String> {
    let config = load(flags.config.as_deref(), flags.config_dir.as_deref()).map_err(|error| chain(&error))?;
    // A kubelet waits much and computes little: one thread is enough and keeps memory small.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(16)
        .thread_keep_alive(Duration::from_secs(5))
        .thread_stack_size(512 * 1024)
        .build()
        .map_err(|error| format!("no async runtime: {error}"))?;
    let result = runtime.block_on(async {
        let cancel = CancellationToken::new();
        let mut terminate =
            signal(SignalKind::terminate()).map_err(|error| format!("cannot handle SIGTERM: {error}"))?;
        let stop = cancel.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
            stop.cancel();
        });
        let ready = || {
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
            tracing::info!("sync loop runs");
        };
        kubelet::run(flags, config, cancel, ready).await.map_err(|error| chain(&error))
    });
    // What blocks (a hook, a mount) does not hold up the end; containers are the engine's.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

#[expect(clippy::print_stdout, reason = "the one thing that goes to standard output")]
fn print_version() {
    println!("Kubernetes {}", junio_api::versions::KUBERNETES);
}

fn init_log(verbosity: u8) {
    use std::io::IsTerminal as _;
    let level = match verbosity {
        0 | 1 => "info,kube_client=off,kube_runtime=off",
        2..=5 => "info,junio_kubelet=debug,kube_client=off,kube_runtime=off",
        _ => "debug,junio_kubelet=trace,hyper=info,h2=info,rustls=info",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| level.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
