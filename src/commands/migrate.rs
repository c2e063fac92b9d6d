//! `config migrate`: kubeadm.k8s.io/v1beta3 to v1beta4.

use std::path::Path;

use junio_api::config::migrate;

use crate::error::CommandError;
use crate::printer::Printer;
use crate::settings::Source;

pub fn run(old: &Path, new: Option<&Path>, printer: &Printer) -> Result<(), CommandError> {
    let source = Source::read(old)?;
    let text = migrate::to_v1beta4(&source.text)
        .map_err(|error| CommandError::Config { source_text: source.clone(), error })?;
    match new {
        Some(path) => {
            std::fs::write(path, text).map_err(|source| CommandError::Write { path: path.to_owned(), source })
        }
        None => {
            printer.out(&text);
            Ok(())
        }
    }
}
