//! `certs`: kubeadm's flags.

use std::path::PathBuf;

use clap::Subcommand;

use super::ListOutput;

#[derive(Debug, Subcommand)]
pub enum CertsCommand {
    /// Show when certificates end
    CheckExpiration {
        /// Where certificates are stored
        #[arg(long, value_name = "PATH", default_value = junio_api::config::defaults::CERTIFICATES_DIR)]
        cert_dir: PathBuf,
        #[arg(short, long, value_enum, default_value_t = ListOutput::Text)]
        output: ListOutput,
    },
    /// Print a random key for the upload of certificates
    CertificateKey,
}
