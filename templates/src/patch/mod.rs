//! Patches of what is rendered: files `TARGET[SUFFIX][+TYPE].{yaml,json}` as kubeadm reads them, applied to manifests, the
//! kubelet's configuration and the CoreDNS Deployment. Pure; whoever calls reads the files.

mod file;
mod json;
mod strategic;
mod target;

pub use file::{FileName, PatchFile, PatchType};
pub use target::Target;

use junio_api::config::Place;
use junio_api::hint::{Code, Hint, NextStep};
use serde_json::Value;

use crate::component_config;

/// A patch that cannot be used. Nothing has been changed when it is found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    #[error("{file}: unknown or missing patch type after '+', expected json, merge or strategic")]
    Type { file: String },
    #[error("{file}{}: {reason}", at(*.place))]
    Content { file: String, place: Option<Place>, reason: String },
    #[error("{file}{}: this {kind} patch cannot be applied to {target}: {reason}", at(*.place))]
    Apply { file: String, place: Option<Place>, kind: PatchType, target: Target, reason: String },
}

fn at(place: Option<Place>) -> String {
    place.map_or_else(String::new, |place| format!(":{}:{}", place.line, place.column))
}

impl Hint for PatchError {
    fn code(&self) -> Code {
        Code(match self {
            Self::Type { .. } | Self::Content { .. } => "PATCH-FILE",
            Self::Apply { .. } => "PATCH-APPLY",
        })
    }

    fn next_step(&self) -> Option<NextStep> {
        let why = match self {
            Self::Type { .. } => "the name of a patch file is TARGET[SUFFIX][+TYPE].yaml or .json",
            Self::Content { .. } | Self::Apply { .. } => "nothing was changed on this host",
        };
        let (Self::Type { file } | Self::Content { file, .. } | Self::Apply { file, .. }) = self;
        Some(NextStep::command(format!("cat {file}")).because(why))
    }
}

/// All patches of a run, in the order in which they are applied.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Patches(Vec<PatchFile>);

impl Patches {
    /// `files` in the order of their paths, which is what suffixes are for.
    #[must_use]
    pub fn new(files: Vec<PatchFile>) -> Self {
        Self(files)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True when a file patches `target`.
    #[must_use]
    pub fn touch(&self, target: Target) -> bool {
        self.0.iter().any(|file| file.target == target)
    }

    /// `value` with all patches of `target`.
    pub fn apply(&self, target: Target, value: Value) -> Result<Value, PatchError> {
        self.0.iter().filter(|file| file.target == target).try_fold(value, |value, file| file.apply(value))
    }

    /// The same for a text; one that nothing patches stays as it is, byte for byte.
    pub fn apply_text(&self, target: Target, text: String) -> Result<String, PatchError> {
        if !self.touch(target) {
            return Ok(text);
        }
        let fail = |reason: String| PatchError::Content { file: target.to_string(), place: None, reason };
        let value = junio_api::yaml::from_str(&text).map_err(|e| fail(e.to_string()))?;
        component_config::text(&self.apply(target, value)?).map_err(|e| fail(e.to_string()))
    }
}
