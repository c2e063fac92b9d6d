//! The list of accepted differences: nothing outside it passes, and nothing in it may be out of date.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use crate::diff::Difference;

/// `accepted.yaml`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Accepted {
    differences: Vec<Entry>,
    /// Values that the API server fills in, which the reference has because it was read back from one.
    api_server_defaults: Vec<Default>,
    /// Objects that only we have.
    additional_objects: Vec<Additional>,
    #[serde(skip)]
    used: RefCell<BTreeSet<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// A file name, or `KIND NAMESPACE/NAME`.
    object: String,
    path: String,
    change: String,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Default {
    /// The last keys of a path.
    key: String,
    value: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Additional {
    object: String,
    reason: String,
}

impl Accepted {
    pub fn load() -> Self {
        let accepted: Self = junio_api::yaml::from_str(include_str!("accepted.yaml")).expect("accepted.yaml is valid");
        let reasons =
            accepted.differences.iter().map(|e| &e.reason).chain(accepted.additional_objects.iter().map(|a| &a.reason));
        assert!(reasons.into_iter().all(|reason| reason.len() > 10), "every entry has a reason");
        accepted
    }

    /// What is left of `found` after the list.
    pub fn remaining(&self, object: &str, found: Vec<Difference>) -> Vec<String> {
        found
            .into_iter()
            .filter(|d| !self.covers(object, d))
            .map(|d| format!("{object}: {}: {}", d.path, d.change))
            .collect()
    }

    fn covers(&self, object: &str, difference: &Difference) -> bool {
        let entry = self
            .differences
            .iter()
            .find(|e| e.object == object && e.path == difference.path && e.change == difference.change);
        if let Some(entry) = entry {
            self.used.borrow_mut().insert(format!("{} {} {}", entry.object, entry.path, entry.change));
            return true;
        }
        let default = self.api_server_defaults.iter().find(|d| {
            let value = d.value.as_str().map_or_else(|| d.value.to_string(), str::to_owned);
            difference.change == format!("- {value}")
                && (difference.path == d.key || difference.path.ends_with(&format!(".{}", d.key)))
        });
        if let Some(default) = default {
            self.used.borrow_mut().insert(format!("default {} {}", default.key, default.value));
        }
        default.is_some()
    }

    /// True for an object that only we have.
    pub fn is_additional(&self, object: &str) -> bool {
        let known = self.additional_objects.iter().any(|a| a.object == object);
        if known {
            self.used.borrow_mut().insert(format!("object {object}"));
        }
        known
    }

    /// Entries that nothing needed.
    pub fn unused(&self) -> Vec<String> {
        let all = self
            .differences
            .iter()
            .map(|e| format!("{} {} {}", e.object, e.path, e.change))
            .chain(self.api_server_defaults.iter().map(|d| format!("default {} {}", d.key, d.value)))
            .chain(self.additional_objects.iter().map(|a| format!("object {}", a.object)));
        all.filter(|entry| !self.used.borrow().contains(entry)).collect()
    }
}
