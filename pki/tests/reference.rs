//! Our certificates, kubeconfigs and signatures against what a real kubeadm v1.36.3 made (`tests/reference/fixtures`),
//! and against other programs that read them: openssl, rustls, kubeadm itself.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use junio_api::{Secret, yaml};
use junio_pki::kubeconfig::Kubeconfig;
use junio_pki::{CERTIFICATES, KeyAlgorithm, KubeconfigId, tls, token};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{ServerName, UnixTime};
use serde_json::Value;
use sha2::{Digest, Sha256};
use support::{Made, SERVER};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../tests/reference/fixtures/", $name))
    };
}

fn run(program: &str, arguments: &[&str]) -> String {
    let done = Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let (out, err) = (String::from_utf8_lossy(&done.stdout).into_owned(), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{program} {arguments:?}: {out}{err}");
    out
}

/// The reference text as blocks: path -> its lines without dates, key identifiers masked.
fn reference_blocks() -> BTreeMap<String, BTreeSet<String>> {
    let text = fixture!("pki.txt").split("\n# SPKI hash").next().expect("certificates come first");
    let blocks = text.split("\n== ").skip(1);
    blocks
        .map(|block| {
            let (head, rest) = block.split_once('\n').expect("a path");
            let path = head.split(' ').next().expect("a path").to_owned();
            (path, fields(rest))
        })
        .collect()
}

/// `Name: value` lines joined with the line after them, so that the order of extensions does not count.
fn fields(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut lines = text.lines().filter(|l| !l.trim().is_empty() && !l.starts_with("not") && !l.starts_with('#'));
    while let Some(line) = lines.next() {
        if line.starts_with("X509v3") {
            let value = lines.next().unwrap_or_default().trim();
            let value = if line.contains("Key Identifier") { "ID" } else { value };
            found.insert(format!("{} {value}", line.trim()));
        } else {
            found.insert(line.trim().to_owned());
        }
    }
    found
}

fn openssl_fields(file: &Path, with_key_ids: bool) -> BTreeSet<String> {
    let file = file.display().to_string();
    let mut extensions = "keyUsage,extendedKeyUsage,basicConstraints".to_owned();
    if with_key_ids {
        extensions += ",subjectKeyIdentifier,authorityKeyIdentifier,subjectAltName";
    }
    let mut found = fields(&run(
        "openssl",
        &["x509", "-in", &file, "-noout", "-nameopt", "RFC2253", "-subject", "-issuer", "-ext", &extensions],
    ));
    if with_key_ids {
        let text = run("openssl", &["x509", "-in", &file, "-noout", "-text"]);
        found.insert(text.lines().find(|l| l.contains("Signature Algorithm")).expect("signed").trim().to_owned());
    }
    found
}

#[test]
fn every_field_of_every_certificate_is_kubeadms() {
    let made = Made::new(KeyAlgorithm::Rsa2048);
    let mut reference = reference_blocks();
    for spec in &CERTIFICATES {
        let theirs = reference.remove(&format!("/etc/kubernetes/pki/{}.crt", spec.stem)).expect("in the reference");
        assert_eq!(openssl_fields(&made.pki().join(format!("{}.crt", spec.stem)), true), theirs, "{}", spec.name);
    }
    for id in KubeconfigId::INIT {
        let path = made.kubernetes().join(id.file_name());
        let config = Kubeconfig::load(&path).expect("reads").expect("exists");
        let certificate = config.client_certificate(&path).expect("parses").expect("embedded");
        let file = made.kubernetes().join("client.crt");
        std::fs::write(&file, pem::encode(&pem::Pem::new("CERTIFICATE", certificate.der))).expect("writes");
        let theirs = reference.remove(&format!("/etc/kubernetes/{}", id.file_name())).expect("in the reference");
        assert_eq!(openssl_fields(&file, false), theirs, "{}", id.name());
    }
    assert!(reference.is_empty(), "certificates that we do not make: {:?}", reference.keys());
}

#[test]
fn validity_and_key_identifiers_are_computed_as_kubeadm_does() {
    let made = Made::new(KeyAlgorithm::EcdsaP256);
    for spec in &CERTIFICATES {
        let path = made.pki().join(format!("{}.crt", spec.stem));
        let text = std::fs::read_to_string(&path).expect("reads");
        let parsed = junio_pki::parsed::ParsedCertificate::from_pem(&text, spec.name).expect("parses");
        let hours = if spec.signer.is_none() { 87600 } else { 8760 };
        let span = parsed.not_after.duration_since(parsed.not_before).expect("in order");
        assert_eq!(span.as_secs(), hours * 3600 + 300, "{}", spec.name);
    }
    // The subject key identifier of the reference CA is the hash that ours is made with.
    let info: Value =
        yaml::from_str(fixture!("objects/configmaps.yaml").split("\n---\n").next().expect("cluster-info"))
            .expect("YAML");
    let config = Kubeconfig::parse(info["data"]["kubeconfig"].as_str().expect("text"), Path::new("cluster-info"))
        .expect("parses");
    let ca = config.ca_pem(Path::new("cluster-info")).expect("decodes").expect("embedded");
    let file = made.kubernetes().join("reference-ca.crt");
    std::fs::write(&file, &ca).expect("writes");
    let shown = |file: &Path| {
        run("openssl", &["x509", "-in", &file.display().to_string(), "-noout", "-ext", "subjectKeyIdentifier"])
    };
    for (file, pem) in [(file, ca), (made.pki().join("ca.crt"), made.report.ca_pem.clone())] {
        let spki = junio_pki::parsed::ParsedCertificate::from_pem(&pem, "ca").expect("parses").spki;
        let hash = Sha256::digest(public_key_bits(&spki));
        let expected: Vec<_> = hash[..20].iter().map(|b| format!("{b:02X}")).collect();
        assert!(shown(&file).contains(&expected.join(":")), "{}", file.display());
    }
}

/// The bits of a public key without its algorithm.
fn public_key_bits(spki: &[u8]) -> Vec<u8> {
    let (_, parsed) = SubjectPublicKeyInfo::from_der(spki).expect("DER");
    parsed.subject_public_key.data.to_vec()
}

#[test]
fn openssl_verifies_all_chains() {
    for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP384] {
        let made = Made::new(algorithm);
        for spec in CERTIFICATES.iter().filter(|s| s.signer.is_some()) {
            let ca = made.pki().join(format!("{}.crt", spec.signer.expect("a leaf").spec().stem)).display().to_string();
            let leaf = made.pki().join(format!("{}.crt", spec.stem)).display().to_string();
            for usage in spec.usages {
                let purpose = format!("ssl{usage:?}").to_lowercase();
                run("openssl", &["verify", "-x509_strict", "-CAfile", &ca, "-purpose", &purpose, &leaf]);
            }
        }
        for file in ["apiserver.key", "sa.key", "etcd/ca.key"] {
            run("openssl", &["pkey", "-in", &made.pki().join(file).display().to_string(), "-noout", "-check"]);
        }
    }
}

