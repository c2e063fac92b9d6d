//! `config print`, `validate`, `migrate`, `images list`. None needs root, a bundle or a cluster.

use std::path::Path;

use junio_api::config::component::{kube_proxy_configuration, kubelet_configuration};
use junio_api::config::{
    ClusterConfiguration, Documents, HostFacts, InitDocuments, defaults, emit, load, load_fleet, samples, validate,
    validate::validate_reset, validate_fleet,
};
use junio_api::images::{DEFAULT_REPOSITORY, Image};
use junio_api::yaml;
use serde_json::json;

use super::{migrate, pretty};
use crate::cli::{ComponentKind, ConfigCommand, DefaultsKind, ImagesCommand, ListOutput};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::facts;
use crate::printer::Printer;
use crate::settings::{self, Source};

pub fn run(command: ConfigCommand, printer: &Printer) -> Result<Exit, CommandError> {
    match command {
        ConfigCommand::Print { kind, component_configs } => printer.out(&print(kind, &component_configs)?),
        ConfigCommand::Validate { config } => {
            check(&config, printer)?;
            printer.out("ok");
        }
        ConfigCommand::Migrate { old_config, new_config } => migrate::run(&old_config, new_config.as_deref(), printer)?,
        ConfigCommand::Images(ImagesCommand::List { config, image_repository, output }) => {
            printer.out(&images(config.as_deref(), image_repository, output)?);
        }
    }
    Ok(Exit::Ok)
}

fn print(kind: DefaultsKind, components: &[ComponentKind]) -> Result<String, CommandError> {
    if kind != DefaultsKind::Init && !components.is_empty() {
        return Err(CommandError::Usage("--component-configs goes with init-defaults only".into()));
    }
    let documents = match kind {
        DefaultsKind::Init => Documents::from(samples::init()),
        DefaultsKind::Join => Documents { join: Some(samples::join(&facts::hostname()).join), ..Documents::default() },
        DefaultsKind::Reset => Documents { reset: Some(samples::reset()), ..Documents::default() },
        DefaultsKind::Upgrade => Documents { upgrade: Some(samples::upgrade()), ..Documents::default() },
        DefaultsKind::Cluster => Documents { fleet: Some(samples::fleet()), ..Documents::default() },
    };
    let mut values = documents.to_values()?;
    let InitDocuments { init, cluster, .. } = samples::init();
    if components.contains(&ComponentKind::Kubelet) {
        values.push(kubelet_configuration(&cluster, None, "systemd"));
    }
    if components.contains(&ComponentKind::KubeProxy) {
        values.push(kube_proxy_configuration(&init, &cluster, None));
    }
    Ok(emit::to_multi_yaml(&values)?)
}

/// Finds every mistake that `init`, `join`, `reset` or `apply` would find.
fn check(path: &Path, printer: &Printer) -> Result<(), CommandError> {
    let source = Source::read(path)?;
    let documents = read(&source)?;
    let facts = HostFacts {
        // A file may leave address and name to the host that it is used on.
        default_address: facts::gather().default_address.or_else(|| "192.0.2.1".parse().ok()),
        ..facts::gather()
    };
    if let Some(fleet) = &documents.fleet {
        load_fleet(&source.text).map_err(|error| CommandError::Config { source_text: source.clone(), error })?;
        let problems = validate_fleet(fleet, &source.text, &settings::fleet::any_host());
        return if problems.is_empty() {
            Ok(())
        } else {
            Err(CommandError::Invalid { source_text: Some(source), problems })
        };
    }
    let mut init = InitDocuments {
        init: documents.init.unwrap_or_default(),
        cluster: documents.cluster.unwrap_or_default(),
        kubelet: documents.kubelet,
        kube_proxy: documents.kube_proxy,
    };
    let mut warnings = defaults::apply(&mut init, &facts);
    let mut problems = validate(&init);
    if let Some(mut reset) = documents.reset {
        warnings.extend(defaults::apply_reset(&mut reset));
        problems.extend(validate_reset(&reset));
    }
    super::show_warnings(&warnings, crate::cli::RunOutput::Text, printer);
    if problems.is_empty() { Ok(()) } else { Err(CommandError::Invalid { source_text: Some(source), problems }) }
}

fn read(source: &Source) -> Result<Documents, CommandError> {
    load(&source.text).map_err(|error| CommandError::Config { source_text: source.clone(), error })
}

fn images(config: Option<&Path>, repository: Option<String>, output: ListOutput) -> Result<String, CommandError> {
    let cluster = match config {
        Some(path) => read(&Source::read(path)?)?.cluster.unwrap_or_default(),
        None => ClusterConfiguration::default(),
    };
    let configured = Some(cluster.image_repository.clone()).filter(|name| !name.is_empty());
    // As in kubeadm, the file wins over the flag.
    let repository = configured.or(repository).unwrap_or_else(|| DEFAULT_REPOSITORY.to_owned());
    let images: Vec<String> = Image::ALL
        .into_iter()
        .filter(|image| *image != Image::Etcd || cluster.etcd.external.is_none())
        .map(|image| image.reference(&repository))
        .collect();
    let value = json!({ "apiVersion": "output.kubeadm.k8s.io/v1alpha3", "kind": "Images", "images": images });
    Ok(match output {
        ListOutput::Text => images.join("\n"),
        ListOutput::Json => pretty(&value),
        ListOutput::Yaml => yaml::to_string(&value)?,
    })
}
