//! What `apply`, `join --ssh` and `reset --ssh` have in common, and the table at their end.

use std::path::{Path, PathBuf};

use junio_api::Layout;
use junio_api::config::JoinConfiguration;
use junio_host::ssh::Settings;
use junio_phases::fleet::{
    FleetHost, FleetOptions, FleetReport, HostReport, HostResult, JoinHosts, ResetHosts, join_hosts, reset_hosts,
};
use serde_json::json;

use super::{block_on, pretty, table};
use crate::cli::{JoinArgs, ResetArgs, RunOutput, SshFlags};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::prompter::Terminal;
use crate::reporter;
use crate::settings::fleet;

/// Hosts at work at the same time, unless it is said.
const PARALLEL: u16 = 10;

pub fn options(ssh: Settings, flags: &SshFlags, bundle: PathBuf, dry_run: bool) -> Result<FleetOptions, CommandError> {
    let running = |source| CommandError::Read { path: "/proc/self/exe".into(), source };
    let junioadm = std::env::current_exe().map_err(running)?;
    let parallel = usize::from(flags.parallel.unwrap_or(PARALLEL));
    Ok(FleetOptions { ssh, parallel, bundle, junioadm, dry_run })
}

/// `join --ssh`.
pub fn join(args: JoinArgs, printer: &Printer) -> Result<Exit, CommandError> {
    let join = fleet::join(&args)?;
    let ssh = fleet::ssh(&args.remote.flags, None)?;
    let targets = fleet::targets(&args.remote.ssh)?;
    if targets.len() > 1 && !join.node_registration.name.is_empty() {
        return Err(CommandError::Usage("--node-name names one host, and there are several".into()));
    }
    let hosts = targets.into_iter().map(|target| FleetHost::new(target, join.clone())).collect();
    let options = options(ssh, &args.remote.flags, args.bundle, args.dry_run)?;
    let kubeconfig = args.remote.kubeconfig.unwrap_or_else(find_kubeconfig);
    let wanted = JoinHosts { hosts, kubeconfig };
    let report = block_on(printer, async |cancel| {
        let reporter = reporter::of_fleet(args.output, printer);
        Ok(join_hosts(&options, &wanted, reporter.as_ref(), &Terminal::new(printer), cancel).await?)
    })?;
    Ok(finish("JoinReport", &report, args.output, printer))
}

/// `reset --ssh`.
pub fn reset(args: ResetArgs, printer: &Printer) -> Result<Exit, CommandError> {
    if args.config.is_some() {
        return Err(CommandError::Usage("--config is for this host; with --ssh say it by flags".into()));
    }
    let hosts = fleet::targets(&args.remote.ssh)?;
    let mut arguments = Vec::new();
    let mut pass = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
    if let Some(directory) = args.cert_dir {
        pass("--cert-dir", directory);
    }
    if let Some(socket) = args.cri_socket {
        pass("--cri-socket", socket);
    }
    for name in args.ignore_preflight_errors {
        pass("--ignore-preflight-errors", name);
    }
    for name in args.skip_phases {
        pass("--skip-phases", name);
    }
    if args.cleanup_tmp_dir {
        arguments.push("--cleanup-tmp-dir".to_owned());
    }
    let given = args.remote.kubeconfig.is_some();
    let kubeconfig = Some(args.remote.kubeconfig.unwrap_or_else(find_kubeconfig)).filter(|path| given || path.exists());
    if !args.force && !args.dry_run {
        let names: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        super::reset::ask(&format!("on {}", names.join(", ")), printer)?;
    }
    let ssh = fleet::ssh(&args.remote.flags, None)?;
    let options = options(ssh, &args.remote.flags, args.bundle, args.dry_run)?;
    let wanted = ResetHosts { hosts, kubeconfig, arguments };
    let report = block_on(printer, async |cancel| {
        let reporter = reporter::of_fleet(args.output, printer);
        Ok(reset_hosts(&options, &wanted, reporter.as_ref(), &Terminal::new(printer), cancel).await?)
    })?;
    Ok(finish("ResetReport", &report, args.output, printer))
}