#[test]
fn rustls_accepts_the_api_server_by_every_name_and_every_client() {
    for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcdsaP384] {
        let made = Made::new(algorithm);
        let read = |name: &str| std::fs::read_to_string(made.pki().join(name)).expect("reads");
        let roots = Arc::new(tls::root_store(&read("ca.crt")).expect("a CA"));
        let servers = WebPkiServerVerifier::builder_with_provider(roots, tls::provider()).build().expect("builds");
        let leaf = tls::certificates(&read("apiserver.crt")).expect("a chain");
        for name in ["ka-1", "kubernetes", "kubernetes.default.svc.cluster.local", "10.96.0.1", "10.78.0.11"] {
            let server = ServerName::try_from(name).expect("a name");
            servers
                .verify_server_cert(&leaf[0], &[], &server, &[], UnixTime::now())
                .unwrap_or_else(|e| panic!("{algorithm} {name}: {e}"));
        }
        let stranger = ServerName::try_from("example.com").expect("a name");
        assert!(servers.verify_server_cert(&leaf[0], &[], &stranger, &[], UnixTime::now()).is_err());
        for (ca, client) in [
            ("ca.crt", "apiserver-kubelet-client.crt"),
            ("etcd/ca.crt", "etcd/healthcheck-client.crt"),
            ("etcd/ca.crt", "etcd/peer.crt"),
            ("front-proxy-ca.crt", "front-proxy-client.crt"),
        ] {
            let verifier = tls::client_verifier(&read(ca)).expect("a CA");
            let chain = tls::certificates(&read(client)).expect("a chain");
            verifier
                .verify_client_cert(&chain[0], &[], UnixTime::now())
                .unwrap_or_else(|e| panic!("{algorithm} {client}: {e}"));
        }
        let server = tls::server_config(&read("apiserver.crt"), &read("apiserver.key"), Some(&read("ca.crt")));
        assert!(server.is_ok(), "{server:?}");
    }
}

