//! What happens to a PKI directory: created, reused, refused, completed; with real files and every algorithm.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::SystemTime;

use junio_pki::parsed::ParsedCertificate;
use junio_pki::{
    CERTIFICATES, CertId, Drift, KeyAlgorithm, KeyPool, KubeconfigId, Outcome, PkiError, PkiParams, PrivateKey,
    create_all, kubeconfig_files,
};
use support::{HOUR, Made, kubeconfig_params, params};

const FAST: KeyAlgorithm = KeyAlgorithm::EcdsaP256;

fn again(made: &Made, params: &PkiParams) -> Result<junio_pki::PkiReport, PkiError> {
    create_all(params, &made.pki(), &KeyPool::start(FAST, 0))
}

fn drifts(result: Result<impl Sized, PkiError>) -> Vec<Drift> {
    match result {
        Err(PkiError::Drift { drifts }) => drifts,
        Err(other) => panic!("another error: {other:?}"),
        Ok(_) => panic!("no error"),
    }
}

/// All files below a directory with content and mode.
fn snapshot(directory: &Path) -> Vec<(String, Vec<u8>, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("lists") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(snapshot(&path));
        } else {
            let mode = fs::metadata(&path).expect("exists").permissions().mode() & 0o7777;
            found.push((path.display().to_string(), fs::read(&path).expect("reads"), mode));
        }
    }
    found.sort();
    found
}

#[test]
fn a_second_run_reuses_everything_and_touches_nothing() {
    let made = Made::new(FAST);
    assert!(made.report.files.iter().all(|f| f.outcome == Outcome::Created));
    assert_eq!(made.report.files.len(), 11);
    let before = snapshot(made.kubernetes());
    let report = again(&made, &params(FAST)).expect("reuses");
    let pool = KeyPool::start(FAST, 0);
    let configs =
        kubeconfig_files::create(&KubeconfigId::INIT, &kubeconfig_params(), &made.pki(), made.kubernetes(), &pool)
            .expect("reuses");
    assert!(report.files.iter().chain(&configs).all(|f| f.outcome == Outcome::Reused));
    assert_eq!(report.ca_pin, made.report.ca_pin);
    assert_eq!(snapshot(made.kubernetes()), before);
}

#[test]
fn modes_are_those_of_kubeadm() {
    let made = Made::new(FAST);
    for (path, _, mode) in snapshot(made.kubernetes()) {
        let expected = if path.ends_with(".crt") { 0o644 } else { 0o600 };
        assert_eq!(mode, expected, "{path}");
    }
    for directory in [made.pki(), made.pki().join("etcd")] {
        assert_eq!(
            fs::metadata(&directory).expect("exists").permissions().mode() & 0o7777,
            0o755,
            "{}",
            directory.display()
        );
    }
}

#[test]
fn every_algorithm_makes_a_consistent_directory() {
    for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::Rsa3072, KeyAlgorithm::Rsa4096, KeyAlgorithm::EcdsaP384] {
        let made = Made::new(algorithm);
        assert_eq!(
            junio_pki::verify::verify_directory(&params(algorithm), &made.pki()).expect("reads"),
            [],
            "{algorithm}"
        );
        let header = if algorithm == KeyAlgorithm::EcdsaP384 { "EC" } else { "RSA" };
        let key = fs::read_to_string(made.pki().join("sa.key")).expect("reads");
        assert!(key.starts_with(&format!("-----BEGIN {header} PRIVATE KEY-----")), "{algorithm}");
        assert!(
            fs::read_to_string(made.pki().join("sa.pub")).expect("reads").starts_with("-----BEGIN PUBLIC KEY-----")
        );
    }
}

#[test]
fn new_names_expiry_and_foreign_leaves_are_refused_before_anything_is_written() {
    let made = Made::new(FAST);
    let other = Made::new(FAST);
    for name in ["front-proxy-client.crt", "front-proxy-client.key"] {
        fs::copy(other.pki().join(name), made.pki().join(name)).expect("copies");
    }
    fs::copy(other.pki().join("etcd/peer.key"), made.pki().join("etcd/peer.key")).expect("copies");
    fs::remove_file(made.pki().join("apiserver-etcd-client.key")).expect("removes");
    fs::remove_file(made.pki().join("apiserver-kubelet-client.crt")).expect("removes");
    let before = snapshot(&made.pki());
    let wanted =
        PkiParams { api_server_sans: vec!["API.example.com".to_owned(), "192.0.2.7".to_owned()], ..params(FAST) };
    let found = drifts(again(&made, &wanted));
    let pki = made.pki();
    assert_eq!(
        found,
        [
            Drift::MissingSans {
                path: pki.join("apiserver.crt"),
                missing: vec!["api.example.com".to_owned(), "192.0.2.7".to_owned()]
            },
            Drift::NotSignedBy { path: pki.join("front-proxy-client.crt"), ca: pki.join("front-proxy-ca.crt") },
            Drift::KeyMismatch { path: pki.join("etcd/peer.crt") },
            Drift::MissingKey { path: pki.join("apiserver-etcd-client.crt") },
        ]
    );
    assert_eq!(snapshot(&made.pki()), before);
}

