//! Texts of component configurations in ConfigMaps, and the annotation that marks those that nobody wrote by hand.

use junio_api::yaml::EmitError;
use junio_api::{config, names};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The YAML text of a configuration object, keys sorted.
pub fn text(config: &Value) -> Result<String, EmitError> {
    config::emit::to_multi_yaml(std::slice::from_ref(config))
}

/// `sha256:HEX` over the values of a ConfigMap's data in the order of their keys, as kubeadm's upgrade checks it.
#[must_use]
pub fn hash(data: &[(&str, &str)]) -> String {
    let mut sorted = data.to_vec();
    sorted.sort_by_key(|(key, _)| *key);
    let digest = sorted.iter().fold(Sha256::new(), |hash, (_, value)| hash.chain_update(value));
    let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Annotations of a ConfigMap: the hash when its content was generated, nothing when the user wrote the document.
pub(crate) fn annotations(data: &[(&str, &str)], generated: bool) -> Option<Map<String, Value>> {
    generated.then(|| Map::from_iter([(names::ANNOTATION_COMPONENT_CONFIG_HASH.to_owned(), hash(data).into())]))
}