#[test]
fn kubeconfigs_are_kubeadms() {
    let made = Made::new(KeyAlgorithm::EcdsaP256);
    let strip = |mut value: Value| {
        for pointer in [
            "/clusters/0/cluster/certificate-authority-data",
            "/users/0/user/client-certificate-data",
            "/users/0/user/client-key-data",
        ] {
            if let Some(data) = value.pointer_mut(pointer) {
                *data = "STRIPPED".into();
            }
        }
        value
    };
    let ours = |config: &Kubeconfig| strip(yaml::from_str(config.to_yaml().expect("YAML").expose()).expect("parses"));
    let theirs = |text: &str| yaml::from_str::<Value>(text).expect("parses");
    let load = |name: &str| Kubeconfig::load(&made.kubernetes().join(name)).expect("reads").expect("exists");
    assert_eq!(ours(&load("admin.conf")), theirs(fixture!("kubeconfigs/admin.conf")));
    assert_eq!(ours(&load("super-admin.conf")), theirs(fixture!("kubeconfigs/super-admin.conf")));
    assert_eq!(ours(&load("controller-manager.conf")), theirs(fixture!("kubeconfigs/controller-manager.conf")));
    assert_eq!(ours(&load("scheduler.conf")), theirs(fixture!("kubeconfigs/scheduler.conf")));
    let rotating = Path::new("/var/lib/kubelet/pki/kubelet-client-current.pem");
    let mut kubelet = load("kubelet.conf");
    kubelet.point_to_client_file(rotating);
    assert_eq!(ours(&kubelet), theirs(fixture!("kubeconfigs/kubelet.conf")));
    let worker = Kubeconfig::for_bootstrapped_kubelet("https://10.79.0.11:6443", &made.report.ca_pem, rotating);
    assert_eq!(ours(&worker), theirs(fixture!("kubeconfigs/kubelet-of-joined-worker.conf")));
    let info: Value =
        yaml::from_str(fixture!("objects/configmaps.yaml").split("\n---\n").next().expect("cluster-info"))
            .expect("YAML");
    let published: Value = theirs(info["data"]["kubeconfig"].as_str().expect("text"));
    assert_eq!(ours(&Kubeconfig::cluster_info(SERVER, &made.report.ca_pem)), strip(published));
    // kubectl is the reader that matters.
    let file = made.kubernetes().join("admin.conf").display().to_string();
    if let Ok(done) = Command::new("kubectl")
        .args(["--kubeconfig", &file, "config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"])
        .output()
    {
        assert_eq!(String::from_utf8_lossy(&done.stdout), SERVER);
    }
}

#[test]
fn the_signature_and_the_pin_of_the_reference_verify() {
    let object: Value =
        yaml::from_str(fixture!("objects/configmaps.yaml").split("\n---\n").next().expect("cluster-info"))
            .expect("YAML");
    let content = object["data"]["kubeconfig"].as_str().expect("text");
    let signature = object["data"]["jws-kubeconfig-abcdef"].as_str().expect("text");
    let secret = Secret::new("0123456789abcdef".to_owned());
    assert_eq!(token::sign("abcdef", &secret, content), signature);
    assert!(token::verify("abcdef", &secret, content, signature));
    let config = Kubeconfig::parse(content, Path::new("cluster-info")).expect("parses");
    let ca = config.ca_pem(Path::new("cluster-info")).expect("decodes").expect("embedded");
    let pin = token::ca_pin(&ca).expect("a certificate");
    assert!(fixture!("pki.txt").contains(&pin), "{pin}");
    assert!(
        token::matches_any_pin(&ca, &["sha256:00".to_owned(), pin.to_uppercase().replace("SHA256", "sha256")])
            .expect("reads")
    );
}

/// kubeadm itself, built from its module by `scripts/reference-kubeadm.sh` (a minute or two the first time).
fn kubeadm() -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/reference-kubeadm.sh");
    run(script, &[]).trim().to_owned()
}

#[test]
fn kubeadm_accepts_our_directory() {
    let kubeadm = kubeadm();
    for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcdsaP256] {
        let made = Made::new(algorithm);
        let pki = made.pki().display().to_string();
        let root = made.kubernetes().display().to_string();
        let absent = made.kubernetes().join("absent.conf").display().to_string();

        let report =
            run(&kubeadm, &["certs", "check-expiration", "--cert-dir", &pki, "--kubeconfig", &absent, "-o", "json"]);
        let report: Value =
            serde_json::from_str(report.get(report.find('{').expect("JSON")..).expect("JSON")).expect("JSON");
        let rows = |list: &str| report[list].as_array().expect("a list").clone();
        let ours =
            junio_pki::expiry::report(&made.pki(), made.kubernetes(), std::time::SystemTime::now()).expect("reads");
        for (mine, list) in [(&ours.certificates, "certificates"), (&ours.authorities, "certificateAuthorities")] {
            for row in mine.iter().filter(|row| !row.name.ends_with(".conf")) {
                let theirs = rows(list)
                    .into_iter()
                    .find(|r| r["name"] == row.name)
                    .unwrap_or_else(|| panic!("{} in {report}", row.name));
                assert_eq!(theirs["missing"], false, "{}", row.name);
                assert_eq!(theirs["expirationDate"].as_str(), row.expires.as_deref(), "{}", row.name);
                assert_eq!(theirs["externallyManaged"], row.externally_managed, "{}", row.name);
            }
        }

        let common = ["--kubernetes-version=v1.36.3", "--apiserver-advertise-address=10.78.0.11"];
        let certs = [&["init", "phase", "certs", "all", "--cert-dir", &pki], common.as_slice()].concat();
        // The node's name has no flag here; it only matters for names that are compared on joining.
        let said = run(&kubeadm, &certs);
        assert_eq!(said.matches("Using existing").count(), 10, "{said}");
        assert!(said.contains("Using the existing \"sa\" key"), "{said}");
        let configs = [
            &[
                "init",
                "phase",
                "kubeconfig",
                "all",
                "--cert-dir",
                &pki,
                "--kubeconfig-dir",
                &root,
                "--node-name",
                "ka-1",
            ],
            common.as_slice(),
        ]
        .concat();
        let said = run(&kubeadm, &configs);
        assert_eq!(said.matches("Using existing kubeconfig file").count(), 5, "{said}");
    }
}
