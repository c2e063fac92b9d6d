//! Filling a PKI directory: what is missing is made, what is valid is reused, what differs stops everything before the
//! first write.
//!
//! A key is on disk before its certificate, so that a crash in between never looks like an external CA; a key without a
//! certificate is picked up again by the next run.

use std::path::{Path, PathBuf};
use std::thread;

use serde::Serialize;

use crate::cert_list::{CERTIFICATES, CertId, CertSpec};
use crate::error::{Drift, PkiError};
use crate::issue::{Authority, PkiParams};
use crate::key::PrivateKey;
use crate::key_pool::KeyPool;
use crate::parsed::{ParsedCertificate, rfc3339, sha256_text};
use crate::store::{self, MODE_DIRECTORY, MODE_PUBLIC, MODE_SECRET};
use crate::verify::{OnDisk, compare};

/// What was done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Created,
    Reused,
}

/// A certificate (or key pair, or kubeconfig) after a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileOutcome {
    /// kubeadm's name: `apiserver`, `etcd-server`, `sa`, `admin.conf`, ...
    pub name: String,
    /// The certificate, public key or kubeconfig.
    pub path: PathBuf,
    /// The private key's own file.
    pub key: Option<PathBuf>,
    /// `sha256:HEX` of the certificate, or of the public key for `sa`.
    pub fingerprint: String,
    /// RFC 3339; `None` for `sa`.
    pub not_after: Option<String>,
    pub outcome: Outcome,
}

/// The PKI directory after a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PkiReport {
    pub files: Vec<FileOutcome>,
    /// `sha256:HEX` of the cluster CA's public key, for `join --discovery-token-ca-cert-hash`.
    pub ca_pin: String,
    /// The cluster CA's certificate, PEM.
    pub ca_pem: String,
    /// True when `ca.key` is absent: the controller manager then signs nothing.
    pub external_ca: bool,
}

/// All certificates and the service account key pair. `pool` may be warm already (see [`KeyPool::start`]).
pub fn create_all(params: &PkiParams, directory: &Path, pool: &KeyPool) -> Result<PkiReport, PkiError> {
    let wanted: Vec<_> = CERTIFICATES.iter().filter(|s| params.local_etcd || !s.id.belongs_to_local_etcd()).collect();
    let sa = ServiceAccount::read(directory)?;
    let mut files = create(&wanted, params, directory, pool, Some(&sa))?;
    files.push(sa.finish(pool)?);
    sync(directory, params)?;
    let ca = OnDisk::read(CertId::Ca.spec(), directory)?;
    let external_ca = ca.key.is_none();
    let (ca_pem, parsed) =
        ca.certificate.ok_or(PkiError::MissingCa { path: ca.certificate_path, wanted: "everything" })?;
    Ok(PkiReport { files, ca_pin: parsed.pin(), ca_pem, external_ca })
}

/// One certificate, for `init phase certs NAME`. Its CA must exist.
pub fn create_one(id: CertId, params: &PkiParams, directory: &Path, pool: &KeyPool) -> Result<FileOutcome, PkiError> {
    let mut files = create(&[id.spec()], params, directory, pool, None)?;
    sync(directory, params)?;
    files
        .pop()
        .ok_or(PkiError::MissingCa { path: store::certificate_path(directory, id.spec().stem), wanted: id.spec().name })
}

/// The key pair that signs service account tokens: `sa.key` and `sa.pub`.
pub fn create_service_account_keys(directory: &Path, pool: &KeyPool) -> Result<FileOutcome, PkiError> {
    let sa = ServiceAccount::read(directory)?;
    if let Some(drift) = sa.drift() {
        return Err(PkiError::Drift { drifts: vec![drift] });
    }
    store::ensure_directory(directory, MODE_DIRECTORY)?;
    let outcome = sa.finish(pool)?;
    store::sync_directory(directory)?;
    Ok(outcome)
}

/// Replaces a leaf by a fresh one with a new key; for `certs renew NAME`. Needs the CA's key.
pub fn renew(id: CertId, params: &PkiParams, directory: &Path, pool: &KeyPool) -> Result<FileOutcome, PkiError> {
    let spec = id.spec();
    let signer = spec.signer.ok_or_else(|| PkiError::RenewAuthority { name: spec.name })?;
    let authority = load_authority(signer, directory)?;
    let leaf = params.leaf(spec);
    let key = pool.take()?;
    let (text, parsed) = authority.issue(&leaf, &key)?;
    let (certificate_path, key_path) =
        (store::certificate_path(directory, spec.stem), store::key_path(directory, spec.stem));
    store::write(&key_path, key.pem().expose().as_bytes(), MODE_SECRET)?;
    store::write(&certificate_path, text.as_bytes(), MODE_PUBLIC)?;
    sync(directory, params)?;
    Ok(outcome(spec, certificate_path, key_path, &parsed, Outcome::Created))
}

