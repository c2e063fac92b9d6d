//! Who is asking: a client certificate, a bearer token, or nobody.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::Api;
use kube::api::PostParams;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::certs::client::ApiClient;

const TOKEN_CACHE: Duration = Duration::from_secs(120);
const MAX_CACHED: usize = 1024;

/// A user as Kubernetes knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    pub user: String,
    pub groups: Vec<String>,
}

impl Identity {
    /// The subject of a verified client certificate: CN is the user, every O a group.
    #[must_use]
    pub fn from_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let mut groups: Vec<String> =
            subject.iter_organization().filter_map(|o| o.as_str().ok().map(str::to_owned)).collect();
        groups.push("system:authenticated".to_owned());
        Some(Self { user, groups })
    }

    fn anonymous() -> Self {
        Self { user: "system:anonymous".to_owned(), groups: vec!["system:unauthenticated".to_owned()] }
    }
}

/// What reviews answered, by SHA-256 of the token, so that no token stays in memory.
type ReviewedTokens = HashMap<[u8; 32], (Instant, Option<Identity>)>;

/// Answers who asks.
pub struct Authenticator {
    api: Option<ApiClient>,
    anonymous: bool,
    tokens: Mutex<ReviewedTokens>,
}

impl Authenticator {
    pub fn new(api: Option<ApiClient>, anonymous: bool) -> Self {
        Self { api, anonymous, tokens: Mutex::new(HashMap::new()) }
    }

    /// `certificate` is the identity of the connection, if it has one. `None` is 401.
    pub async fn authenticate(&self, certificate: Option<&Identity>, headers: &HeaderMap) -> Option<Identity> {
        if let Some(identity) = certificate {
            return Some(identity.clone());
        }
        let bearer = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        match (bearer, &self.api) {
            (Some(token), Some(api)) => self.review(api, token).await,
            (Some(_), None) => None,
            (None, _) => self.anonymous.then(Identity::anonymous),
        }
    }

    async fn review(&self, api: &ApiClient, token: &str) -> Option<Identity> {
        let key: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Ok(tokens) = self.tokens.lock()
            && let Some((since, known)) = tokens.get(&key)
            && since.elapsed() < TOKEN_CACHE
        {
            return known.clone();
        }
        let review = TokenReview {
            spec: TokenReviewSpec { token: token.to_owned(), ..TokenReviewSpec::default() },
            ..TokenReview::default()
        };
        let reviews: Api<TokenReview> = Api::all(api.current());
        let answer = match reviews.create(&PostParams::default(), &review).await {
            Ok(answer) => answer.status.unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%error, "token could not be reviewed");
                return None;
            }
        };
        let identity = (answer.authenticated == Some(true))
            .then_some(answer.user)
            .flatten()
            .map(|user| Identity { user: user.username.unwrap_or_default(), groups: user.groups.unwrap_or_default() });
        if let Ok(mut tokens) = self.tokens.lock() {
            if tokens.len() >= MAX_CACHED {
                tokens.retain(|_, (since, _)| since.elapsed() < TOKEN_CACHE);
            }
            if tokens.len() < MAX_CACHED {
                tokens.insert(key, (Instant::now(), identity.clone()));
            }
        }
        identity
    }
}
