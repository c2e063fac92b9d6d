//! `init`, `init phase NAME`, `plan`, and the report at the end.

use std::path::PathBuf;

use junio_api::Layout;
use junio_phases::{InitOptions, InitReport, PhaseId};
use serde_json::json;

use super::{block_on, pretty, show_warnings};
use crate::cli::{ExtraArgs, InitArgs, InitCommand, InitSubcommand, PhaseFlags, PlanArgs, RunOutput};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::{reporter, settings};

pub fn run(command: InitCommand, printer: &Printer) -> Result<Exit, CommandError> {
    match command.phase {
        None => start(command.args, PhaseOptions::default(), printer),
        Some(InitSubcommand::Phase { command }) => {
            let PhaseFlags { args, extra_args, kubeconfig, kubeconfig_dir, print_manifest } = command.flags;
            let phase =
                PhaseOptions { only: Some(command.phase), extra_args, kubeconfig, kubeconfig_dir, print_manifest };
            start(args, phase, printer)
        }
    }
}

pub fn plan(args: PlanArgs, printer: &Printer) -> Result<Exit, CommandError> {
    start(InitArgs { flags: args.flags, dry_run: true, output: args.output }, PhaseOptions::default(), printer)
}

/// What only `init phase NAME` can be told.
#[derive(Default)]
struct PhaseOptions {
    only: Option<PhaseId>,
    extra_args: ExtraArgs,
    kubeconfig: Option<PathBuf>,
    kubeconfig_dir: Option<PathBuf>,
    print_manifest: bool,
}

fn start(args: InitArgs, phase: PhaseOptions, printer: &Printer) -> Result<Exit, CommandError> {
    let PhaseOptions { only, extra_args, kubeconfig, kubeconfig_dir, print_manifest } = phase;
    for flag in extra_args.given() {
        printer.err(&format!("warning: --{flag} is deprecated, use extraArgs of ClusterConfiguration"));
    }
    let settings = settings::init(&args.flags, &extra_args)?;
    show_warnings(&settings.warnings, args.output, printer);
    if only.is_none() && args.output == RunOutput::Text {
        printer.err(&format!("[init] Using Kubernetes version: {}", settings.documents.cluster.kubernetes_version));
    }
    let options = InitOptions {
        dry_run: args.dry_run || settings.documents.init.dry_run,
        documents: settings.documents,
        documents_from_file: settings.from_file,
        token_generated: settings.token_generated,
        skip: settings.skip,
        only,
        ignore_preflight_errors: settings.ignore_preflight_errors,
        layout: Layout::default(),
        bundle: args.flags.bundle,
        skip_token_print: args.flags.skip_token_print,
        upload_certs: args.flags.upload_certs,
        skip_certificate_key_print: args.flags.skip_certificate_key_print,
        kubeconfig,
        kubeconfig_dir,
        print_manifest,
    };
    let dry_run = options.dry_run;
    let show_key = !options.skip_certificate_key_print;
    let control_plane_joins = !options.documents.cluster.control_plane_endpoint.is_empty();
    let report = block_on(printer, async |cancel| {
        let reporter = reporter::new(args.output, printer);
        Ok(junio_phases::init(options, reporter.as_ref(), cancel).await?)
    })?;
    match args.output {
        RunOutput::Text if dry_run && report.dry_run_directory.is_none() => {
            printer.out("Nothing was changed. This phase writes no files.");
        }
        RunOutput::Text => printer.out(&text(&report, only, show_key, control_plane_joins)),
        RunOutput::Json => printer.out(&pretty(&to_json(&report, show_key))),
    }
    Ok(Exit::Ok)
}

fn text(report: &InitReport, only: Option<PhaseId>, show_key: bool, control_plane_joins: bool) -> String {
    if let Some(manifest) = &report.manifest {
        return manifest.trim_end().to_owned();
    }
    if let Some(directory) = &report.dry_run_directory {
        return format!("Nothing was changed. What would be written is in {}", directory.display());
    }
    let join = report.join.as_ref().map(junio_phases::JoinCommand::text);
    let key = report.certificate_key.as_ref().map(|key| if show_key { key.expose().as_str() } else { WITHHELD });
    if only.is_some() {
        // As with kubeadm the key is the last line, which is where scripts look for it.
        let key = key.filter(|_| show_key).map(|key| format!("[upload-certs] Using certificate key:\n{key}"));
        return key.or(join).unwrap_or_default();
    }
    let kubeconfig = report.kubeconfig.display();
    let head = if report.all_reused() {
        "Your Kubernetes control-plane is initialized already; nothing had to be done."
    } else {
        "Your Kubernetes control-plane has initialized successfully!"
    };
    let network = if report.network_installed {
        String::new()
    } else {
        "\nThe pod network was left out. The node becomes Ready when one is installed:\n\n  junioadm init phase addon flannel\n".into()
    };
    let join = join.map_or_else(String::new, |command| {
        format!(
            "\nThen you can join any number of worker nodes by running the following on each as root:\n\n{command}\n"
        )
    });
    let join = join + &uploaded(report, key, control_plane_joins);
    format!(
        "
{head}

To start using your cluster, you need to run the following as a regular user:

  mkdir -p $HOME/.kube
  sudo cp -i {kubeconfig} $HOME/.kube/config
  sudo chown $(id -u):$(id -g) $HOME/.kube/config

Alternatively, if you are the root user, you can run:

  export KUBECONFIG={kubeconfig}
{network}{join}
{} {} took {:.1} s
",
        report.node_name,
        report.kubernetes_version,
        report.elapsed.as_secs_f64()
    )
}

const WITHHELD: &str = "<value withheld>";

/// How a host joins as another control plane, where that is possible, and what the key is for.
fn uploaded(report: &InitReport, key: Option<&str>, control_plane_joins: bool) -> String {
    let Some(key) = key else { return String::new() };
    let command = report.join.as_ref().filter(|_| control_plane_joins).map_or_else(
        || format!("\nCertificate key: {key}\n"),
        |join| {
            format!(
                "\nAnother control plane joins by:\n\n{}\\\n\t--control-plane --certificate-key {key}\n",
                join.text()
            )
        },
    );
    format!(
        "{command}\nThe key opens the cluster's certificate authorities: keep it secret. What was uploaded goes away in two hours;\n\
         `junioadm init phase upload-certs --upload-certs` uploads it again.\n"
    )
}

fn to_json(report: &InitReport, show_key: bool) -> serde_json::Value {
    let timeline: Vec<_> = report
        .timeline
        .iter()
        .map(|timing| {
            json!({
                "phase": timing.phase,
                "outcome": timing.outcome,
                "startedMs": timing.started.as_millis() as u64,
                "elapsedMs": timing.elapsed.as_millis() as u64,
            })
        })
        .collect();
    let join = report.join.as_ref().map(|join| {
        json!({ "endpoint": join.endpoint, "token": join.token, "caCertHash": join.ca_cert_hash, "command": join.text() })
    });
    json!({
        "kind": "InitReport",
        "nodeName": report.node_name,
        "kubernetesVersion": report.kubernetes_version,
        "kubeconfig": report.kubeconfig,
        "join": join,
        "networkInstalled": report.network_installed,
        "reused": report.all_reused(),
        "certificateKey": report.certificate_key.as_ref().filter(|_| show_key).map(|key| key.expose()),
        "manifest": report.manifest,
        "dryRunDirectory": report.dry_run_directory,
        "elapsedMs": report.elapsed.as_millis() as u64,
        "timeline": timeline,
    })
}
