//! `config`: kubeadm's flags.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::ListOutput;

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print default configuration
    Print {
        #[arg(value_enum)]
        kind: DefaultsKind,
        /// Components whose configuration is printed too (init-defaults only)
        #[arg(long, value_delimiter = ',', value_name = "KIND")]
        component_configs: Vec<ComponentKind>,
    },
    /// Check a configuration file; every mistake is shown with its line and column
    Validate {
        /// - reads standard input
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Rewrite a kubeadm.k8s.io/v1beta3 file as v1beta4
    Migrate {
        /// - reads standard input
        #[arg(long, value_name = "FILE")]
        old_config: PathBuf,
        /// Where the new text goes [default: standard output]
        #[arg(long, value_name = "FILE")]
        new_config: Option<PathBuf>,
    },
    /// The images of a cluster
    #[command(subcommand)]
    Images(ImagesCommand),
}

#[derive(Debug, Subcommand)]
pub enum ImagesCommand {
    /// List the images that a cluster uses, one a line
    List {
        /// Configuration file; - reads standard input
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Registry under whose name the images are loaded
        #[arg(long, value_name = "NAME")]
        image_repository: Option<String>,
        #[arg(short, long, value_enum, default_value_t = ListOutput::Text)]
        output: ListOutput,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DefaultsKind {
    #[value(name = "init-defaults")]
    Init,
    #[value(name = "join-defaults")]
    Join,
    #[value(name = "reset-defaults")]
    Reset,
    #[value(name = "upgrade-defaults")]
    Upgrade,
    /// The document of `apply`
    #[value(name = "cluster-defaults")]
    Cluster,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ComponentKind {
    #[value(name = "KubeletConfiguration")]
    Kubelet,
    #[value(name = "KubeProxyConfiguration")]
    KubeProxy,
}
