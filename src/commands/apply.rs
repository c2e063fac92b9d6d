//! `apply -f FILE`: the hosts of a file become a cluster.

use std::path::PathBuf;

use junio_phases::fleet::{ApplyCluster, ControlPlaneHost, FleetHost, Marks, Way, apply_cluster};

use super::block_on;
use super::fleet::{finish, options};
use crate::cli::ApplyArgs;
use crate::error::CommandError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::prompter::Terminal;
use crate::reporter;
use crate::settings::fleet as settings;

pub fn run(args: ApplyArgs, printer: &Printer) -> Result<Exit, CommandError> {
    let cluster = settings::cluster(&args.filename)?;
    let ssh = settings::ssh(&args.flags, Some(&cluster.spec.ssh))?;
    let way = |host: &junio_api::config::fleet::HostSpec| -> Result<Way, CommandError> {
        if host.local { Ok(Way::This) } else { Ok(Way::Ssh(settings::target(&host.ssh)?)) }
    };
    let marks =
        |host: &junio_api::config::fleet::HostSpec| Marks { labels: host.labels.clone(), taints: host.taints.clone() };
    let mut control_plane = None;
    let mut workers = Vec::new();
    for host in &cluster.spec.hosts {
        let (title, way, marks) = (host.title().to_owned(), way(host)?, marks(host));
        if host.is_control_plane() {
            control_plane = Some(ControlPlaneHost { title, way, documents: cluster.init_documents(host), marks });
        } else {
            workers.push(FleetHost { title, way, join: cluster.join_document(host), marks: Some(marks) });
        }
    }
    let Some(control_plane) = control_plane else {
        return Err(CommandError::Usage("no host has the role control-plane".into()));
    };
    let wanted = ApplyCluster {
        control_plane,
        workers,
        kubeconfig: args.kubeconfig.unwrap_or_else(|| PathBuf::from(format!("{}.kubeconfig", cluster.metadata.name))),
        prune: args.prune,
        drain_timeout: args.drain_timeout.0,
    };
    let options = options(ssh, &args.flags, args.bundle, args.dry_run)?;
    let report = block_on(printer, async |cancel| {
        let reporter = reporter::of_fleet(args.output, printer);
        Ok(apply_cluster(&options, &wanted, reporter.as_ref(), &Terminal::new(printer), cancel).await?)
    })?;
    Ok(finish("ApplyReport", &report, args.output, printer))
}
