//! `version`.

use junio_api::{versions, yaml};
use serde_json::json;

use super::pretty;
use crate::cli::VersionOutput;
use crate::error::CommandError;
use crate::exit::Exit;
use crate::printer::Printer;

pub fn run(output: VersionOutput, printer: &Printer) -> Result<Exit, CommandError> {
    let junioadm = env!("CARGO_PKG_VERSION");
    let value = json!({
        "junioadm": junioadm,
        "kubernetes": versions::KUBERNETES,
        "etcd": versions::ETCD,
        "coredns": versions::COREDNS,
        "flannel": versions::FLANNEL,
        "cniPlugins": versions::CNI_PLUGINS,
        "pause": versions::PAUSE,
        "dockerApiMin": versions::DOCKER_API_MIN,
    });
    printer.out(&match output {
        VersionOutput::Text => format!("junioadm {junioadm}, Kubernetes {}", versions::KUBERNETES),
        VersionOutput::Short => junioadm.to_owned(),
        VersionOutput::Json => pretty(&value),
        VersionOutput::Yaml => yaml::to_string(&value)?,
    });
    Ok(Exit::Ok)
}
