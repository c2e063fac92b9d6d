//! Reads a text of several documents into typed ones, strictly: unknown and repeated fields, unknown kinds and the same kind
//! twice are errors with line and column.

use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::cluster::ClusterConfiguration;
use super::component::{self, ComponentConfig};
use super::error::{ConfigError, Place, Problem, Warning};
use super::fleet::Cluster;
use super::init::InitConfiguration;
use super::join::JoinConfiguration;
use super::reset::ResetConfiguration;
use super::schema;
use super::split::{self, Part};
use super::tree::Tree;
use super::upgrade::UpgradeConfiguration;
use crate::yaml;

pub(super) const KUBEADM_API: &str = "kubeadm.k8s.io/v1beta4";

/// A kind of document that we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    InitConfiguration,
    ClusterConfiguration,
    JoinConfiguration,
    ResetConfiguration,
    UpgradeConfiguration,
    KubeletConfiguration,
    KubeProxyConfiguration,
    /// Ours: hosts, their roles and the way to them.
    Cluster,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::InitConfiguration,
        Self::ClusterConfiguration,
        Self::JoinConfiguration,
        Self::ResetConfiguration,
        Self::UpgradeConfiguration,
        Self::KubeletConfiguration,
        Self::KubeProxyConfiguration,
        Self::Cluster,
    ];

    /// `apiVersion` of this kind.
    #[must_use]
    pub fn api_version(self) -> &'static str {
        match self {
            Self::KubeletConfiguration => component::KUBELET_API,
            Self::KubeProxyConfiguration => component::KUBE_PROXY_API,
            Self::Cluster => super::fleet::API,
            _ => KUBEADM_API,
        }
    }

    fn parse(api_version: &str, kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.api_version() == api_version && k.to_string() == kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Every document of a text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Documents {
    pub init: Option<InitConfiguration>,
    pub cluster: Option<ClusterConfiguration>,
    pub join: Option<JoinConfiguration>,
    pub reset: Option<ResetConfiguration>,
    pub upgrade: Option<UpgradeConfiguration>,
    pub kubelet: Option<ComponentConfig>,
    pub kube_proxy: Option<ComponentConfig>,
    /// The document of `apply`.
    pub fleet: Option<Cluster>,
}

/// What `init` works with. A component's document is `None` when the user gave none.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InitDocuments {
    pub init: InitConfiguration,
    pub cluster: ClusterConfiguration,
    pub kubelet: Option<ComponentConfig>,
    pub kube_proxy: Option<ComponentConfig>,
}

/// What `join` works with.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JoinDocuments {
    pub join: JoinConfiguration,
}

/// Reads all documents of a text. Empty documents are skipped.
pub fn load(text: &str) -> Result<Documents, ConfigError> {
    let mut documents = Documents::default();
    for part in split::documents(text) {
        let (kind, place) = kind_of(&part)?;
        match kind {
            Kind::InitConfiguration => store(&mut documents.init, kind, place, typed(&part, kind)?)?,
            Kind::ClusterConfiguration => store(&mut documents.cluster, kind, place, typed(&part, kind)?)?,
            Kind::JoinConfiguration => store(&mut documents.join, kind, place, typed(&part, kind)?)?,
            Kind::ResetConfiguration => store(&mut documents.reset, kind, place, typed(&part, kind)?)?,
            Kind::UpgradeConfiguration => store(&mut documents.upgrade, kind, place, typed(&part, kind)?)?,
            Kind::KubeletConfiguration => {
                store(&mut documents.kubelet, kind, place, free_form(&part, kind)?)?;
            }
            Kind::KubeProxyConfiguration => {
                store(&mut documents.kube_proxy, kind, place, free_form(&part, kind)?)?;
            }
            Kind::Cluster => {
                let cluster = typed(&part, kind)?;
                embedded_components(&part)?;
                store(&mut documents.fleet, kind, place, cluster)?;
            }
        }
    }
    Ok(documents)
}

/// Reads what `init` needs: an InitConfiguration, a ClusterConfiguration, or both; documents of other commands are named in
/// a warning.
pub fn load_init(text: &str) -> Result<(InitDocuments, Vec<Warning>), ConfigError> {
    let documents = load(text)?;
    if documents.init.is_none() && documents.cluster.is_none() {
        return Err(ConfigError::new(Problem::Missing("InitConfiguration or ClusterConfiguration"), None));
    }
    let others = [
        (documents.join.is_some(), Kind::JoinConfiguration),
        (documents.reset.is_some(), Kind::ResetConfiguration),
        (documents.upgrade.is_some(), Kind::UpgradeConfiguration),
        (documents.fleet.is_some(), Kind::Cluster),
    ];
    let warnings = others.iter().filter(|(present, _)| *present).map(|(_, kind)| ignored(*kind, "init")).collect();
    let Documents { init, cluster, kubelet, kube_proxy, .. } = documents;
    Ok((
        InitDocuments { init: init.unwrap_or_default(), cluster: cluster.unwrap_or_default(), kubelet, kube_proxy },
        warnings,
    ))
}

/// Reads the JoinConfiguration of a text.
pub fn load_join(text: &str) -> Result<JoinDocuments, ConfigError> {
    let join = load(text)?.join.ok_or_else(|| ConfigError::new(Problem::Missing("JoinConfiguration"), None))?;
    Ok(JoinDocuments { join })
}

/// Reads the ResetConfiguration of a text.
pub fn load_reset(text: &str) -> Result<ResetConfiguration, ConfigError> {
    load(text)?.reset.ok_or_else(|| ConfigError::new(Problem::Missing("ResetConfiguration"), None))
}