#[test]
fn an_expired_leaf_is_called_expired() {
    let made = Made::new(FAST);
    let later = PkiParams { start: SystemTime::now() + 8761 * HOUR, ..params(FAST) };
    let found = drifts(again(&made, &later));
    assert_eq!(found.len(), 7, "all leaves, no CA: {found:?}");
    assert!(found.iter().all(|d| matches!(d, Drift::Expired { .. })), "{found:?}");
    let text = PkiError::Drift { drifts: found }.to_string();
    assert!(text.contains("apiserver.crt expired at 20"), "{text}");
}

#[test]
fn a_key_left_by_a_crash_is_completed() {
    let made = Made::new(FAST);
    let key = fs::read(made.pki().join("etcd/server.key")).expect("reads");
    fs::remove_file(made.pki().join("etcd/server.crt")).expect("removes");
    fs::remove_file(made.pki().join("sa.pub")).expect("removes");
    let report = again(&made, &params(FAST)).expect("completes");
    let created: Vec<_> =
        report.files.iter().filter(|f| f.outcome == Outcome::Created).map(|f| f.name.as_str()).collect();
    assert_eq!(created, ["etcd-server", "sa"]);
    assert_eq!(fs::read(made.pki().join("etcd/server.key")).expect("reads"), key);
}

#[test]
fn a_foreign_ca_signs_and_an_external_one_must_come_with_everything() {
    let made = Made::new(FAST);
    for spec in CERTIFICATES.iter().filter(|s| s.signer == Some(CertId::Ca)) {
        for end in ["crt", "key"] {
            fs::remove_file(made.pki().join(format!("{}.{end}", spec.stem))).expect("removes");
        }
    }
    // Foreign: another CA with its key. openssl makes it, with a PKCS#8 key.
    let openssl = |arguments: &str| {
        let done = std::process::Command::new("openssl")
            .current_dir(made.pki())
            .args(arguments.split(' '))
            .output()
            .expect("openssl runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 30 -subj /O=Example/CN=their-ca");
    let report = again(&made, &params(FAST)).expect("signs with their CA");
    assert!(!report.external_ca);
    let leaf = fs::read_to_string(made.pki().join("apiserver.crt")).expect("reads");
    assert_eq!(ParsedCertificate::from_pem(&leaf, "leaf").expect("parses").issuer_common_name, "their-ca");
    openssl("verify -CAfile ca.crt apiserver.crt");

    // External: the same without its key. What exists is enough; what is missing cannot be made.
    fs::remove_file(made.pki().join("ca.key")).expect("removes");
    assert!(again(&made, &params(FAST)).expect("all there").external_ca);
    fs::remove_file(made.pki().join("apiserver-kubelet-client.crt")).expect("removes");
    fs::remove_file(made.pki().join("sa.key")).expect("removes");
    fs::remove_file(made.pki().join("sa.pub")).expect("removes");
    match again(&made, &params(FAST)) {
        Err(PkiError::ExternalCaIncomplete { missing, .. }) => {
            assert_eq!(missing, [made.pki().join("apiserver-kubelet-client.crt"), made.pki().join("sa.key")]);
        }
        other => panic!("{other:?}"),
    }
    let pool = KeyPool::start(FAST, 0);
    fs::remove_file(made.kubernetes().join("scheduler.conf")).expect("removes");
    let found = drifts(kubeconfig_files::create(
        &[KubeconfigId::Admin],
        &kubeconfig_params(),
        &made.pki(),
        made.kubernetes(),
        &pool,
    ));
    assert!(matches!(&found[0], Drift::OtherCa { .. }), "{found:?}");
    let result = kubeconfig_files::create(
        &[KubeconfigId::Scheduler],
        &kubeconfig_params(),
        &made.pki(),
        made.kubernetes(),
        &pool,
    );
    assert!(matches!(result, Err(PkiError::ExternalCaIncomplete { .. })), "{result:?}");
}

#[test]
fn a_ca_whose_name_cannot_be_repeated_is_refused() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let done = std::process::Command::new("openssl")
        .current_dir(root.path())
        .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt -subj /O=a/O=b/CN=c".split(' '))
        .output()
        .expect("openssl runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let result = create_all(&params(FAST), root.path(), &KeyPool::start(FAST, 0));
    assert!(matches!(result, Err(PkiError::UnsupportedCaSubject { .. })), "{result:?}");
    assert_eq!(fs::read_dir(root.path()).expect("lists").count(), 2, "nothing was written");
}

#[test]
fn a_leaf_in_place_of_a_ca_is_refused() {
    let made = Made::new(FAST);
    for end in ["crt", "key"] {
        fs::copy(made.pki().join(format!("apiserver.{end}")), made.pki().join(format!("ca.{end}"))).expect("copies");
    }
    assert!(matches!(again(&made, &params(FAST)), Err(PkiError::NotACa { .. })));
}

#[test]
fn without_local_etcd_none_of_its_certificates_exist() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let external = PkiParams { local_etcd: false, ..params(FAST) };
    create_all(&external, root.path(), &KeyPool::start(FAST, 6)).expect("creates");
    let names: Vec<_> = snapshot(root.path()).into_iter().map(|(path, ..)| path).collect();
    assert!(!names.iter().any(|n| n.contains("etcd")), "{names:?}");
    assert_eq!(names.len(), 12);
}

