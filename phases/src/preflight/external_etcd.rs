//! An etcd that somebody else runs: its certificates are there, it answers, and it is new enough.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::join_all;
use junio_api::config::cluster::ExternalEtcd;
use serde::Deserialize;

use super::verdict::Verdict;
use crate::client;

/// Source: kubeadm v1.36.3 `MinExternalEtcdVersion`.
const OLDEST: (u32, u32, u32) = (3, 5, 24);
const CERTIFICATES: &str = "ExternalEtcdClientCertificates";
const VERSION: &str = "ExternalEtcdVersion";
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks at files and endpoints. With files missing no endpoint is asked: the answer would only say so again.
pub(crate) async fn check(etcd: &ExternalEtcd, root: &Path) -> Vec<Verdict> {
    let missing = files(etcd, root);
    if !missing.is_empty() {
        return missing;
    }
    let endpoints = if etcd.http_endpoints.is_empty() { &etcd.endpoints } else { &etcd.http_endpoints };
    let looks = endpoints.iter().map(|endpoint| look(endpoint, etcd, root));
    join_all(looks).await.into_iter().filter_map(Result::err).collect()
}

fn on_host(root: &Path, file: &str) -> PathBuf {
    root.join(file.trim_start_matches('/'))
}

fn files(etcd: &ExternalEtcd, root: &Path) -> Vec<Verdict> {
    [&etcd.ca_file, &etcd.cert_file, &etcd.key_file]
        .into_iter()
        .filter(|file| !file.is_empty() && !on_host(root, file).exists())
        .map(|file| {
            let directory = file.rsplit_once('/').map_or("/", |(directory, _)| directory);
            let text = format!("{file} doesn't exist");
            Verdict::error(CERTIFICATES, "ETCD-CERTIFICATES", text, format!("ls -l {directory}"))
                .because("copy the files that etcd's owner gave you to where the configuration names them")
        })
        .collect()
}

#[derive(Deserialize)]
struct Versions {
    etcdserver: String,
}

async fn look(endpoint: &str, etcd: &ExternalEtcd, root: &Path) -> Result<(), Verdict> {
    let ask =
        format!("curl --cacert {} --cert {} --key {} {endpoint}/version", etcd.ca_file, etcd.cert_file, etcd.key_file);
    let unreachable = |reason: String| {
        Verdict::error(
            VERSION,
            "ETCD-UNREACHABLE",
            format!("etcd at {endpoint} gives no version: {reason}"),
            ask.clone(),
        )
    };
    let file = |name: &str| Some(name).filter(|name| !name.is_empty()).map(|name| on_host(root, name));
    let client = client::with_files(endpoint, file(&etcd.ca_file), file(&etcd.cert_file), file(&etcd.key_file))
        .map_err(|cause| unreachable(cause.to_string()))?;
    let request = http::Request::get("/version").body(Vec::new()).map_err(|e| unreachable(e.to_string()))?;
    let text = match tokio::time::timeout(PATIENCE, client.request_text(request)).await {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => return Err(unreachable(client::brief(&error))),
        Err(_) => return Err(unreachable(format!("no answer within {} s", PATIENCE.as_secs()))),
    };
    let found = serde_json::from_str::<Versions>(&text).map_err(|e| unreachable(e.to_string()))?.etcdserver;
    match parse(&found) {
        Some(version) if version >= OLDEST => Ok(()),
        Some(_) => {
            let (major, minor, patch) = OLDEST;
            let text = format!("etcd at {endpoint} is {found}, at least {major}.{minor}.{patch} is needed");
            Err(Verdict::error(VERSION, "ETCD-VERSION", text, ask))
        }
        None => Err(unreachable(format!("{found:?} is no version"))),
    }
}

fn parse(version: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = version.split(['.', '-', '+']).map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Answers one request.
    async fn etcd_that_says(body: &'static str) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = [0; 2048];
            let _ = stream.read(&mut request).await.expect("a request");
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.expect("taken");
        });
        endpoint
    }

    async fn codes(etcd: &ExternalEtcd, root: &Path) -> Vec<(String, String)> {
        let found = check(etcd, root).await;
        found.into_iter().map(|verdict| (verdict.check, verdict.code.to_string())).collect()
    }

    #[tokio::test]
    async fn endpoints_must_answer_with_a_version_that_is_new_enough() {
        junio_pki::tls::install_default_provider();
        let root = tempfile::tempdir().expect("temporary directory");
        let new = etcd_that_says(r#"{"etcdserver":"3.6.14","etcdcluster":"3.6.0"}"#).await;
        let old = etcd_that_says(r#"{"etcdserver":"3.5.9","etcdcluster":"3.5.0"}"#).await;
        let strange = etcd_that_says("<html>").await;
        let gone = "http://127.0.0.1:1".to_owned();
        let etcd = ExternalEtcd { endpoints: vec![new, old, strange, gone], ..ExternalEtcd::default() };
        let version = |code: &str| (VERSION.to_owned(), format!("JUNIO-{code}"));
        let expected = [version("ETCD-VERSION"), version("ETCD-UNREACHABLE"), version("ETCD-UNREACHABLE")];
        assert_eq!(codes(&etcd, root.path()).await, expected);
    }

    #[tokio::test]
    async fn each_missing_file_is_named_and_nobody_is_asked() {
        let root = tempfile::tempdir().expect("temporary directory");
        std::fs::write(root.path().join("ca.crt"), "x").expect("writable");
        let etcd = ExternalEtcd {
            endpoints: vec!["https://127.0.0.1:1".to_owned()],
            ca_file: "/ca.crt".to_owned(),
            cert_file: "/client.crt".to_owned(),
            key_file: "/client.key".to_owned(),
            ..ExternalEtcd::default()
        };
        let found = check(&etcd, root.path()).await;
        let texts: Vec<_> = found.iter().map(|verdict| verdict.text.as_str()).collect();
        assert_eq!(texts, ["/client.crt doesn't exist", "/client.key doesn't exist"]);
    }
}
