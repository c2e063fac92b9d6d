//! Flags and configuration file become one defaulted and validated set of documents.

pub mod fleet;

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use junio_api::config::join::{BootstrapTokenDiscovery, FileDiscovery};
use junio_api::config::{
    BootstrapToken, FieldError, InitDocuments, JoinDocuments, ResetConfiguration, Warning, common::Patches, defaults,
    load_init, load_join, load_reset, validate, validate::validate_reset, validate_join,
};
use junio_phases::{PhaseId, UnknownPhase};

use crate::cli::{ExtraArgs, InitFlags, JoinArgs, ResetArgs};
use crate::error::CommandError;
use crate::facts;

/// A configuration text and what to call it.
#[derive(Debug, Clone)]
pub struct Source {
    pub name: String,
    pub text: String,
}

impl Source {
    /// Reads a file, or standard input for `-`.
    pub fn read(path: &Path) -> Result<Self, CommandError> {
        let read = if path == Path::new("-") {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        } else {
            std::fs::read_to_string(path)
        };
        let text = read.map_err(|source| CommandError::Read { path: path.to_owned(), source })?;
        Ok(Self { name: path.display().to_string(), text })
    }
}

/// What `init` and its relatives run with.
#[derive(Debug)]
pub struct InitSettings {
    pub documents: InitDocuments,
    pub from_file: bool,
    /// The user named no token.
    pub token_generated: bool,
    pub skip: Vec<PhaseId>,
    pub ignore_preflight_errors: BTreeSet<String>,
    pub warnings: Vec<Warning>,
}

/// Reads the file if there is one, lays the flags over it, applies defaults, validates.
pub fn init(flags: &InitFlags, extra_args: &ExtraArgs) -> Result<InitSettings, CommandError> {
    let source = flags.config.as_deref().map(Source::read).transpose()?;
    let (mut documents, mut warnings) = match &source {
        Some(source) => {
            refuse_mixed(&[flags.excluded_by_config(), extra_args.given()].concat())?;
            load_init(&source.text).map_err(|error| CommandError::Config { source_text: source.clone(), error })?
        }
        None => Default::default(),
    };
    lay_over(&mut documents, flags);
    let ExtraArgs { apiserver_extra_args, controller_manager_extra_args, scheduler_extra_args } = extra_args.clone();
    documents.cluster.api_server.extra_args.extend(apiserver_extra_args);
    documents.cluster.controller_manager.extra_args.extend(controller_manager_extra_args);
    documents.cluster.scheduler.extra_args.extend(scheduler_extra_args);
    let token_generated = documents.init.bootstrap_tokens.iter().all(|token| token.token.is_none());
    let skip_names = if flags.skip_phases.is_empty() { &documents.init.skip_phases } else { &flags.skip_phases };
    let skip = phases(skip_names, PhaseId::INIT_NAMES)?;
    if documents.cluster.networking.pod_subnet.is_empty()
        && !skip.iter().any(|phase| phase.covers(PhaseId::AddonFlannel))
    {
        documents.cluster.networking.pod_subnet = defaults::POD_SUBNET.into();
    }
    warnings.extend(defaults::apply(&mut documents, &facts::gather()));
    refuse_invalid(validate(&documents), source)?;
    let ignore_preflight_errors =
        ignored(&flags.ignore_preflight_errors, &documents.init.node_registration.ignore_preflight_errors)?;
    Ok(InitSettings {
        documents,
        from_file: flags.config.is_some(),
        token_generated,
        skip,
        ignore_preflight_errors,
        warnings,
    })
}

/// The tokens of an InitConfiguration, defaulted and valid, for `token create --config`.
pub fn bootstrap_tokens(path: &Path, excluded: &[&str]) -> Result<Vec<BootstrapToken>, CommandError> {
    refuse_mixed(excluded)?;
    let source = Source::read(path)?;
    let (mut documents, _) =
        load_init(&source.text).map_err(|error| CommandError::Config { source_text: source.clone(), error })?;
    defaults::apply(&mut documents, &facts::gather());
    let problems = validate(&documents).into_iter().filter(|problem| problem.path.starts_with("bootstrapTokens"));
    refuse_invalid(problems.collect(), Some(source))?;
    Ok(documents.init.bootstrap_tokens)
}

