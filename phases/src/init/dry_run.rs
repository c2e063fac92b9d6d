//! `--dry-run`: everything that would be written, in one flat directory, as kubeadm lays it out. Nothing else is changed.
//! Of one phase alone, only its own files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use junio_host::{Host, HostRead, Local, create_dir, write_atomic};
use junio_pki::{
    CertId, KeyPool, PkiError, create_all, create_one, create_service_account_keys, kubeconfig_files, verify,
};

use crate::context::Context;
use crate::error::{Cause, PhaseError};
use crate::event::Outcome;
use crate::init::certs::{self, blocking};
use crate::init::kubeconfig;
use crate::init::run::Finished;
use crate::phase_id::PhaseId;
use crate::render;

/// As kubeadm; tests use it too.
const VARIABLE: &str = "KUBEADM_INIT_DRYRUN_DIR";

pub(crate) async fn render(ctx: &Context<'_>) -> Result<Finished, PhaseError> {
    let phase = ctx.options.only.unwrap_or(PhaseId::Certs);
    let written = ctx
        .run
        .phase(phase, async {
            let host = Local::new(ctx.changes.host.layout().clone());
            let directory = directory(&host).await?;
            ctx.run.line(phase, format!("Rendering into {:?}", directory.display().to_string()));
            let (ca_pem, external_ca) = certificates(ctx, &directory).await?;
            for (path, text) in
                render::everything(ctx.plan, &ca_pem, external_ca, &directory, |phase| ctx.wants(phase))?
            {
                write_atomic(&path, text.as_bytes(), 0o600)?;
            }
            let empty = std::fs::read_dir(&directory).is_ok_and(|mut entries| entries.next().is_none());
            if empty && std::env::var_os(VARIABLE).is_none() {
                std::fs::remove_dir(&directory).ok();
            }
            Ok(((!empty).then_some(directory), Outcome::Done))
        })
        .await?;
    Ok(Finished { dry_run_directory: written, ..Finished::default() })
}

/// Makes the wanted certificates and kubeconfigs. Returns the CA's certificate for what embeds it, and whether its key is
/// somebody else's.
async fn certificates(ctx: &Context<'_>, directory: &Path) -> Result<(String, bool), Cause> {
    let (wanted, keys) = certs::wanted(ctx);
    let files = kubeconfig::wanted(ctx);
    let external = verify::is_external(CertId::Ca, &ctx.plan.pki_dir).map_err(Cause::other)?;
    if wanted.is_empty() && !keys && files.is_empty() && !ctx.wants(PhaseId::BootstrapToken) {
        return Ok((String::new(), external));
    }
    let whole = ctx.options.only.is_none();
    let (params, kubeconfigs) = (ctx.plan.pki.clone(), ctx.plan.kubeconfigs.clone());
    let (source, target) = (ctx.plan.pki_dir.clone(), directory.to_owned());
    blocking(move || {
        let pool = Arc::new(KeyPool::start(params.algorithm, if whole { 16 } else { 1 }));
        if whole {
            let report = create_all(&params, &target, &pool)?;
            kubeconfig_files::create(&files, &kubeconfigs, &target, &target, &pool)?;
            return Ok((report.ca_pem, report.external_ca));
        }
        // One phase alone starts from the authorities of this host; without any it makes its own.
        let authorities = [CertId::Ca, CertId::FrontProxyCa, CertId::EtcdCa];
        for id in authorities {
            let local = params.local_etcd || !id.belongs_to_local_etcd();
            if local && !copy(id, &source, &target)? {
                create_one(id, &params, &target, &pool)?;
            }
        }
        for id in wanted.into_iter().filter(|id| !authorities.contains(id)) {
            create_one(id, &params, &target, &pool)?;
        }
        if keys {
            create_service_account_keys(&target, &pool)?;
        }
        kubeconfig_files::create(&files, &kubeconfigs, &target, &target, &pool)?;
        let path = target.join("ca.crt");
        let ca_pem = std::fs::read_to_string(&path).map_err(|source| PkiError::Read { path, source })?;
        Ok((ca_pem, external))
    })
    .await
}

/// Copies an authority into the directory; false when there is none.
fn copy(id: CertId, source: &Path, target: &Path) -> Result<bool, PkiError> {
    let stem = id.spec().stem;
    for (extension, mode) in [("crt", 0o644), ("key", 0o600)] {
        let path = source.join(format!("{stem}.{extension}"));
        match std::fs::read(&path) {
            Ok(content) => {
                let copy = target.join(format!("{stem}.{extension}"));
                let failed = |source| PkiError::Read { path: path.clone(), source };
                std::fs::create_dir_all(copy.parent().unwrap_or(target)).map_err(failed)?;
                write_atomic(&copy, &content, mode).map_err(|e| failed(std::io::Error::other(e)))?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && extension == "crt" => return Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(PkiError::Read { path, source }),
        }
    }
    Ok(true)
}

async fn directory(host: &Local) -> Result<PathBuf, Cause> {
    if let Some(given) = std::env::var_os(VARIABLE) {
        let path = PathBuf::from(given);
        create_dir(&path, 0o700)?;
        return Ok(path);
    }
    let parent = host.layout().tmp_dir();
    host.create_dir(&parent, 0o700).await?;
    let name =
        format!("junioadm-init-dryrun-{}-{}", jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ"), std::process::id());
    let path = parent.join(name);
    host.create_dir(&path, 0o700).await?;
    Ok(path)
}