#[test]
fn one_certificate_needs_its_ca_and_renewal_makes_a_new_key() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let pool = KeyPool::start(FAST, 0);
    let result = junio_pki::create_one(CertId::ApiServer, &params(FAST), root.path(), &pool);
    assert!(matches!(result, Err(PkiError::MissingCa { .. })), "{result:?}");
    junio_pki::create_one(CertId::Ca, &params(FAST), root.path(), &pool).expect("creates");
    let first = junio_pki::create_one(CertId::ApiServer, &params(FAST), root.path(), &pool).expect("creates");
    let renewed = junio_pki::create::renew(CertId::ApiServer, &params(FAST), root.path(), &pool).expect("renews");
    assert_ne!(first.fingerprint, renewed.fingerprint);
    let key = PrivateKey::from_pem(&fs::read_to_string(root.path().join("apiserver.key")).expect("reads"), "key")
        .expect("parses");
    let certificate = fs::read_to_string(root.path().join("apiserver.crt")).expect("reads");
    assert_eq!(ParsedCertificate::from_pem(&certificate, "leaf").expect("parses").spki, key.public_spki());
}

#[test]
fn a_renewed_kubeconfig_keeps_its_server_and_gets_a_new_key() {
    let made = Made::new(FAST);
    let path = made.kubernetes().join("admin.conf");
    let before = junio_pki::Kubeconfig::load(&path).expect("reads").expect("exists");
    let mut elsewhere = kubeconfig_params();
    elsewhere.endpoint_server = "https://not-this-one:1".to_owned();
    let pool = KeyPool::start(FAST, 1);
    let renewed = kubeconfig_files::renew(KubeconfigId::Admin, &elsewhere, &made.pki(), made.kubernetes(), &pool);
    assert_eq!(renewed.expect("renews").outcome, Outcome::Created);
    let after = junio_pki::Kubeconfig::load(&path).expect("reads").expect("exists");
    assert_eq!(after.clusters, before.clusters);
    let certificate =
        |config: &junio_pki::Kubeconfig| config.client_certificate(&path).expect("parses").expect("embedded");
    assert_eq!(certificate(&after).common_name, "kubernetes-admin");
    assert_ne!(certificate(&after).spki, certificate(&before).spki);
}

#[test]
fn a_kubeconfig_for_another_server_is_refused() {
    let made = Made::new(FAST);
    let mut wanted = kubeconfig_params();
    wanted.endpoint_server = "https://api.example.com:6443".to_owned();
    let pool = KeyPool::start(FAST, 0);
    let found = drifts(kubeconfig_files::create(&KubeconfigId::INIT, &wanted, &made.pki(), made.kubernetes(), &pool));
    assert_eq!(found.len(), 2, "admin and super-admin use the endpoint: {found:?}");
}

#[test]
fn an_rsa_directory_is_made_in_time() {
    // Not asserted: printed for the bench. Eleven RSA-2048 keys and five for kubeconfigs.
    let start = std::time::Instant::now();
    let made = Made::new(KeyAlgorithm::Rsa2048);
    println_time(start.elapsed(), made.report.files.len());
}

#[expect(clippy::print_stdout, reason = "a measurement that `cargo test -- --nocapture` shows")]
fn println_time(elapsed: std::time::Duration, files: usize) {
    println!("RSA-2048: {files} entries and 5 kubeconfigs in {elapsed:?}");
}
