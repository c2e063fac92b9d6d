//! Phase `upload-certs`: what hosts that join as control planes need of this one, encrypted, in Secret `kubeadm-certs`.
//!
//! Names, encryption and life time are kubeadm's (v1.36.3 `phases/copycerts`), so that kubeadm can fetch what we stored and
//! the other way round. The Secret belongs to a bootstrap token of two hours and goes away with it.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use junio_api::config::BootstrapToken;
use junio_api::duration::GoDuration;
use junio_api::{Secret, Token, names};
use junio_pki::certificate_key::CertificateKey;
use junio_pki::{CertId, verify};
use junio_templates::upload_certs;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1 as core;
use kube::Client;
use kube::api::Api;

use crate::client::{apply_all, create_or_replace};
use crate::context::Context;
use crate::error::{Cause, PhaseError};
use crate::phase_id::PhaseId;
use crate::run::done_if;
use crate::tokens;

const ID: PhaseId = PhaseId::UploadCerts;
/// kubeadm's `DefaultCertTokenDuration`.
const LIFE: Duration = Duration::from_secs(2 * 3600);
const DESCRIPTION: &str = "Proxy for managing TTL for the kubeadm-certs secret";

/// Stores the certificates when `--upload-certs` asks for it. Returns the key that they were encrypted with.
pub(crate) async fn upload_certs(ctx: &Context<'_>, client: &Client) -> Result<Option<Secret<String>>, PhaseError> {
    if !ctx.wants(ID) || !ctx.options.upload_certs {
        if ctx.wants(ID) {
            ctx.run.line(ID, "Skipping phase. Please see --upload-certs");
        }
        ctx.leave_out(ID);
        return Ok(None);
    }
    ctx.run
        .phase(ID, async {
            for authority in [CertId::Ca, CertId::FrontProxyCa] {
                if verify::is_external(authority, &ctx.plan.pki_dir).map_err(Cause::other)? {
                    let text = "--upload-certs needs the keys of both authorities; with an external CA, copy the files";
                    return Err(Cause::Config(text.to_owned()));
                }
            }
            ctx.run.line(ID, "Storing the certificates in Secret \"kubeadm-certs\" in the \"kube-system\" Namespace");
            let key = key(ctx)?;
            let data = sealed(&files(ctx), &key)?;
            let owner = store_owner(ctx, client).await?;
            let secret: core::Secret =
                serde_json::from_value(upload_certs::secret(&owner).map_err(Cause::other)?.into_value())
                    .map_err(|e| Cause::Config(e.to_string()))?;
            let secret = core::Secret { data: Some(data), ..secret };
            let patience = ctx.plan.timeouts.control_plane;
            create_or_replace(&secrets(client), &secret, patience).await?;
            let rights: Vec<_> = upload_certs::rights()
                .map_err(Cause::other)?
                .into_iter()
                .map(junio_templates::Object::into_value)
                .collect();
            apply_all(client, &rights, patience, ctx.again).await?;
            Ok((Some(key.to_hex()), done_if(true)))
        })
        .await
}

fn secrets(client: &Client) -> Api<core::Secret> {
    Api::namespaced(client.clone(), names::KUBE_SYSTEM)
}

fn key(ctx: &Context<'_>) -> Result<CertificateKey, Cause> {
    let given = &ctx.plan.documents.init.certificate_key;
    let key = if given.is_empty() { CertificateKey::generate() } else { CertificateKey::parse(given) };
    key.map_err(|e| Cause::Config(format!("certificateKey: {e}")))
}

/// The token that the Secret lives as long as. Nobody joins with it: it may neither sign nor authenticate.
async fn store_owner(ctx: &Context<'_>, client: &Client) -> Result<upload_certs::Owner, Cause> {
    let token = BootstrapToken {
        token: Some(Token::generate()),
        description: DESCRIPTION.to_owned(),
        ttl: Some(GoDuration(LIFE)),
        ..BootstrapToken::default()
    };
    let object = tokens::secret_object(&token, Timestamp::now()).map_err(Cause::other)?.unwrap_or_default();
    let object: core::Secret = serde_json::from_value(object).map_err(|e| Cause::Config(e.to_string()))?;
    let stored = create_or_replace(&secrets(client), &object, ctx.plan.timeouts.control_plane).await?;
    Ok(upload_certs::Owner {
        name: stored.metadata.name.unwrap_or_default(),
        uid: stored.metadata.uid.unwrap_or_default(),
    })
}

/// Names in the Secret, and files.
fn files(ctx: &Context<'_>) -> Vec<(&'static str, PathBuf)> {
    let own = |file: &str| ctx.plan.pki_dir.join(file);
    let root = ctx.changes.host.layout().root();
    let mut files: Vec<(&'static str, PathBuf)> =
        ["ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "sa.pub", "sa.key"]
            .map(|n| (n, own(n)))
            .into();
    match &ctx.plan.documents.cluster.etcd.external {
        None => files.extend([("etcd-ca.crt", own("etcd/ca.crt")), ("etcd-ca.key", own("etcd/ca.key"))]),
        Some(etcd) => files.extend(
            [
                ("external-etcd-ca.crt", &etcd.ca_file),
                ("external-etcd.crt", &etcd.cert_file),
                ("external-etcd.key", &etcd.key_file),
            ]
            .map(|(name, file)| {
                (name, if file.is_empty() { PathBuf::new() } else { root.join(file.trim_start_matches('/')) })
            }),
        ),
    }
    files
}

/// Each file encrypted; one that does not exist (an etcd without TLS) is an empty value.
fn sealed(files: &[(&'static str, PathBuf)], key: &CertificateKey) -> Result<BTreeMap<String, ByteString>, Cause> {
    let mut data = BTreeMap::new();
    for (name, path) in files {
        let value = match std::fs::read(path) {
            Ok(content) => key.seal(&content).map_err(|e| Cause::Config(e.to_string()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                return Err(Cause::other(junio_pki::PkiError::Read { path: path.clone(), source: error }));
            }
        };
        data.insert((*name).to_owned(), ByteString(value));
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_sealed_and_a_missing_one_is_empty() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let there = directory.path().join("ca.crt");
        std::fs::write(&there, "certificate").expect("writable");
        let key = CertificateKey::generate().expect("a key");
        let files = [("ca.crt", there), ("external-etcd.key", PathBuf::new())];
        let data = sealed(&files, &key).expect("readable");
        assert_eq!(key.open(&data["ca.crt"].0).expect("opens").expose(), b"certificate");
        assert!(data["external-etcd.key"].0.is_empty());
    }
}
