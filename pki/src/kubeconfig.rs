//! Kubeconfigs: kubeadm's five files, the bootstrap one, and that of `cluster-info`.
//!
//! Field order is alphabetical, as client-go writes them. A `Kubeconfig` may hold keys and tokens: its `Debug` shows
//! none, they are zeroed on drop, and files are written with mode 0600.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use junio_api::{Secret, names, yaml};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::error::PkiError;
use crate::parsed::ParsedCertificate;
use crate::store::{self, MODE_SECRET};

/// The file format `v1`, `kind: Config`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kubeconfig {
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub clusters: Vec<NamedCluster>,
    #[serde(default)]
    pub contexts: Option<Vec<NamedContext>>,
    #[serde(rename = "current-context", default)]
    pub current_context: String,
    pub kind: String,
    #[serde(default)]
    pub users: Option<Vec<NamedUser>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedCluster {
    pub cluster: Cluster,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cluster {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority: Option<String>,
    /// Base64 of PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority_data: Option<String>,
    #[serde(default)]
    pub server: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedContext {
    pub context: Context,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    pub cluster: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    pub user: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedUser {
    pub name: String,
    pub user: User,
}

/// Credentials.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct User {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_data: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key_data: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    #[serde(rename = "tokenFile", default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<String>,
}

impl User {
    /// Certificate and key in one file.
    fn from_file(pem_file: &Path) -> Self {
        let mut user = Self::default();
        user.client_certificate = Some(pem_file.display().to_string());
        user.client_key.clone_from(&user.client_certificate);
        user
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("User([REDACTED])")
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.client_key_data.zeroize();
        self.token.zeroize();
    }
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<NamedCluster>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn cluster(server: &str, ca_pem: &str) -> Cluster {
    Cluster {
        certificate_authority: None,
        certificate_authority_data: Some(STANDARD.encode(ca_pem)),
        server: server.to_owned(),
    }
}

impl Kubeconfig {
    /// One cluster, one user; the context is `USER@CLUSTER`.
    #[must_use]
    pub fn new(cluster_name: &str, server: &str, ca_pem: &str, user_name: &str, user: User) -> Self {
        let context = format!("{user_name}@{cluster_name}");
        Self {
            api_version: "v1".to_owned(),
            clusters: vec![NamedCluster { cluster: cluster(server, ca_pem), name: cluster_name.to_owned() }],
            contexts: Some(vec![NamedContext {
                context: Context { cluster: cluster_name.to_owned(), namespace: None, user: user_name.to_owned() },
                name: context.clone(),
            }]),
            current_context: context,
            kind: "Config".to_owned(),
            users: Some(vec![NamedUser { name: user_name.to_owned(), user }]),
        }
    }

    /// A user with an embedded client certificate.
    #[must_use]
    pub fn with_client_certificate(
        cluster_name: &str,
        server: &str,
        ca_pem: &str,
        user: &str,
        certificate: &str,
        key: &Secret<String>,
    ) -> Self {
        let mut credentials = User::default();
        credentials.client_certificate_data = Some(STANDARD.encode(certificate));
        credentials.client_key_data = Some(STANDARD.encode(key.expose()));
        Self::new(cluster_name, server, ca_pem, user, credentials)
    }

    /// A user with a bearer token, for example `tls-bootstrap-token-user` of `bootstrap-kubelet.conf`.
    #[must_use]
    pub fn with_token(cluster_name: &str, server: &str, ca_pem: &str, user: &str, token: &Secret<String>) -> Self {
        let mut credentials = User::default();
        credentials.token = Some(token.expose().clone());
        Self::new(cluster_name, server, ca_pem, user, credentials)
    }

    /// What a kubelet writes for itself after its bootstrap: certificate and key are one file that rotates.
    #[must_use]
    pub fn for_bootstrapped_kubelet(server: &str, ca_pem: &str, pem_file: &Path) -> Self {
        let mut config = Self::new("default-cluster", server, ca_pem, "default-auth", User::from_file(pem_file));
        "default-context".clone_into(&mut config.current_context);
        for context in config.contexts.iter_mut().flatten() {
            "default-context".clone_into(&mut context.name);
            context.context.namespace = Some("default".to_owned());
        }
        config
    }

    /// The one that the ConfigMap `cluster-info` publishes: an unnamed cluster and nothing else.
    #[must_use]
    pub fn cluster_info(server: &str, ca_pem: &str) -> Self {
        Self {
            api_version: "v1".to_owned(),
            clusters: vec![NamedCluster { cluster: cluster(server, ca_pem), name: String::new() }],
            contexts: None,
            current_context: String::new(),
            kind: "Config".to_owned(),
            users: None,
        }
    }

    /// Reads a text; `path` names it in errors.
    pub fn parse(text: &str, path: &Path) -> Result<Self, PkiError> {
        yaml::from_str(text).map_err(|e| PkiError::Kubeconfig { path: path.to_owned(), reason: first_line(&e.message) })
    }

    /// Reads a file; `None` when it does not exist.
    pub fn load(path: &Path) -> Result<Option<Self>, PkiError> {
        store::read(path)?.map(|text| Self::parse(&text, path)).transpose()
    }

    /// Its YAML.
    pub fn to_yaml(&self) -> Result<Secret<String>, PkiError> {
        Ok(Secret::new(yaml::to_string(self)?))
    }

    /// Writes it with mode 0600, atomically.
    pub fn write(&self, path: &Path) -> Result<(), PkiError> {
        store::write(path, self.to_yaml()?.expose().as_bytes(), MODE_SECRET)
    }

    /// The cluster and the user of the current context; the only ones if there is no such context.
    #[must_use]
    pub fn current(&self) -> Option<(&Cluster, Option<&NamedUser>)> {
        let users = self.users.as_deref().unwrap_or_default();
        let context = self.contexts.iter().flatten().find(|c| c.name == self.current_context).map(|c| &c.context);
        let Some(context) = context else {
            return self.clusters.first().map(|c| (&c.cluster, users.first()));
        };
        let cluster = self.clusters.iter().find(|c| c.name == context.cluster)?;
        Some((&cluster.cluster, users.iter().find(|u| u.name == context.user)))
    }

    /// The CA of the current cluster as PEM, embedded or from its file.
    pub fn ca_pem(&self, path: &Path) -> Result<Option<String>, PkiError> {
        let Some((cluster, _)) = self.current() else { return Ok(None) };
        match (&cluster.certificate_authority_data, &cluster.certificate_authority) {
            (Some(data), _) => decode(data, path, "certificate-authority-data").map(Some),
            (None, Some(file)) => store::read(&PathBuf::from(file)),
            (None, None) => Ok(None),
        }
    }

    /// The embedded client certificate of the current user; `None` when it refers to a file or has none.
    pub fn client_certificate(&self, path: &Path) -> Result<Option<ParsedCertificate>, PkiError> {
        let data = self.current().and_then(|(_, user)| user?.user.client_certificate_data.as_ref());
        let Some(data) = data else { return Ok(None) };
        let text = decode(data, path, "client-certificate-data")?;
        ParsedCertificate::from_pem(&text, &path.display().to_string()).map(Some)
    }

    /// Replaces references to files by their content, which `read` gives, so that it can be used elsewhere.
    pub fn embed_files<E>(&mut self, read: impl Fn(&str) -> Result<String, E>) -> Result<(), E> {
        let take = |file: &mut Option<String>, data: &mut Option<String>| {
            if let (Some(path), None) = (file.as_deref(), data.as_deref()) {
                let content = Secret::new(read(path)?);
                *data = Some(STANDARD.encode(content.expose()));
            }
            *file = None;
            Ok(())
        };
        for named in &mut self.clusters {
            take(&mut named.cluster.certificate_authority, &mut named.cluster.certificate_authority_data)?;
        }
        for user in self.users.iter_mut().flatten().map(|named| &mut named.user) {
            take(&mut user.client_certificate, &mut user.client_certificate_data)?;
            take(&mut user.client_key, &mut user.client_key_data)?;
            if let (Some(path), None) = (user.token_file.take(), &user.token) {
                user.token = Some(read(&path)?.trim().to_owned());
            }
        }
        Ok(())
    }

    /// Its current cluster and user alone, under a context of their own; anonymous where it has no user. `None` without a
    /// cluster.
    #[must_use]
    pub fn alone(&self) -> Option<Self> {
        let (cluster, user) = self.current()?;
        let named = user.cloned().unwrap_or_else(|| NamedUser { name: "anonymous".to_owned(), user: User::default() });
        let mut config = Self::new("kubernetes", &cluster.server, "", &named.name, named.user);
        for only in &mut config.clusters {
            only.cluster = cluster.clone();
        }
        Some(config)
    }

    /// Gives every cluster of it this CA.
    pub fn set_ca(&mut self, ca_pem: &str) {
        for named in &mut self.clusters {
            named.cluster.certificate_authority = None;
            named.cluster.certificate_authority_data = Some(STANDARD.encode(ca_pem));
        }
    }

    /// Makes the kubelet's kubeconfig refer to the file that holds its rotating certificate and key.
    pub fn point_to_client_file(&mut self, pem_file: &Path) {
        for named in self.users.iter_mut().flatten() {
            named.user = User::from_file(pem_file);
        }
    }
}

/// The user name of a node, `system:node:NAME`.
#[must_use]
pub fn node_user(node_name: &str) -> String {
    format!("{}{node_name}", names::NODE_USER_PREFIX)
}

fn decode(data: &str, path: &Path, field: &str) -> Result<String, PkiError> {
    let fail = || PkiError::Kubeconfig { path: path.to_owned(), reason: format!("{field} is not base64 of PEM") };
    String::from_utf8(STANDARD.decode(data).map_err(|_| fail())?).map_err(|_| fail())
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}