/// What `join` runs with.
#[derive(Debug)]
pub struct JoinSettings {
    pub documents: JoinDocuments,
    pub skip: Vec<PhaseId>,
    pub ignore_preflight_errors: BTreeSet<String>,
    pub warnings: Vec<Warning>,
}

/// The same for `join`. `only` is the phase that is run alone.
pub fn join(args: &JoinArgs, only: Option<PhaseId>) -> Result<JoinSettings, CommandError> {
    let source = args.config.as_deref().map(Source::read).transpose()?;
    let mut documents = match &source {
        Some(source) => {
            refuse_mixed(&args.excluded_by_config())?;
            load_join(&source.text).map_err(|error| CommandError::Config { source_text: source.clone(), error })?
        }
        None => JoinDocuments::default(),
    };
    lay_over_join(&mut documents, args);
    let warnings = defaults::apply_join(&mut documents, &facts::gather());
    let discovery = &documents.join.discovery;
    let discovers = match only {
        Some(PhaseId::Preflight | PhaseId::KubeletWaitBootstrap | PhaseId::Verify) => false,
        // Without a cluster, the images of a default one are loaded: a host may be prepared before its cluster exists.
        Some(PhaseId::Images) => discovery.bootstrap_token.is_some() || discovery.file.is_some(),
        _ => true,
    };
    refuse_invalid(validate_join(&documents, discovers), source)?;
    let skip_names = if args.skip_phases.is_empty() { &documents.join.skip_phases } else { &args.skip_phases };
    let skip = phases(skip_names, PhaseId::JOIN_NAMES)?;
    let ignore_preflight_errors =
        ignored(&args.ignore_preflight_errors, &documents.join.node_registration.ignore_preflight_errors)?;
    Ok(JoinSettings { documents, skip, ignore_preflight_errors, warnings })
}

fn lay_over_join(documents: &mut JoinDocuments, args: &JoinArgs) {
    let join = &mut documents.join;
    join.dry_run |= args.dry_run;
    set(&mut join.node_registration.name, args.node_name.as_ref());
    set(&mut join.node_registration.cri_socket, args.cri_socket.as_ref());
    if let Some(directory) = &args.patches {
        join.patches = Some(Patches { directory: directory.clone() });
    }
    if let Some(file) = &args.discovery_file {
        join.discovery.file = Some(FileDiscovery { kube_config_path: file.clone() });
    }
    let by_token = args.endpoint.is_some()
        || args.discovery_token.is_some()
        || !args.discovery_token_ca_cert_hash.is_empty()
        || args.discovery_token_unsafe_skip_ca_verification;
    // As with kubeadm: beside a file, --token is the one for the certificate only.
    if by_token || (args.token.is_some() && args.discovery_file.is_none()) {
        join.discovery.bootstrap_token = Some(BootstrapTokenDiscovery {
            token: args.discovery_token.clone().or_else(|| args.token.clone()),
            api_server_endpoint: args.endpoint.clone().unwrap_or_default(),
            ca_cert_hashes: args.discovery_token_ca_cert_hash.clone(),
            unsafe_skip_ca_verification: args.discovery_token_unsafe_skip_ca_verification,
        });
    }
    if let Some(token) = args.tls_bootstrap_token.as_ref().or(args.token.as_ref()) {
        join.discovery.tls_bootstrap_token = Some(token.clone());
    }
}

/// What `reset` runs with.
#[derive(Debug)]
pub struct ResetSettings {
    pub configuration: ResetConfiguration,
    pub skip: Vec<PhaseId>,
    pub ignore_preflight_errors: BTreeSet<String>,
    pub warnings: Vec<Warning>,
}

