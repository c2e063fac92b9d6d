//! `junio-bundle`: compiles what goes into a bundle, assembles it, and looks into finished bundles.
//!
//! A program of the build, not of the product: it runs `go`, `musl-gcc`, `apt-get` and `cargo`. Everything it makes is
//! kept in a cache under a name made from its inputs, so a second build only does what changed.

mod assemble;
mod compress;
mod debian;
mod error;
mod go;
mod inventory;
mod licences;
mod pause;
mod sbom;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use junio_bundle::{Bundle, write_archive};

use error::BuildError;

#[derive(Parser)]
#[command(version, about = "Builds and inspects junioadm's bundle")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compile what changed and write the bundle
    Build(BuildArguments),
    /// Check every byte of a bundle
    Verify { file: PathBuf },
    /// Print what is in a bundle
    List {
        file: PathBuf,
        /// Print the manifest as it is
        #[arg(long)]
        json: bool,
    },
    /// Write one file of a bundle to standard output, for example sbom.cdx.json or licences.txt
    Cat { file: PathBuf, name: String },
    /// Load images into this machine's Docker Engine; those that it has already are left alone
    Load {
        file: PathBuf,
        /// Docker's socket
        #[arg(long, default_value = "/run/docker.sock")]
        socket: PathBuf,
        /// Image references; all images without any
        references: Vec<String>,
    },
    /// Write images as one archive for `docker load` or `ctr images import`
    Export {
        file: PathBuf,
        /// The archive to write
        #[arg(long)]
        out: PathBuf,
        /// Image references; all images without any
        references: Vec<String>,
    },
}

/// What `build` needs.
#[derive(Args)]
pub struct BuildArguments {
    /// The bundle to write
    #[arg(long)]
    out: PathBuf,
    /// Where compiled and compressed things are kept [default: $XDG_CACHE_HOME/junioadm or ~/.cache/junioadm]
    #[arg(long)]
    cache: Option<PathBuf>,
    /// The directory with go/ and pause/
    #[arg(long, default_value = "bundle")]
    source: PathBuf,
    /// The junio-kubelet to put into it
    #[arg(long)]
    kubelet: PathBuf,
    /// The junioadm to put into it
    #[arg(long)]
    junioadm: PathBuf,
    /// zstd level: 3 for a quick build, 19 for a release
    #[arg(long, default_value_t = 3)]
    level: i32,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(inner) = cause {
                text = format!("{text}: {inner}");
                cause = inner.source();
            }
            progress(&format!("error: {text}"));
            ExitCode::from(if matches!(error, BuildError::Bundle(_)) { 3 } else { 1 })
        }
    }
}

fn run(command: Command) -> Result<(), BuildError> {
    match command {
        Command::Build(arguments) => assemble::build(&arguments),
        Command::Verify { file } => {
            let bundle = Bundle::open(&file)?;
            bundle.verify()?;
            let (parts, digest) = (bundle.manifest().parts.len(), bundle.digest());
            say(&format!("{}: {parts} parts are intact, digest {digest}", file.display()))
        }
        Command::List { file, json } => list(&Bundle::open(&file)?, json),
        Command::Cat { file, name } => {
            let content = Bundle::open(&file)?.read(&name)?;
            std::io::stdout().write_all(&content).map_err(BuildError::io("write", "standard output"))
        }
        Command::Load { file, socket, references } => load(Bundle::open(&file)?, &socket, references),
        Command::Export { file, out, references } => export(&Bundle::open(&file)?, &out, &references),
    }
}

fn list(bundle: &Bundle, json: bool) -> Result<(), BuildError> {
    let manifest = bundle.manifest();
    if json {
        return say(&serde_json::to_string_pretty(manifest).map_err(BuildError::json("print the manifest"))?);
    }
    let megabytes = |bytes: u64| format!("{:8.1} MB", bytes as f64 / 1e6);
    let mut lines = Vec::new();
    let versions = manifest.versions.iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>();
    lines.push(format!("versions  {}", versions.join(", ")));
    for image in &manifest.images {
        let size = image.layers.iter().filter_map(|layer| manifest.part(layer)).map(|part| part.size).sum();
        lines.push(format!("image {}  {}  {}", megabytes(size), image.reference, image.id()));
    }
    for file in &manifest.files {
        lines.push(format!("file  {}  {}", megabytes(file.size), file.name));
    }
    for part in &manifest.parts {
        lines.push(format!("part  {} -> {}  {}", megabytes(part.size), megabytes(part.stored_size), part.name));
    }
    let stored = manifest.parts.iter().map(|part| part.stored_size).sum();
    lines.push(format!("total {}  digest {}", megabytes(stored), bundle.digest()));
    say(&lines.join("\n"))
}

fn load(bundle: Bundle, socket: &Path, mut references: Vec<String>) -> Result<(), BuildError> {
    if references.is_empty() {
        let images = bundle.manifest().images.iter();
        references = images.map(|image| image.reference.clone()).collect();
    }
    let runtime = tokio::runtime::Runtime::new().map_err(BuildError::io("start", "the runtime"))?;
    let report = runtime.block_on(async {
        let docker = junio_bundle::docker::connect(socket).await?;
        let load = Arc::new(bundle);
        load.load_images(&docker, &references, &|_| ()).await
    })?;
    for (reference, outcome) in report.images {
        say(&format!("{outcome:?}  {reference}"))?;
    }
    Ok(())
}

fn export(bundle: &Bundle, out: &Path, references: &[String]) -> Result<(), BuildError> {
    let mut images = Vec::new();
    for image in &bundle.manifest().images {
        if references.is_empty() {
            images.push((image, image.reference.clone()));
        }
    }
    for reference in references {
        let image = bundle.manifest().image(reference);
        let image = image.ok_or_else(|| junio_bundle::BundleError::NoImage { reference: reference.clone() })?;
        images.push((image, reference.clone()));
    }
    let file = std::fs::File::create(out).map_err(BuildError::io("create", out))?;
    let mut writer = std::io::BufWriter::with_capacity(1 << 20, file);
    write_archive(&images, bundle, &mut writer).and_then(|()| writer.flush()).map_err(BuildError::io("write", out))
}

/// A line of data.
fn say(text: &str) -> Result<(), BuildError> {
    writeln!(std::io::stdout(), "{text}").map_err(BuildError::io("write", "standard output"))
}

/// A line for whoever watches the build.
pub fn progress(text: &str) {
    // A closed stderr is no reason to stop a build.
    let _ = writeln!(std::io::stderr(), "{text}");
}
