//! `kubeconfig user`: a client certificate signed by this host's CA, in a kubeconfig on stdout.

use std::path::Path;
use std::time::SystemTime;

use junio_api::config::{InitDocuments, defaults, load_init};
use junio_pki::kubeconfig_files::{KubeconfigParams, for_user};
use junio_pki::{KeyAlgorithm, KeyPool};

use crate::cli::{KubeconfigCommand, UserArgs};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::facts;
use crate::printer::Printer;
use crate::settings::Source;

pub fn run(command: KubeconfigCommand, printer: &Printer) -> Result<Exit, CommandError> {
    let KubeconfigCommand::User(args) = command;
    let documents = documents(args.config.as_deref())?;
    printer.out(&user(&args, &documents)?);
    Ok(Exit::Ok)
}

fn documents(config: Option<&Path>) -> Result<InitDocuments, CommandError> {
    let source = config.map(Source::read).transpose()?;
    let mut documents = match source {
        Some(source) => load_init(&source.text).map_err(|error| CommandError::Config { source_text: source, error })?.0,
        None => InitDocuments::default(),
    };
    defaults::apply(&mut documents, &facts::gather());
    Ok(documents)
}

fn user(args: &UserArgs, documents: &InitDocuments) -> Result<String, CommandError> {
    let cluster = &documents.cluster;
    let params = KubeconfigParams {
        cluster_name: cluster.cluster_name.clone(),
        node_name: documents.init.node_registration.name.clone(),
        endpoint_server: format!("https://{}", documents.endpoint()),
        local_server: format!("https://{}", documents.local_endpoint()),
        validity: args.validity_period.0,
        start: SystemTime::now(),
    };
    let algorithm: KeyAlgorithm =
        cluster.algorithm().name().parse().map_err(|e| CommandError::Usage(format!("{e}")))?;
    let pool = KeyPool::start(algorithm, 1);
    let config = for_user(&args.client_name, &args.org, &params, Path::new(&cluster.certificates_dir), &pool)?;
    Ok(config.to_yaml()?.expose().clone())
}