/// The same for `reset`.
pub fn reset(args: &ResetArgs) -> Result<ResetSettings, CommandError> {
    let source = args.config.as_deref().map(Source::read).transpose()?;
    let mut configuration = match &source {
        Some(source) => {
            refuse_mixed(&args.excluded_by_config())?;
            load_reset(&source.text).map_err(|error| CommandError::Config { source_text: source.clone(), error })?
        }
        None => ResetConfiguration::default(),
    };
    set(&mut configuration.certificates_dir, args.cert_dir.as_ref());
    set(&mut configuration.cri_socket, args.cri_socket.as_ref());
    configuration.cleanup_tmp_dir |= args.cleanup_tmp_dir;
    configuration.dry_run |= args.dry_run;
    configuration.force |= args.force;
    let warnings = defaults::apply_reset(&mut configuration);
    refuse_invalid(validate_reset(&configuration), source)?;
    let skip_names = if args.skip_phases.is_empty() { &configuration.skip_phases } else { &args.skip_phases };
    let skip = phases(skip_names, PhaseId::RESET_ORDER)?;
    let ignore_preflight_errors = ignored(&args.ignore_preflight_errors, &configuration.ignore_preflight_errors)?;
    Ok(ResetSettings { configuration, skip, ignore_preflight_errors, warnings })
}

/// A phase by name, out of those that this command has.
pub fn phase(name: &str, known: &[PhaseId]) -> Result<PhaseId, CommandError> {
    let phase = PhaseId::parse(name)?;
    if known.contains(&phase) { Ok(phase) } else { Err(UnknownPhase(name.to_owned()).into()) }
}

fn phases(names: &[String], known: &[PhaseId]) -> Result<Vec<PhaseId>, CommandError> {
    names.iter().map(|name| phase(name, known)).collect()
}

fn refuse_mixed(excluded: &[&str]) -> Result<(), CommandError> {
    if excluded.is_empty() {
        return Ok(());
    }
    Err(CommandError::Usage(format!("can not mix '--config' with arguments [{}]", excluded.join(" "))))
}

fn refuse_invalid(problems: Vec<FieldError>, source_text: Option<Source>) -> Result<(), CommandError> {
    if problems.is_empty() { Ok(()) } else { Err(CommandError::Invalid { source_text, problems }) }
}

/// Names from flags and file together, in lower case; `all` stands alone.
fn ignored(flags: &[String], file: &[String]) -> Result<BTreeSet<String>, CommandError> {
    let names: BTreeSet<String> = flags.iter().chain(file).map(|name| name.trim().to_lowercase()).collect();
    if names.contains("all") && names.len() > 1 {
        return Err(CommandError::Usage("--ignore-preflight-errors: `all` must stand alone".into()));
    }
    Ok(names)
}

fn set(field: &mut String, flag: Option<&String>) {
    if let Some(value) = flag {
        field.clone_from(value);
    }
}

fn lay_over(documents: &mut InitDocuments, flags: &InitFlags) {
    let InitDocuments { init, cluster, .. } = documents;
    set(&mut init.local_api_endpoint.advertise_address, flags.apiserver_advertise_address.as_ref());
    if let Some(port) = flags.apiserver_bind_port {
        init.local_api_endpoint.bind_port = port;
    }
    set(&mut init.node_registration.name, flags.node_name.as_ref());
    set(&mut init.node_registration.cri_socket, flags.cri_socket.as_ref());
    set(&mut init.certificate_key, flags.certificate_key.as_ref());
    if let Some(directory) = &flags.patches {
        init.patches = Some(Patches { directory: directory.clone() });
    }
    if flags.token.is_some() || flags.token_ttl.is_some() {
        if init.bootstrap_tokens.is_empty() {
            init.bootstrap_tokens.push(Default::default());
        }
        init.bootstrap_tokens[0].token.clone_from(&flags.token);
        init.bootstrap_tokens[0].ttl = flags.token_ttl;
    }
    cluster.api_server.cert_sans.extend(flags.apiserver_cert_extra_sans.iter().cloned());
    cluster.feature_gates.extend(flags.feature_gates.iter().cloned());
    set(&mut cluster.certificates_dir, flags.cert_dir.as_ref());
    set(&mut cluster.control_plane_endpoint, flags.control_plane_endpoint.as_ref());
    set(&mut cluster.image_repository, flags.image_repository.as_ref());
    set(&mut cluster.kubernetes_version, flags.kubernetes_version.as_ref());
    set(&mut cluster.networking.pod_subnet, flags.pod_network_cidr.as_ref());
    set(&mut cluster.networking.service_subnet, flags.service_cidr.as_ref());
    set(&mut cluster.networking.dns_domain, flags.service_dns_domain.as_ref());
}
