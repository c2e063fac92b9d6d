//! Discovery by file: a kubeconfig, from this host or over https, that names the cluster and perhaps carries credentials.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use junio_api::token::Token;
use junio_pki::Kubeconfig;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, Config};

use super::answer::{NoAnswer, ask, ask_until};
use super::error::JoinError;
use super::token_discovery::Found;
use crate::client::connect_with;
use crate::error::Cause;
use crate::phase_id::PhaseId;
use crate::run::Run;

const CONNECT: Duration = Duration::from_secs(5);

/// Finds the cluster. `token`, when there is one, is what the kubelet's first request is made with.
pub(crate) async fn discover(
    run: &Run<'_>,
    location: &str,
    token: Option<&Token>,
    patience: Duration,
) -> Result<Found, Cause> {
    let text = if location.starts_with("https://") {
        fetch(run, location, patience).await?
    } else {
        let path = local_path(location);
        std::fs::read_to_string(&path).map_err(|error| file_error(location, &error.to_string()))?
    };
    let path = local_path(location);
    let mut config = Kubeconfig::parse(&text, &path).map_err(|error| file_error(location, &error.to_string()))?;
    let embedded = embed(&mut config, &path);
    embedded.map_err(|reason| file_error(location, &reason))?;
    let Some((cluster, user)) = config.current() else { return Err(file_error(location, "it names no cluster")) };
    let server = cluster.server.trim_end_matches('/').to_owned();
    if !server.starts_with("https://") {
        return Err(file_error(location, "its cluster has no https:// server"));
    }
    let has_credentials =
        user.is_some_and(|named| named.user.token.is_some() || named.user.client_certificate_data.is_some());
    if token.is_none() && !has_credentials {
        return Err(file_error(
            location,
            "it has no token and no client certificate, and no --tls-bootstrap-token is given",
        ));
    }
    let ca_pem = match config.ca_pem(&path).map_err(Cause::other)? {
        Some(ca_pem) => ca_pem,
        None => published_ca(run, location, &config, patience).await?,
    };
    run.line(PhaseId::Discovery, format!("Found the cluster at {server} by {location}"));
    Ok(match token {
        Some(token) => Found::with_token(&server, &ca_pem, token),
        None => {
            let mut bootstrap = config.alone().unwrap_or(config);
            bootstrap.set_ca(&ca_pem);
            Found { server, ca_pem, bootstrap, credentials: format!("credentials of {location}") }
        }
    })
}

/// The path that a location names.
pub(crate) fn local_path(location: &str) -> PathBuf {
    PathBuf::from(location.strip_prefix("file://").unwrap_or(location))
}

fn file_error(location: &str, reason: &str) -> Cause {
    Cause::other(JoinError::File { location: location.to_owned(), reason: reason.to_owned() })
}

/// Puts the content of files that the kubeconfig names into it: it is going to live elsewhere. Relative paths start at
/// the kubeconfig's directory.
fn embed(config: &mut Kubeconfig, path: &Path) -> Result<(), String> {
    let base = path.parent().map(Path::to_owned).unwrap_or_default();
    config.embed_files(|file| {
        std::fs::read_to_string(base.join(file)).map_err(|error| format!("{}: {error}", base.join(file).display()))
    })
}

/// Over TLS that this host's own list of authorities verifies.
async fn fetch(run: &Run<'_>, location: &str, patience: Duration) -> Result<String, Cause> {
    let address: Uri = location.parse().map_err(|_| file_error(location, "this is no address"))?;
    let path = address.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    let origin = format!("https://{}", address.authority().map(ToString::to_string).unwrap_or_default());
    let client = public(&origin, location)?;
    let request = || {
        let (client, path) = (client.clone(), path.clone());
        async move {
            let request = http::Request::get(path).body(Vec::new());
            let request = request.map_err(|error| NoAnswer::Silence(error.to_string()))?;
            ask(client.request_text(request)).await
        }
    };
    let of = |error: &NoAnswer| file_error(location, &error.text());
    ask_until(
        run,
        format!("the discovery file {location}"),
        patience,
        request,
        |error| (!error.is_transient()).then(|| of(error)),
        |error| of(&error),
    )
    .await
}

/// A client that trusts whom this host trusts.
fn public(server: &str, location: &str) -> Result<Client, Cause> {
    let mut config = Config::new(server.parse().map_err(|_| file_error(location, "this is no address"))?);
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    Client::try_from(config).map_err(|error| file_error(location, &error.to_string()))
}

/// A file without a CA: the server's certificate is one that this host trusts anyway, and `cluster-info` names the CA.
async fn published_ca(run: &Run<'_>, location: &str, config: &Kubeconfig, patience: Duration) -> Result<String, Cause> {
    let client = connect_with(config, location).await?;
    let map = ask_until(
        run,
        "cluster-info of the cluster of the discovery file".to_owned(),
        patience,
        || {
            let client = client.clone();
            async move { ask(Api::<ConfigMap>::namespaced(client, "kube-public").get("cluster-info")).await }
        },
        |error| (!error.is_transient()).then(|| file_error(location, &format!("it names no CA: {}", error.text()))),
        |error| file_error(location, &format!("it names no CA, and cluster-info cannot be had: {}", error.text())),
    )
    .await?;
    let text = map.data.and_then(|mut data| data.remove("kubeconfig")).unwrap_or_default();
    let path = Path::new("ConfigMap kube-public/cluster-info");
    let published = Kubeconfig::parse(&text, path).map_err(Cause::other)?;
    let ca =
        if text.contains("certificate-authority-data") { published.ca_pem(path).map_err(Cause::other)? } else { None };
    ca.ok_or_else(|| file_error(location, "neither it nor cluster-info names a CA"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_a_kubeconfig_names_are_taken_into_it() {
        let directory = tempfile::tempdir().expect("temporary directory");
        for (name, text) in [("ca.crt", "CA"), ("client.crt", "CERT"), ("client.key", "KEY")] {
            std::fs::write(directory.path().join(name), text).expect("written");
        }
        let text = "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
                    clusters: [{name: k, cluster: {server: \"https://a:6443\", certificate-authority: ca.crt}}]\n\
                    contexts: [{name: c, context: {cluster: k, user: u}}]\n\
                    users: [{name: u, user: {client-certificate: client.crt, client-key: client.key}}]\n";
        let path = directory.path().join("join.conf");
        let mut config = Kubeconfig::parse(text, &path).expect("parses");
        embed(&mut config, &path).expect("all files are there");
        assert_eq!(config.ca_pem(&path).expect("decodes").as_deref(), Some("CA"));
        let (_, user) = config.current().expect("a context");
        let user = &user.expect("a user").user;
        assert!(user.client_certificate_data.is_some() && user.client_key_data.is_some());
        assert!(user.client_certificate.is_none() && user.client_key.is_none());
        std::fs::remove_file(directory.path().join("client.key")).expect("removed");
        let mut config = Kubeconfig::parse(text, &path).expect("parses");
        assert!(embed(&mut config, &path).expect_err("one is missing").contains("client.key"));
    }
}
