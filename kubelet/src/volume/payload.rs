//! The files of config map and secret volumes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, KeyToPath, Secret};

use super::atomic_writer::{FileProjection, Payload};
use super::error::VolumeError;
use crate::objects::ObjectError;

/// Mode of files when nothing says otherwise.
pub(super) const DEFAULT_MODE: u32 = 0o644;

/// All keys of a config map, text and binary.
pub(super) fn config_map_keys(map: &ConfigMap) -> BTreeMap<String, Vec<u8>> {
    let text = map.data.iter().flatten().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone()));
    text.chain(binary).collect()
}

/// All keys of a secret.
pub(super) fn secret_keys(secret: &Secret) -> BTreeMap<String, Vec<u8>> {
    secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect()
}

/// Files from keys: all of them under their own names, or the chosen `items`.
pub(super) fn project(
    keys: BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    default_mode: u32,
    optional: bool,
    what: &'static str,
) -> Result<Payload, VolumeError> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        let file = |data| FileProjection { data, mode: default_mode, uid: None };
        return Ok(keys.into_iter().map(|(key, data)| (key, file(data))).collect());
    };
    let mut payload = Payload::new();
    for item in items {
        match keys.get(&item.key) {
            Some(data) => {
                let mode = mode_of(item.mode, default_mode);
                payload.insert(item.path.clone(), FileProjection { data: data.clone(), mode, uid: None });
            }
            None if optional => {}
            None => return Err(VolumeError::MissingKey { what, key: item.key.clone() }),
        }
    }
    Ok(payload)
}

/// An optional object that does not exist has no files.
pub(super) fn optional<T>(result: Result<T, ObjectError>, optional: Option<bool>) -> Result<Option<T>, VolumeError> {
    match result {
        Ok(object) => Ok(Some(object)),
        Err(ObjectError::NotFound(_)) if optional == Some(true) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The API's modes are small non-negative numbers.
pub(super) fn mode_of(mode: Option<i32>, default: u32) -> u32 {
    mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(key: &str, path: &str, mode: Option<i32>) -> KeyToPath {
        KeyToPath { key: key.into(), path: path.into(), mode }
    }

    #[test]
    fn projects_all_or_chosen_keys() {
        let keys = || BTreeMap::from([("a".to_owned(), b"1".to_vec()), ("b".to_owned(), b"2".to_vec())]);
        let all = project(keys(), None, 0o644, false, "config").expect("files");
        assert_eq!(all.keys().collect::<Vec<_>>(), ["a", "b"]);
        let chosen = project(keys(), Some(&[item("b", "dir/x", Some(0o400))]), 0o644, false, "config").expect("files");
        assert_eq!(chosen.len(), 1);
        assert_eq!((chosen["dir/x"].data.as_slice(), chosen["dir/x"].mode), (b"2".as_slice(), 0o400));
        let missing = [item("c", "x", None), item("a", "y", None)];
        let error = project(keys(), Some(&missing), 0o644, false, "config").expect_err("missing");
        assert_eq!(error.to_string(), "references non-existent config key: c");
        assert_eq!(project(keys(), Some(&missing), 0o644, true, "config").expect("files").len(), 1);
    }
}
