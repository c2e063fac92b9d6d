//! Phase `certs`: the PKI directory. Existing pairs that fit are reused; what differs stops the run before the first write.

use std::path::Path;

use junio_pki::cert_list::SanKind;
use junio_pki::{CERTIFICATES, CertId, FileOutcome, PkiError, create_all, create_one, create_service_account_keys};

use crate::context::Context;
use crate::error::{Cause, PhaseError};
use crate::phase_id::PhaseId;
use crate::run::done_if;

/// What later phases need of the certificates; never a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificates {
    /// `sha256:HEX` of the cluster CA's public key.
    pub(crate) ca_pin: String,
    pub(crate) ca_pem: String,
    /// There is no `ca.key`: nothing can be signed here.
    pub(crate) external_ca: bool,
}

/// The phase of each certificate.
const MEMBERS: [(PhaseId, CertId); 10] = [
    (PhaseId::CertsCa, CertId::Ca),
    (PhaseId::CertsApiserver, CertId::ApiServer),
    (PhaseId::CertsApiserverKubeletClient, CertId::ApiServerKubeletClient),
    (PhaseId::CertsFrontProxyCa, CertId::FrontProxyCa),
    (PhaseId::CertsFrontProxyClient, CertId::FrontProxyClient),
    (PhaseId::CertsEtcdCa, CertId::EtcdCa),
    (PhaseId::CertsEtcdServer, CertId::EtcdServer),
    (PhaseId::CertsEtcdPeer, CertId::EtcdPeer),
    (PhaseId::CertsEtcdHealthcheckClient, CertId::EtcdHealthcheckClient),
    (PhaseId::CertsApiserverEtcdClient, CertId::ApiServerEtcdClient),
];

/// The certificates that this run is to make, and whether the service account key pair too.
pub(crate) fn wanted(ctx: &Context<'_>) -> (Vec<CertId>, bool) {
    let local_etcd = ctx.plan.pki.local_etcd;
    let members = MEMBERS.into_iter().filter(|(_, id)| local_etcd || !id.belongs_to_local_etcd());
    (members.filter(|(phase, _)| ctx.wants(*phase)).map(|(_, id)| id).collect(), ctx.wants(PhaseId::CertsSa))
}

/// Files of the directory that a run may write.
pub(crate) fn files(pki_dir: &Path, local_etcd: bool) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = CERTIFICATES
        .iter()
        .filter(|spec| local_etcd || !spec.id.belongs_to_local_etcd())
        .flat_map(|spec| [pki_dir.join(format!("{}.key", spec.stem)), pki_dir.join(format!("{}.crt", spec.stem))])
        .collect();
    files.extend([pki_dir.join("sa.key"), pki_dir.join("sa.pub")]);
    files
}

/// Makes what is missing and returns what is there then.
pub(crate) async fn certs(ctx: &Context<'_>) -> Result<Certificates, PhaseError> {
    let local_etcd = ctx.plan.pki.local_etcd;
    let applicable = |id: CertId| local_etcd || !id.belongs_to_local_etcd();
    let members: Vec<_> = MEMBERS.into_iter().filter(|(_, id)| applicable(*id)).collect();
    let wanted: Vec<_> = members.iter().copied().filter(|(phase, _)| ctx.wants(*phase)).collect();
    let keys = ctx.wants(PhaseId::CertsSa);
    if wanted.is_empty() && !keys {
        ctx.leave_out(PhaseId::Certs);
        return load(ctx);
    }
    ctx.run
        .phase(PhaseId::Certs, async {
            ctx.run.line(
                PhaseId::Certs,
                format!("Using certificateDir folder {:?}", ctx.plan.documents.cluster.certificates_dir),
            );
            let pki_dir = ctx.plan.pki_dir.clone();
            let directories = [(pki_dir.clone(), 0o755), (pki_dir.join("etcd"), 0o755)];
            ctx.changes.directories(PhaseId::Certs, &directories[..if local_etcd { 2 } else { 1 }]).await?;
            ctx.changes.intend_absent(PhaseId::Certs, &files(&pki_dir, local_etcd)).await?;
            let complete = wanted.len() == members.len() && keys;
            let (params, pool) = (ctx.plan.pki.clone(), ctx.keys.clone());
            let outcomes = blocking(move || {
                if complete {
                    return create_all(&params, &pki_dir, &pool).map(|report| report.files);
                }
                let mut files: Vec<FileOutcome> = wanted
                    .iter()
                    .map(|(_, id)| create_one(*id, &params, &pki_dir, &pool))
                    .collect::<Result<_, PkiError>>()?;
                if keys {
                    files.push(create_service_account_keys(&pki_dir, &pool)?);
                }
                Ok(files)
            })
            .await?;
            tell(ctx, &outcomes);
            let changed = outcomes.iter().any(|file| file.outcome == junio_pki::Outcome::Created);
            Ok((load_from_disk(ctx)?, done_if(changed)))
        })
        .await
}

/// kubeadm's lines.
fn tell(ctx: &Context<'_>, outcomes: &[FileOutcome]) {
    for file in outcomes {
        let spec = CertId::parse(&file.name).map(CertId::spec);
        let name = spec.map_or(file.name.as_str(), |spec| spec.stem);
        let text = match (file.outcome, file.name.as_str()) {
            (junio_pki::Outcome::Created, "sa") => "Generating \"sa\" key and public key".to_owned(),
            (junio_pki::Outcome::Created, _) => format!("Generating {name:?} certificate and key"),
            (junio_pki::Outcome::Reused, "sa") => "Using the existing \"sa\" key".to_owned(),
            (junio_pki::Outcome::Reused, _) => format!("Using existing {name} certificate and key on disk"),
        };
        ctx.run.line(PhaseId::Certs, text);
        let serving =
            spec.filter(|spec| matches!(spec.sans, SanKind::ApiServer | SanKind::EtcdServer | SanKind::EtcdPeer));
        if let (Some(spec), junio_pki::Outcome::Created) = (serving, file.outcome) {
            let sans = ctx.plan.pki.sans(spec);
            let addresses: Vec<String> = sans.addresses.iter().map(ToString::to_string).collect();
            let text = format!(
                "{name} serving cert is signed for DNS names [{}] and IPs [{}]",
                sans.dns_names.join(" "),
                addresses.join(" ")
            );
            ctx.run.line(PhaseId::Certs, text);
        }
    }
}

fn load(ctx: &Context<'_>) -> Result<Certificates, PhaseError> {
    load_from_disk(ctx).map_err(|cause| cause.in_phase(PhaseId::Certs))
}

fn load_from_disk(ctx: &Context<'_>) -> Result<Certificates, Cause> {
    let path = ctx.plan.pki_dir.join("ca.crt");
    let missing = || Cause::MissingInput { what: path.display().to_string(), phase: PhaseId::CertsCa };
    let ca_pem = std::fs::read_to_string(&path).map_err(|_| missing())?;
    let ca_pin = junio_pki::token::ca_pin(&ca_pem).map_err(Cause::other)?;
    let external_ca = junio_pki::verify::is_external(CertId::Ca, &ctx.plan.pki_dir).map_err(Cause::other)?;
    Ok(Certificates { ca_pin, ca_pem, external_ca })
}

/// Runs work that computes or waits for disks off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PkiError> + Send + 'static,
) -> Result<T, Cause> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Cause::other),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
