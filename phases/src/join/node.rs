//! Phases `images` and `kubelet-start` of a joining host: programs and images of the bundle, the kubelet's files, its service.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use junio_api::config::Arg;
use junio_bundle::Bundle;
use junio_host::{Facts, ServiceManager};
use junio_templates::kubelet_files::{self, KubeletFlags};
use junio_templates::patch::Target;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::cluster::Cluster;
use super::run::Joining;
use super::token_discovery::Found;
use crate::changes::Written;
use crate::context::{KUBELET_SERVICE, kubelet_service};
use crate::error::Cause;
use crate::init::images::{NODE_PROGRAMS, USER_PROGRAMS, load, programs};
use crate::init::kubelet_start::{Kubelet, sysctls};
use crate::journal::Change;
use crate::patches::{self, PatchesError};
use crate::phase_id::PhaseId;
use crate::plan;
use crate::render;

/// What goes onto the host, and where. Pure apart from the two addresses.
pub(crate) struct Files {
    /// Path, text, mode. All of it is new to a host that joins.
    pub(crate) all: Vec<(PathBuf, String, u32)>,
}

/// The files of a joining host. `facts` are its own.
pub(crate) fn files(join: &Joining<'_>, found: &Found, cluster: &Cluster, facts: &Facts) -> Result<Files, Cause> {
    let layout = join.changes.host.layout();
    let configuration = &join.options.documents.join;
    let node = &configuration.node_registration;
    let config = patched(join, plan::kubelet_config(&cluster.kubelet_config, &node.cri_socket, facts))?;
    let text = kubelet_files::config(&config, &Value::Object(Map::new())).map_err(Cause::other)?;
    let instance = kubelet_files::instance_config(&node.cri_socket).map_err(Cause::other)?;
    let differs = node.name != facts.hostname.trim().to_lowercase();
    let has = |name: &str| node.kubelet_extra_args.iter().any(|arg: &Arg| arg.name == name);
    let taints = node.taints.clone().unwrap_or_default();
    let flags = kubelet_files::flags_env(&KubeletFlags {
        hostname_override: (differs && !has("hostname-override")).then_some(node.name.as_str()),
        register_with_taints: if has("register-with-taints") { &[] } else { &taints },
        extra_args: &node.kubelet_extra_args,
    });
    let ca = layout.root().join(configuration.ca_cert_path.trim_start_matches('/'));
    let bootstrap = found.bootstrap.to_yaml().map_err(Cause::other)?;
    Ok(Files {
        all: vec![
            (ca, found.ca_pem.clone(), 0o644),
            (layout.bootstrap_kubelet_conf(), bootstrap.expose().clone(), 0o600),
            (layout.kubelet_instance_config(), instance, 0o644),
            (layout.kubelet_config(), text, 0o644),
            (layout.kubelet_flags_env(), flags, 0o644),
        ],
    })
}

/// The configuration after the patches of the directory that the user names; a worker has nothing else to patch.
fn patched(join: &Joining<'_>, config: Value) -> Result<Value, Cause> {
    const ID: PhaseId = PhaseId::KubeletStart;
    let patches = join.options.documents.join.patches.as_ref();
    let Some(directory) = patches.map(|patches| &patches.directory).filter(|directory| !directory.is_empty()) else {
        return Ok(config);
    };
    join.run.line_as(ID, "patches", format!("Reading patches from path {directory:?}"));
    let found = patches::read(Path::new(directory))?;
    if !found.files.is_empty() {
        join.run.line_as(ID, "patches", format!("Found the following patch files: [{}]", found.files.join(" ")));
    }
    for (name, reason) in &found.ignored {
        join.run.warn(ID, format!("patches: ignoring the file {name:?}: {reason}"));
    }
    Ok(found.patches.apply(Target::Kubelet, config).map_err(PatchesError::from)?)
}

/// Images that the node needs at once, and the programs that it runs; true when something was missing.
pub(crate) async fn install(join: &Joining<'_>, bundle: &Arc<Bundle>, images: &[String]) -> Result<bool, Cause> {
    let (loaded, installed) = tokio::try_join!(
        load(join.run, join.changes, bundle, images),
        programs(join.run, join.changes, bundle.clone(), NODE_PROGRAMS)
    )?;
    Ok(loaded || installed)
}

/// What nobody waits for.
pub(crate) async fn install_rest(join: &Joining<'_>, bundle: &Arc<Bundle>, images: &[String]) -> Result<(), Cause> {
    tokio::try_join!(
        load(join.run, join.changes, bundle, images),
        programs(join.run, join.changes, bundle.clone(), USER_PROGRAMS)
    )?;
    Ok(())
}

/// Everything but the start.
pub(crate) async fn write(join: &Joining<'_>, files: &Files) -> Result<(Sha256, bool), Cause> {
    const ID: PhaseId = PhaseId::KubeletStart;
    let layout = join.changes.host.layout();
    let ca_dir = files.all[0].0.parent().map(Into::into).unwrap_or_else(|| layout.pki_dir());
    let directories = [
        (layout.kubernetes_dir(), 0o755),
        (ca_dir, 0o755),
        (layout.manifests_dir(), 0o700),
        (layout.kubelet_dir(), 0o700),
        (layout.cni_conf_dir(), 0o755),
        (layout.pod_log_dir(), 0o755),
        (layout.container_log_dir(), 0o755),
    ];
    join.changes.directories(ID, &directories).await?;
    let mut fingerprint = Sha256::new();
    // The kubelet writes it when it has its certificate.
    join.changes.intend_absent(ID, &[layout.kubelet_conf()]).await?;
    for (path, text, mode) in &files.all {
        fingerprint.update(text);
        join.changes.write(ID, path, text.as_bytes(), *mode).await?;
        let what = match path.file_name().and_then(|name| name.to_str()) {
            Some("kubeadm-flags.env") => "kubelet environment file with flags",
            Some("config.yaml" | "instance-config.yaml") => "kubelet configuration",
            _ => continue,
        };
        join.run.line(ID, format!("Writing {what} to file {:?}", path.display().to_string()));
    }
    join.changes.remember_traces(ID).await?;
    sysctls(join.run, join.changes)?;
    join.changes.intend(ID, Change::Service { name: KUBELET_SERVICE.to_owned() })?;
    let mut reloaded = false;
    if join.services == ServiceManager::Systemd {
        let unit = render::unit(layout)?;
        fingerprint.update(&unit);
        if join.changes.write(ID, &layout.kubelet_unit(), unit.as_bytes(), 0o644).await? != Written::Unchanged {
            join.services.reload(join.changes.host).await?;
            reloaded = true;
        }
    }
    Ok((fingerprint, reloaded))
}

/// The kubelet of this host.
pub(crate) fn kubelet<'a>(join: &'a Joining<'a>) -> Kubelet<'a> {
    Kubelet {
        run: join.run,
        changes: join.changes,
        services: join.services,
        service: kubelet_service(join.changes.host.layout()),
        node: &join.options.documents.join.node_registration.name,
    }
}
