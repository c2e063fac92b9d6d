//! Labs by hand while working on this crate: `cargo run --profile ci -p junio-lab --example junio-lab -- up|ssh|down|list ...`.
//! The product's commands are `junioadm lab`.
#![expect(clippy::print_stderr, reason = "an example for the terminal")]

use std::path::PathBuf;
use std::process::ExitCode;

use junio_lab::{Lab, LabError, LabName, OutputStream, Payload, Progress, UpOptions};
use tokio_util::sync::CancellationToken;

struct Terminal;

impl Progress for Terminal {
    fn step(&self, text: &str) {
        eprintln!("==> {text}");
    }

    fn output(&self, _host: &str, _stream: OutputStream, bytes: &[u8]) {
        eprint!("{}", String::from_utf8_lossy(bytes));
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments).await {
        Ok(code) => code,
        Err(error) => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            eprintln!("error: {text}");
            ExitCode::FAILURE
        }
    }
}

/// `up NAME HOSTS SUITE [BIN_DIR BUNDLE [cluster]]`, `ssh NAME HOST [COMMAND...]`, `down NAME|--all`, `list`.
async fn run(arguments: &[String]) -> Result<ExitCode, LabError> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["up", name, hosts, suite, rest @ ..] => {
            let payload = match rest {
                [directory, bundle, ..] => {
                    Some(Payload::around(&PathBuf::from(directory).join("junioadm"), Some(bundle.as_ref()))?)
                }
                _ => None,
            };
            let mut options = UpOptions::new(name.parse()?, payload);
            options.control_planes = hosts.parse().unwrap_or(1);
            options.suite = suite.parse().unwrap_or_default();
            options.hosts_only = rest.get(2) != Some(&"cluster");
            let cancel = CancellationToken::new();
            let interrupted = cancel.clone();
            tokio::spawn(async move {
                if tokio::signal::ctrl_c().await.is_ok() {
                    interrupted.cancel();
                }
            });
            let lab = junio_lab::up(&options, &Terminal, &cancel).await?;
            for host in lab.hosts() {
                eprintln!("{} {}", host.name(), host.address());
            }
        }
        ["ssh", name, host, command @ ..] => {
            let lab = Lab::open(&name.parse::<LabName>()?).await?;
            let command: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
            let ended = lab.ssh(host, &command, false)?.status();
            let code = ended.ok().and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
            return Ok(ExitCode::from(code.unwrap_or(255)));
        }
        ["kubeconfig", name] => {
            eprintln!("{}", Lab::open(&name.parse::<LabName>()?).await?.kubeconfig().await?.display());
        }
        ["down", "--all"] => drop(junio_lab::down_all(&Terminal).await?),
        ["down", name] => junio_lab::down(&name.parse()?, &Terminal).await?,
        ["list"] => {
            for lab in junio_lab::list().await? {
                eprintln!("{lab:?}");
            }
        }
        _ => eprintln!(
            "up NAME HOSTS SUITE [BIN_DIR BUNDLE [cluster]] | ssh NAME HOST [COMMAND...] | kubeconfig NAME | down NAME|--all | list"
        ),
    }
    Ok(ExitCode::SUCCESS)
}