/// Where kubectl would look, then the administrator's own file.
pub fn find_kubeconfig() -> PathBuf {
    let from_environment = std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty()).map(PathBuf::from);
    let of_user =
        std::env::var_os("HOME").map(|home| Path::new(&home).join(".kube/config")).filter(|path| path.exists());
    from_environment.or(of_user).unwrap_or_else(|| Layout::default().admin_conf())
}

/// Shows the report and says how the run ended.
pub fn finish(kind: &str, report: &FleetReport, output: RunOutput, printer: &Printer) -> Exit {
    match output {
        RunOutput::Json => {
            let mut value = json!(report);
            value["kind"] = json!(kind);
            printer.out(&pretty(&value));
        }
        RunOutput::Text => {
            printer.out(&text(report));
            for host in report.failed() {
                printer.err(&failure(host));
            }
        }
    }
    if report.interrupted() {
        Exit::Interrupted
    } else if report.failed().next().is_some() {
        Exit::SomeHosts
    } else {
        Exit::Ok
    }
}

fn text(report: &FleetReport) -> String {
    let rows: Vec<Vec<String>> = report.hosts.iter().map(cells).collect();
    let mut text = format!("\n{}", table::render(&["HOST", "NODE", "RESULT", "SECONDS", "SENT", "ERROR"], &rows));
    for host in &report.hosts {
        for line in host.planned.iter().chain(&host.notes) {
            text += &format!("{}: {line}\n", host.host);
        }
    }
    if !report.not_in_file.is_empty() {
        let nodes = report.not_in_file.join(", ");
        text +=
            &format!("\nNodes that are not in the file, and were left as they are (--prune takes them out): {nodes}\n");
    }
    let failed = report.failed().count();
    let seconds = report.elapsed.as_secs_f64();
    let head = match failed {
        0 if report.hosts.iter().any(|host| host.result == HostResult::Planned) => "Nothing was changed.".to_owned(),
        0 if report.all_already() => format!("Nothing had to be done ({seconds:.1} s)."),
        0 if report.hosts.len() == 1 => format!("1 host took {seconds:.1} s."),
        0 => format!("{} hosts took {seconds:.1} s.", report.hosts.len()),
        failed => format!("{failed} of {} hosts failed; the others are done ({seconds:.1} s).", report.hosts.len()),
    };
    text += &format!("\n{head}\n");
    if let Some(path) =
        report.kubeconfig.as_ref().filter(|_| report.hosts.iter().any(|h| h.result == HostResult::Initialized))
    {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        text += &format!("\n  export KUBECONFIG={}\n  kubectl get nodes\n", path.display());
    }
    text
}

fn cells(host: &HostReport) -> Vec<String> {
    let error = host.error.as_ref().map(|error| format!("{}: {}", error.code, first_line(&error.message)));
    vec![
        host.host.clone(),
        host.node_name.clone().unwrap_or_else(|| "-".to_owned()),
        host.result.word().to_owned(),
        format!("{:.1}", host.elapsed.as_secs_f64()),
        amount(host.bytes_sent),
        error.unwrap_or_default(),
    ]
}

fn amount(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        1..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// A host's error in full.
fn failure(host: &HostReport) -> String {
    let Some(error) = &host.error else { return String::new() };
    let mut text = format!("\nerror: {}: {}\n", host.host, error.message);
    for problem in &error.problems {
        text += &format!("  {problem}\n");
    }
    text += &format!("  code: {} (`junioadm explain {0}` tells more)\n", error.code);
    if let Some(why) = &error.why {
        text += &format!("  why:  {why}\n");
    }
    if let Some(next) = &error.next {
        text += &format!("  next: {next}\n");
    }
    text
}

/// A host of a lab; it is called by its name and reached by its address.
pub fn lab_host(name: &str, address: &str) -> Result<FleetHost, CommandError> {
    let mut join = JoinConfiguration::default();
    join.node_registration.name = name.to_owned();
    let host = FleetHost::new(fleet::target(&format!("root@{address}"))?, join).with_kubelet_arg("node-ip", address);
    Ok(FleetHost { title: name.to_owned(), ..host })
}