/// A CA of a PKI directory with its key.
pub fn load_authority(id: CertId, directory: &Path) -> Result<Authority, PkiError> {
    let spec = id.spec();
    let pair = OnDisk::read(spec, directory)?;
    let missing = |path| PkiError::MissingCa { path, wanted: "certificates" };
    let (text, parsed) = pair.certificate.ok_or_else(|| missing(pair.certificate_path.clone()))?;
    let key = pair.key.ok_or_else(|| missing(pair.key_path.clone()))?;
    if !parsed.is_ca {
        return Err(PkiError::NotACa { path: pair.certificate_path });
    }
    Ok(Authority::new(parsed, text, key))
}

fn create(
    wanted: &[&'static CertSpec],
    params: &PkiParams,
    directory: &Path,
    pool: &KeyPool,
    service_account: Option<&ServiceAccount>,
) -> Result<Vec<FileOutcome>, PkiError> {
    let on_disk = CERTIFICATES.iter().map(|spec| OnDisk::read(spec, directory)).collect::<Result<Vec<_>, _>>()?;
    check(wanted, &on_disk, params, service_account)?;
    store::ensure_directory(directory, MODE_DIRECTORY)?;
    if wanted.iter().any(|spec| spec.stem.contains('/')) {
        store::ensure_directory(&directory.join("etcd"), MODE_DIRECTORY)?;
    }
    let mut slots: Vec<_> = on_disk.into_iter().map(Some).collect();
    let mut authorities: Vec<Option<Authority>> = CERTIFICATES.iter().map(|_| None).collect();
    let mut outcomes = Vec::new();
    for spec in CERTIFICATES.iter().filter(|spec| spec.id.is_authority()) {
        let Some(pair) = slots[spec.id as usize].take() else { continue };
        let is_wanted = wanted.iter().any(|w| w.id == spec.id);
        let (found, authority) = authority(spec, pair, params, pool, is_wanted)?;
        outcomes.extend(found.filter(|_| is_wanted).map(|o| (spec.id, o)));
        authorities[spec.id as usize] = authority;
    }
    let leaves: Vec<_> =
        wanted.iter().filter_map(|spec| Some((*spec, spec.signer?, slots[spec.id as usize].take()?))).collect();
    let authorities = &authorities;
    thread::scope(|scope| {
        let running: Vec<_> = leaves
            .into_iter()
            .map(|(spec, signer, pair)| {
                (spec.id, scope.spawn(move || leaf(spec, pair, authorities[signer as usize].as_ref(), params, pool)))
            })
            .collect();
        for (id, thread) in running {
            let made = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            outcomes.push((id, made));
        }
        Ok::<_, PkiError>(())
    })?;
    outcomes.sort_by_key(|(id, _)| *id);
    Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
}

/// Refuses drift and incomplete external CAs, before anything is written.
fn check(
    wanted: &[&CertSpec],
    on_disk: &[OnDisk],
    params: &PkiParams,
    service_account: Option<&ServiceAccount>,
) -> Result<(), PkiError> {
    let mut drifts = Vec::new();
    for spec in wanted {
        let pair = &on_disk[spec.id as usize];
        let authority = spec.signer.map(|id| &on_disk[id as usize]);
        drifts.extend(compare(spec, pair, authority, params)?);
        if let Some(authority) = authority
            && authority.certificate.is_none()
            && !wanted.iter().any(|w| Some(w.id) == spec.signer)
        {
            return Err(PkiError::MissingCa { path: authority.certificate_path.clone(), wanted: spec.name });
        }
    }
    drifts.extend(service_account.and_then(ServiceAccount::drift));
    if !drifts.is_empty() {
        return Err(PkiError::Drift { drifts });
    }
    for ca in CERTIFICATES.iter().filter(|spec| spec.id.is_authority()) {
        let pair = &on_disk[ca.id as usize];
        if pair.certificate.is_none() || pair.key.is_some() {
            continue;
        }
        let leaves = wanted.iter().filter(|spec| spec.signer == Some(ca.id)).map(|spec| &on_disk[spec.id as usize]);
        let mut missing: Vec<_> =
            leaves.filter(|leaf| leaf.certificate.is_none()).map(|leaf| leaf.certificate_path.clone()).collect();
        if ca.id == CertId::Ca {
            missing.extend(service_account.filter(|sa| sa.key.is_none()).map(|sa| sa.key_path.clone()));
        }
        if !missing.is_empty() {
            return Err(PkiError::ExternalCaIncomplete { ca: pair.certificate_path.clone(), missing });
        }
    }
    Ok(())
}

/// A CA that is there, or a new one if it is wanted. No `Authority` means that it cannot sign.
fn authority(
    spec: &CertSpec,
    pair: OnDisk,
    params: &PkiParams,
    pool: &KeyPool,
    is_wanted: bool,
) -> Result<(Option<FileOutcome>, Option<Authority>), PkiError> {
    if let Some((text, parsed)) = pair.certificate {
        let found = outcome(spec, pair.certificate_path, pair.key_path, &parsed, Outcome::Reused);
        return Ok((Some(found), pair.key.map(|key| Authority::new(parsed, text, key))));
    }
    if !is_wanted {
        return Ok((None, None));
    }
    let key = key_on_disk(pair.key, &pair.key_path, pool)?;
    let made = Authority::create(spec, params, key)?;
    store::write(&pair.certificate_path, made.certificate_pem.as_bytes(), MODE_PUBLIC)?;
    let created = outcome(spec, pair.certificate_path, pair.key_path, &made.certificate, Outcome::Created);
    Ok((Some(created), Some(made)))
}

fn leaf(
    spec: &CertSpec,
    pair: OnDisk,
    authority: Option<&Authority>,
    params: &PkiParams,
    pool: &KeyPool,
) -> Result<FileOutcome, PkiError> {
    if let Some(parsed) = pair.parsed() {
        let parsed = parsed.clone();
        return Ok(outcome(spec, pair.certificate_path, pair.key_path, &parsed, Outcome::Reused));
    }
    let authority = authority.ok_or(PkiError::MissingCa { path: pair.certificate_path.clone(), wanted: spec.name })?;
    let key = key_on_disk(pair.key, &pair.key_path, pool)?;
    let (text, parsed) = authority.issue(&params.leaf(spec), &key)?;
    store::write(&pair.certificate_path, text.as_bytes(), MODE_PUBLIC)?;
    Ok(outcome(spec, pair.certificate_path, pair.key_path, &parsed, Outcome::Created))
}

fn key_on_disk(existing: Option<PrivateKey>, path: &Path, pool: &KeyPool) -> Result<PrivateKey, PkiError> {
    if let Some(key) = existing {
        return Ok(key);
    }
    let key = pool.take()?;
    store::write(path, key.pem().expose().as_bytes(), MODE_SECRET)?;
    Ok(key)
}

fn outcome(spec: &CertSpec, path: PathBuf, key: PathBuf, parsed: &ParsedCertificate, outcome: Outcome) -> FileOutcome {
    let (fingerprint, not_after) = (parsed.fingerprint(), Some(rfc3339(parsed.not_after)));
    FileOutcome { name: spec.name.to_owned(), path, key: Some(key), fingerprint, not_after, outcome }
}

fn sync(directory: &Path, params: &PkiParams) -> Result<(), PkiError> {
    store::sync_directory(directory)?;
    let etcd = directory.join("etcd");
    if params.local_etcd && etcd.is_dir() {
        store::sync_directory(&etcd)?;
    }
    Ok(())
}

struct ServiceAccount {
    key_path: PathBuf,
    public_path: PathBuf,
    key: Option<PrivateKey>,
    public: Option<String>,
}

impl ServiceAccount {
    fn read(directory: &Path) -> Result<Self, PkiError> {
        let (key_path, public_path) = (directory.join("sa.key"), directory.join("sa.pub"));
        let key = store::read(&key_path)?
            .map(|text| PrivateKey::from_pem(&text, &key_path.display().to_string()))
            .transpose()?;
        let public = store::read(&public_path)?;
        Ok(Self { key_path, public_path, key, public })
    }

    /// The public file may hold several keys after a rotation; ours must be one of them.
    fn drift(&self) -> Option<Drift> {
        let public = self.public.as_ref()?;
        let Some(key) = &self.key else { return Some(Drift::MissingKey { path: self.public_path.clone() }) };
        let blocks = pem::parse_many(public).unwrap_or_default();
        let known = blocks.iter().any(|block| block.contents() == key.public_spki());
        (!known).then(|| Drift::KeyMismatch { path: self.public_path.clone() })
    }

    /// An existing `sa.pub` stays as it is: it may list more keys than ours, after a rotation.
    fn finish(self, pool: &KeyPool) -> Result<FileOutcome, PkiError> {
        let existed = self.key.is_some() && self.public.is_some();
        let key = key_on_disk(self.key, &self.key_path, pool)?;
        if self.public.is_none() {
            store::write(&self.public_path, key.public_pem().as_bytes(), MODE_SECRET)?;
        }
        Ok(FileOutcome {
            name: "sa".to_owned(),
            path: self.public_path,
            key: Some(self.key_path),
            fingerprint: sha256_text(&key.public_spki()),
            not_after: None,
            outcome: if existed { Outcome::Reused } else { Outcome::Created },
        })
    }
}
