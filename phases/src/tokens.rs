//! Bootstrap tokens in the cluster: Secrets `bootstrap-token-ID` in kube-system.
//!
//! Source: the Kubernetes bootstrap token format; kubeadm v1.36.3 writes the same keys.

use jiff::{SignedDuration, Timestamp};
use junio_api::config::BootstrapToken;
use junio_api::names;
use junio_api::token::{Token, is_token_id};
use junio_templates::TemplateError;
use junio_templates::bootstrap::{BootstrapTokenSecret, bootstrap_token, secret_name};
use k8s_openapi::api::core::v1::Secret as SecretObject;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde::Serialize;
use serde_json::Value;

use crate::client::ApiError;

const TYPE: &str = "bootstrap.kubernetes.io/token";
const USAGE: &str = "usage-bootstrap-";

/// A token as `token list` shows it; the secret half is only in `token`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedToken {
    pub token: Token,
    pub description: String,
    /// `None`: never.
    pub expires: Option<Timestamp>,
    pub usages: Vec<String>,
    pub groups: Vec<String>,
}

/// The Secret of a token whose defaults are applied; `None` when it has no token. `now` starts its time to live.
pub fn secret_object(token: &BootstrapToken, now: Timestamp) -> Result<Option<Value>, TemplateError> {
    let Some(value) = token.token.as_ref() else { return Ok(None) };
    let ttl = token.ttl.map(|ttl| ttl.0).filter(|ttl| !ttl.is_zero());
    let expires =
        token.expires.or_else(|| ttl.and_then(|ttl| now.checked_add(SignedDuration::try_from(ttl).ok()?).ok()));
    let object = bootstrap_token(&BootstrapTokenSecret {
        id: value.id(),
        secret: value.secret(),
        expiration: expires.map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        usages: &token.usages,
        groups: &token.groups,
        description: Some(token.description.as_str()).filter(|text| !text.is_empty()),
    })?;
    Ok(Some(object.into_value()))
}

/// Stores a token whose defaults are applied. An id that is taken already is an error.
pub async fn create(client: &Client, token: &BootstrapToken) -> Result<(), ApiError> {
    let failed = |source| ApiError::Request { operation: "create the bootstrap token".to_owned(), source };
    let object = secret_object(token, Timestamp::now())
        .map_err(|source| ApiError::Render { source })?
        .ok_or_else(|| ApiError::NotAnObject("a token without a value".to_owned()))?;
    let object: SecretObject = serde_json::from_value(object).map_err(|e| failed(kube::Error::SerdeError(e)))?;
    secrets(client).create(&PostParams::default(), &object).await.map_err(failed)?;
    Ok(())
}

/// All bootstrap tokens, sorted by id. Secrets that are malformed are left out.
pub async fn list(client: &Client) -> Result<Vec<ListedToken>, ApiError> {
    let failed = |source| ApiError::Request { operation: "list bootstrap tokens".to_owned(), source };
    let parameters = ListParams::default().fields(&format!("type={TYPE}"));
    let found = secrets(client).list(&parameters).await.map_err(failed)?;
    let mut tokens: Vec<ListedToken> = found.items.iter().filter_map(listed).collect();
    tokens.sort_by(|a, b| a.token.id().cmp(b.token.id()));
    Ok(tokens)
}

/// Deletes by id or whole token; false when there was none.
pub async fn delete(client: &Client, id_or_token: &str) -> Result<bool, ApiError> {
    let id = id_or_token.parse::<Token>().map_or_else(|_| id_or_token.to_owned(), |token| token.id().to_owned());
    if !is_token_id(&id) {
        return Err(ApiError::NotAnObject("this text is no bootstrap token and no token id; it".to_owned()));
    }
    match secrets(client).delete(&secret_name(&id), &DeleteParams::default()).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(source) => Err(ApiError::Request { operation: format!("delete the bootstrap token {id}"), source }),
    }
}

fn secrets(client: &Client) -> Api<SecretObject> {
    Api::namespaced(client.clone(), names::KUBE_SYSTEM)
}

fn listed(secret: &SecretObject) -> Option<ListedToken> {
    let data = secret.data.as_ref()?;
    let text = |key: &str| data.get(key).and_then(|value| String::from_utf8(value.0.clone()).ok());
    let token = format!("{}.{}", text("token-id")?, text("token-secret")?).parse().ok()?;
    let usages = data
        .keys()
        .filter(|key| text(key).as_deref() == Some("true"))
        .filter_map(|key| key.strip_prefix(USAGE))
        .map(str::to_owned);
    Some(ListedToken {
        token,
        description: text("description").unwrap_or_default(),
        expires: text("expiration").and_then(|time| time.parse().ok()),
        usages: usages.collect(),
        groups: text("auth-extra-groups")
            .map(|groups| groups.split(',').map(str::to_owned).collect())
            .unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::documents;

    fn stored(token: &BootstrapToken, now: &str) -> SecretObject {
        let object = secret_object(token, now.parse().expect("a time")).expect("renders").expect("a token");
        serde_json::from_value(object).expect("a Secret")
    }

    #[test]
    fn a_stored_token_is_listed_as_it_was_given() {
        let token = &documents().init.bootstrap_tokens[0];
        let found = listed(&stored(token, "2026-11-20T23:17:13Z")).expect("well-formed");
        assert_eq!(Some(&found.token), token.token.as_ref());
        assert_eq!(found.usages, ["authentication", "signing"]);
        assert_eq!(found.groups, ["system:bootstrappers:kubeadm:default-node-token"]);
        assert_eq!(found.expires, Some("2026-11-21T23:17:13Z".parse().expect("a time")));
    }

    #[test]
    fn a_token_without_an_end_has_no_expiration() {
        let mut token = documents().init.bootstrap_tokens[0].clone();
        token.ttl = Some(junio_api::duration::GoDuration::default());
        assert_eq!(listed(&stored(&token, "2026-11-20T23:17:13Z")).expect("well-formed").expires, None);
    }
}