/// Reads the Cluster of a text. Documents beside it would be read by nobody: they belong into `spec.kubeadm`.
pub fn load_fleet(text: &str) -> Result<Cluster, ConfigError> {
    for part in split::documents(text) {
        let (kind, place) = kind_of(&part)?;
        if kind != Kind::Cluster {
            return Err(ConfigError::new(Problem::Beside(kind), Some(place)));
        }
    }
    load(text)?.fleet.ok_or_else(|| ConfigError::new(Problem::Missing("Cluster"), None))
}

/// The place of a field in a text that `load` has accepted.
#[must_use]
pub fn locate(text: &str, kind: Kind, path: &str) -> Option<Place> {
    let part = split::documents(text).find(|part| kind_of(part).is_ok_and(|(found, _)| found == kind))?;
    yaml::from_str::<Tree>(&part.padded).ok()?.locate(path)
}

fn ignored(kind: Kind, command: &str) -> Warning {
    Warning { text: format!("{kind} is not used by {command} and was left aside"), place: None }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypeMeta {
    api_version: Option<Spanned<String>>,
    kind: Option<Spanned<String>>,
}

fn kind_of(part: &Part) -> Result<(Kind, Place), ConfigError> {
    let start = Place { line: part.first_line, column: 1 };
    let meta: TypeMeta = yaml::from_str(&part.padded).map_err(|e| malformed(&e))?;
    let api_version = meta.api_version.ok_or(ConfigError::new(Problem::NoType("apiVersion"), Some(start)))?;
    let kind = meta.kind.ok_or(ConfigError::new(Problem::NoType("kind"), Some(start)))?;
    let place = Place::from(kind.referenced);
    Kind::parse(&api_version.value, &kind.value).map(|found| (found, place)).ok_or_else(|| {
        let old = api_version.value.starts_with("kubeadm.k8s.io/") && Kind::parse(KUBEADM_API, &kind.value).is_some();
        let (api_version, kind) = (api_version.value, kind.value);
        let problem =
            if old { Problem::OldVersion { api_version, kind } } else { Problem::UnknownKind { api_version, kind } };
        ConfigError::new(problem, Some(place))
    })
}

fn store<T>(slot: &mut Option<T>, kind: Kind, place: Place, value: T) -> Result<(), ConfigError> {
    if slot.is_some() {
        return Err(ConfigError::new(Problem::Twice(kind), Some(place)));
    }
    *slot = Some(value);
    Ok(())
}

fn typed<T: DeserializeOwned>(part: &Part, kind: Kind) -> Result<T, ConfigError> {
    yaml::from_str(&part.padded).map_err(|e| unknown_field(&e, kind).unwrap_or_else(|| malformed(&e)))
}

/// The components' documents in a Cluster are held against their types, as they are where they stand alone.
fn embedded_components(part: &Part) -> Result<(), ConfigError> {
    let tree: Tree = yaml::from_str(&part.padded).map_err(|e| malformed(&e))?;
    let components = [
        (Kind::KubeletConfiguration, "kubeletConfiguration"),
        (Kind::KubeProxyConfiguration, "kubeProxyConfiguration"),
    ];
    for (kind, field) in components {
        let Some(document @ Tree::Mapping(_)) = tree.get(&["spec", "kubeadm", field]) else { continue };
        if let Some(mistake) = schema::check(&kind.to_string(), document) {
            let place = mistake.place;
            return Err(ConfigError::new(Problem::Component { kind, mistake: Box::new(mistake) }, place));
        }
    }
    Ok(())
}

fn free_form(part: &Part, kind: Kind) -> Result<ComponentConfig, ConfigError> {
    let tree: Tree = yaml::from_str(&part.padded).map_err(|e| malformed(&e))?;
    if let Some(mistake) = schema::check(&kind.to_string(), &tree) {
        let place = mistake.place;
        return Err(ConfigError::new(Problem::Component { kind, mistake: Box::new(mistake) }, place));
    }
    let Value::Object(mut object) = tree.to_value() else { return Ok(ComponentConfig::default()) };
    object.remove("apiVersion");
    object.remove("kind");
    Ok(ComponentConfig(object))
}

pub(super) fn malformed(error: &yaml::ParseError) -> ConfigError {
    // The parser talks to programmers in its last clause.
    let reason = error.reason.split(", set DuplicateKeyPolicy").next().unwrap_or_default();
    ConfigError::new(Problem::Malformed(reason.to_owned()), error_place(error))
}

fn error_place(error: &yaml::ParseError) -> Option<Place> {
    Some(Place { line: error.line?, column: error.column? })
}

/// The parser's "unknown field `x`, expected one of a, b" as our own shorter text.
fn unknown_field(error: &yaml::ParseError, kind: Kind) -> Option<ConfigError> {
    let (_, rest) = error.reason.split_once("unknown field `")?;
    let (field, rest) = rest.split_once('`')?;
    let known = rest.split_once("one of ").map_or("", |(_, known)| known).split(", ");
    let suggestion = nearest(field, known.filter(|name| !["apiVersion", "kind"].contains(name)));
    let problem = Problem::UnknownField { kind, field: field.to_owned(), suggestion };
    Some(ConfigError::new(problem, error_place(error)))
}

/// The known name that is closest to `word`, if it is close.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    known
        .map(|name| (distance(&word.to_lowercase(), &name.to_lowercase()), name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .map(|(_, name)| name.to_owned())
}

/// Edit distance (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
