//! `certs check-expiration` and `certs certificate-key`.

use std::path::Path;
use std::time::SystemTime;

use junio_api::{Layout, yaml};
use junio_pki::certificate_key::CertificateKey;
use junio_pki::expiry::{self, ExpiryReport, ExpiryRow};
use serde_json::json;

use super::{pretty, table};
use crate::cli::{CertsCommand, ListOutput};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::printer::Printer;

pub fn run(command: &CertsCommand, printer: &Printer) -> Result<Exit, CommandError> {
    match command {
        CertsCommand::CheckExpiration { cert_dir, output } => check(cert_dir, *output, printer),
        CertsCommand::CertificateKey => {
            let key = CertificateKey::generate().map_err(|e| CommandError::Random(e.to_string()))?;
            printer.out(key.to_hex().expose());
            Ok(Exit::Ok)
        }
    }
}

fn check(cert_dir: &Path, output: ListOutput, printer: &Printer) -> Result<Exit, CommandError> {
    let report = expiry::report(cert_dir, &Layout::default().kubernetes_dir(), SystemTime::now())?;
    printer.out(&match output {
        ListOutput::Text => text(&report),
        ListOutput::Json => pretty(&json!(report)),
        ListOutput::Yaml => yaml::to_string(&report)?,
    });
    Ok(Exit::Ok)
}

fn text(report: &ExpiryReport) -> String {
    let external = |row: &ExpiryRow| if row.externally_managed { "yes" } else { "no" }.to_owned();
    let start = |row: &ExpiryRow| match (&row.expires, row.residual_seconds) {
        (Some(expires), Some(seconds)) => vec![row.name.clone(), expires.clone(), residual(seconds)],
        _ => vec![format!("!MISSING! {}", row.name), String::new(), String::new()],
    };
    let leaves: Vec<Vec<String>> = report
        .certificates
        .iter()
        .map(|row| [start(row), vec![row.authority.unwrap_or_default().to_owned(), external(row)]].concat())
        .collect();
    let authorities: Vec<Vec<String>> =
        report.authorities.iter().map(|row| [start(row), vec![external(row)]].concat()).collect();
    table::render(&["CERTIFICATE", "EXPIRES", "RESIDUAL TIME", "CERTIFICATE AUTHORITY", "EXTERNALLY MANAGED"], &leaves)
        + "\n"
        + &table::render(&["CERTIFICATE AUTHORITY", "EXPIRES", "RESIDUAL TIME", "EXTERNALLY MANAGED"], &authorities)
}

/// Years, else days, else hours, as kubeadm shortens it.
fn residual(seconds: i64) -> String {
    match seconds {
        s if s < 0 => "<invalid>".into(),
        s if s >= 2 * 365 * 86_400 => format!("{}y", s / (365 * 86_400)),
        s if s >= 2 * 86_400 => format!("{}d", s / 86_400),
        s if s >= 3600 => format!("{}h", s / 3600),
        s => format!("{}m", s / 60),
    }
}
