//! `--dry-run`: everything that would be written, in one flat directory, as kubeadm lays it out. Nothing else is changed.

use std::path::PathBuf;
use std::sync::Arc;

use junio_host::{Host, HostRead, Local, create_dir, write_atomic};
use junio_pki::{KeyPool, KubeconfigId, create_all, kubeconfig_files};

use crate::context::Context;
use crate::error::{Cause, PhaseError};
use crate::event::Outcome;
use crate::init::certs::blocking;
use crate::init::run::Finished;
use crate::phase_id::PhaseId;
use crate::render;

/// As kubeadm; tests use it too.
const VARIABLE: &str = "KUBEADM_INIT_DRYRUN_DIR";

pub(crate) async fn render(ctx: &Context<'_>) -> Result<Finished, PhaseError> {
    let directory = ctx
        .run
        .phase(PhaseId::Certs, async {
            let host = Local::new(ctx.changes.host.layout().clone());
            let directory = directory(&host).await?;
            ctx.run.line(PhaseId::Certs, format!("Rendering into {:?}", directory.display().to_string()));
            let (params, kubeconfigs, target) = (ctx.plan.pki.clone(), ctx.plan.kubeconfigs.clone(), directory.clone());
            let pool = Arc::new(KeyPool::start(params.algorithm, 16));
            let report = blocking(move || {
                let report = create_all(&params, &target, &pool)?;
                kubeconfig_files::create(&KubeconfigId::INIT, &kubeconfigs, &target, &target, &pool)?;
                Ok(report)
            })
            .await?;
            for (path, text) in render::everything(ctx.plan, &report.ca_pem, report.external_ca, &directory)? {
                write_atomic(&path, text.as_bytes(), 0o600)?;
            }
            Ok((directory, Outcome::Done))
        })
        .await?;
    Ok(Finished { dry_run_directory: Some(directory), ..Finished::default() })
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
