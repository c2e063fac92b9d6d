//! Puts a bundle together: which binary is in which layer, which layers make which image, which files hosts get.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use junio_api::images::{DEFAULT_REPOSITORY, Image};
use junio_api::versions;
use junio_bundle::{
    BOOTSTRAP_ROLES, BundleWriter, BundledFile, BundledImage, FORMAT, ImageSpec, LayerBuilder, Manifest, Range, sha256,
};

use crate::compress::{Content, compress};
use crate::error::{BuildError, run_text};
use crate::inventory::Inventory;
use crate::{BuildArguments, debian, go, licences, pause, progress, sbom};

const ARCHITECTURE: &str = "amd64";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const PASSWD: &str = "root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nnobody:x:65534:\n";
const NSSWITCH: &str = "hosts: files dns\n";

/// Every binary by name, and the iptables layer: all that an assembled bundle depends on.
pub struct Inputs {
    pub binaries: BTreeMap<&'static str, Vec<u8>>,
    pub xtables: Vec<u8>,
    pub sbom: Vec<u8>,
    pub licences: Vec<u8>,
    /// A JSON array of the objects that the API server writes when it starts on an empty etcd.
    pub roles: Vec<u8>,
}

/// What the writer needs: parts before compression, and a manifest without them.
pub struct Assembled {
    pub contents: Vec<Content>,
    pub manifest: Manifest,
}

/// `junio-bundle build`.
pub fn build(arguments: &BuildArguments) -> Result<(), BuildError> {
    let start = Instant::now();
    let cache = arguments.cache.clone().unwrap_or_else(default_cache);
    let compiled = go::compile(&arguments.source, &cache)?;
    let pause = pause::compile(&arguments.source, &cache)?;
    let xtables = debian::xtables(&cache)?;

    let mut paths: BTreeMap<&'static str, PathBuf> =
        compiled.iter().map(|program| (program.name, program.path.clone())).collect();
    paths.insert("pause", pause);
    paths.insert("junio-kubelet", arguments.kubelet.clone());
    paths.insert("junioadm", arguments.junioadm.clone());
    let mut binaries = BTreeMap::new();
    for (name, path) in paths {
        binaries.insert(name, std::fs::read(&path).map_err(BuildError::io("read", &path))?);
    }
    progress("collecting licences and the SBOM");
    let inventory = Inventory::collect(&compiled, &xtables.packages, &arguments.source)?;
    let inputs = Inputs {
        sbom: sbom::render(&inventory, &binaries)?,
        licences: licences::render(&inventory)?.into_bytes(),
        roles: bootstrap_roles(&compiled)?.into_bytes(),
        binaries,
        xtables: xtables.layer,
    };
    let manifest = write(&inputs, arguments.level, &cache, &arguments.out)?;
    report(&manifest, &arguments.out, start);
    Ok(())
}

/// Assembles, compresses and writes.
pub fn write(inputs: &Inputs, level: i32, cache: &Path, out: &Path) -> Result<Manifest, BuildError> {
    let assembled = assemble(inputs)?;
    let size: usize = assembled.contents.iter().map(|content| content.bytes.len()).sum();
    progress(&format!("compressing {:.0} MB at level {level}", size as f64 / 1e6));
    let frames = compress(&assembled.contents, level, cache)?;
    let mut writer = BundleWriter::new();
    for (content, frame) in assembled.contents.into_iter().zip(frames) {
        writer.part(&content.name, content.sha256, content.bytes.len() as u64, frame);
    }
    Ok(writer.write(assembled.manifest, out)?)
}

/// Layers, images and files from the inputs; pure, so that the same inputs give the same bundle.
pub fn assemble(inputs: &Inputs) -> Result<Assembled, BuildError> {
    let binary = |name: &str| {
        inputs.binaries.get(name).map(Vec::as_slice).ok_or_else(|| BuildError::Unexpected(format!("no binary {name}")))
    };
    let mut contents = Vec::new();
    let mut files = Vec::new();

    let kubernetes = Layer::program(
        "kubernetes",
        "usr/local/bin/kubernetes",
        binary("kubernetes")?,
        &["kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl"],
    )?;
    let etcd = Layer::program("etcd", "usr/local/bin/etcd", binary("etcd")?, &["etcdctl", "etcdutl"])?;
    let coredns = Layer::program("coredns", "coredns", binary("coredns")?, &[])?;
    let flanneld = Layer::program("flanneld", "opt/bin/flanneld", binary("flanneld")?, &[])?;
    let pause = {
        let mut layer = LayerBuilder::new();
        let range =
            layer.file("pause", 0o755, binary("pause")?).map_err(BuildError::io("build the layer of", "pause"))?;
        Layer { content: Content::new("layer pause", layer.finish()), range }
    };
    let xtables = Content::new("layer xtables", inputs.xtables.clone());

    files.push(kubernetes.file("kubectl", binary("kubernetes")?));
    files.push(etcd.file("etcdctl", binary("etcd")?));
    files.push(etcd.file("etcdutl", binary("etcd")?));

    let image = |image: Image, layers: &[&Content], entrypoint: &[&str], command: &[&str]| {
        image_of(image, layers, entrypoint, command)
    };
    let images = vec![
        image(Image::ApiServer, &[&kubernetes.content], &[], &["kube-apiserver"]),
        image(Image::ControllerManager, &[&kubernetes.content], &[], &["kube-controller-manager"]),
        image(Image::Scheduler, &[&kubernetes.content], &[], &["kube-scheduler"]),
        // The shared layer comes first: Docker reuses a layer only with all that is below it.
        image(Image::Proxy, &[&kubernetes.content, &xtables], &[], &["kube-proxy"]),
        image(Image::CoreDns, &[&coredns.content], &["/coredns"], &[]),
        image(Image::Pause, &[&pause.content], &["/pause"], &[]),
        image(Image::Etcd, &[&etcd.content], &[], &["etcd"]),
        image(Image::Flannel, &[&xtables, &flanneld.content], &["/opt/bin/flanneld"], &[]),
    ];
    contents.extend([kubernetes, etcd, coredns, flanneld, pause].map(|layer| layer.content));
    contents.push(xtables);

    // One frame for all CNI plugins: they have Go's runtime in common.
    let mut plugins = Vec::new();
    let mut ranges = Vec::new();
    for (name, _) in go::CNI_PLUGINS {
        let bytes = binary(name)?;
        ranges.push((
            format!("cni/{name}"),
            0o755,
            Range { offset: plugins.len() as u64, size: bytes.len() as u64 },
            sha256(bytes),
        ));
        plugins.extend_from_slice(bytes);
    }
    let plugins = Content::new("CNI plugins", plugins);
    for (name, mode, range, digest) in ranges {
        files.push(file(name, mode, &plugins, range, digest));
    }
    contents.push(plugins);
    for (name, mode, bytes) in [
        ("junio-kubelet", 0o755, binary("junio-kubelet")?),
        ("junioadm", 0o755, binary("junioadm")?),
        ("sbom.cdx.json", 0o644, &inputs.sbom),
        ("licences.txt", 0o644, &inputs.licences),
        (BOOTSTRAP_ROLES, 0o644, &inputs.roles),
    ] {
        let content = Content::new(name, bytes.to_vec());
        let range = Range { offset: 0, size: bytes.len() as u64 };
        files.push(file(name.to_owned(), mode, &content, range, content.sha256.clone()));
        contents.push(content);
    }

    let versions = [
        ("cni-plugins", versions::CNI_PLUGINS),
        ("coredns", versions::COREDNS),
        ("etcd", versions::ETCD),
        ("flannel", versions::FLANNEL),
        ("junioadm", env!("CARGO_PKG_VERSION")),
        ("kubernetes", versions::KUBERNETES),
        ("pause", versions::PAUSE),
    ];
    let versions = versions.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect();
    let manifest =
        Manifest { format: FORMAT, architecture: ARCHITECTURE.to_owned(), versions, parts: Vec::new(), images, files };
    Ok(Assembled { contents, manifest })
}

fn bootstrap_roles(compiled: &[go::Compiled]) -> Result<String, BuildError> {
    let kubernetes = compiled.iter().find(|program| program.name == "kubernetes");
    let kubernetes = kubernetes.ok_or_else(|| BuildError::Unexpected("no binary kubernetes".to_owned()))?;
    run_text(Command::new(&kubernetes.path).arg("bootstrap-roles"), "the program is one that was just compiled")
}

/// A layer with one program in it, and where that lies.
struct Layer {
    content: Content,
    range: Range,
}

impl Layer {
    /// The program with what every root file system needs; `aliases` are links beside it.
    fn program(name: &str, path: &str, bytes: &[u8], aliases: &[&str]) -> Result<Self, BuildError> {
        let build = || -> std::io::Result<Self> {
            let mut layer = LayerBuilder::new();
            layer.file("etc/passwd", 0o644, PASSWD.as_bytes())?;
            layer.file("etc/group", 0o644, GROUP.as_bytes())?;
            layer.file("etc/nsswitch.conf", 0o644, NSSWITCH.as_bytes())?;
            layer.directory("run", 0o755)?;
            layer.directory("tmp", 0o1777)?;
            let range = layer.file(path, 0o755, bytes)?;
            let (directory, program) = path.rsplit_once('/').unwrap_or_default();
            for alias in aliases {
                layer.link(&format!("{directory}/{alias}"), program)?;
            }
            Ok(Self { content: Content::new(&format!("layer {name}"), layer.finish()), range })
        };
        build().map_err(BuildError::io("build the layer of", name))
    }

    /// The program as a file for hosts.
    fn file(&self, name: &str, bytes: &[u8]) -> BundledFile {
        file(name.to_owned(), 0o755, &self.content, self.range, sha256(bytes))
    }
}

fn file(name: String, mode: u32, part: &Content, range: Range, sha256: String) -> BundledFile {
    BundledFile { name, mode, sha256, size: range.size, part: part.sha256.clone(), offset: range.offset }
}

fn image_of(image: Image, layers: &[&Content], entrypoint: &[&str], command: &[&str]) -> BundledImage {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    ImageSpec {
        reference: image.reference(DEFAULT_REPOSITORY),
        architecture: ARCHITECTURE.to_owned(),
        environment: vec![PATH.to_owned()],
        entrypoint: owned(entrypoint),
        command: owned(command),
        layers: layers.iter().map(|layer| (layer.sha256.clone(), layer.name.clone())).collect(),
        labels: vec![
            ("org.opencontainers.image.title".to_owned(), image.name().to_owned()),
            ("org.opencontainers.image.version".to_owned(), image.tag()),
        ],
    }
    .build()
}

fn report(manifest: &Manifest, out: &Path, start: Instant) {
    let mut stored = 0;
    for part in &manifest.parts {
        stored += part.stored_size;
        progress(&format!(
            "{:8.1} MB -> {:6.1} MB  {}",
            part.size as f64 / 1e6,
            part.stored_size as f64 / 1e6,
            part.name
        ));
    }
    let (megabytes, seconds) = (stored as f64 / 1e6, start.elapsed().as_secs_f64());
    progress(&format!(
        "{}: {megabytes:.1} MB, {} images, {} files, in {seconds:.0} s",
        out.display(),
        manifest.images.len(),
        manifest.files.len()
    ));
}

fn default_cache() -> PathBuf {
    let home = || Path::new(&std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache");
    std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("junioadm")
}

#[cfg(test)]
mod tests {
    use super::*;
    use junio_bundle::{Bundle, Extracted};

    /// Small stand-ins: what is compiled is not what is tested here.
    fn inputs() -> Inputs {
        let names = ["kubernetes", "etcd", "coredns", "flanneld", "pause", "junio-kubelet", "junioadm"];
        let names = names.into_iter().chain(go::CNI_PLUGINS.map(|(name, _)| name));
        let binaries = names.map(|name| (name, format!("the program {name}\n").repeat(500).into_bytes())).collect();
        let mut xtables = LayerBuilder::new();
        xtables.file("usr/sbin/nft", 0o755, b"nft").expect("layer");
        Inputs {
            binaries,
            xtables: xtables.finish(),
            sbom: b"{}".to_vec(),
            licences: b"free".to_vec(),
            roles: b"[]".to_vec(),
        }
    }

    fn written(directory: &Path, name: &str) -> PathBuf {
        let path = directory.join(name);
        // A cache of its own for each, or the second build would only copy the first one's frames.
        write(&inputs(), 19, &directory.join(format!("cache-{name}")), &path).expect("bundle");
        path
    }

    #[test]
    fn two_builds_are_equal_byte_for_byte() {
        let directory = tempfile::tempdir().expect("directory");
        let read = |name| std::fs::read(written(directory.path(), name)).expect("bundle");
        assert!(read("first") == read("second"), "the bundles differ");
    }

    #[test]
    fn the_bundle_has_every_image_and_verifies() {
        let directory = tempfile::tempdir().expect("directory");
        let bundle = Bundle::open(&written(directory.path(), "bundle")).expect("open");
        bundle.verify().expect("verify");
        for image in Image::ALL {
            assert!(bundle.manifest().image(&image.reference(DEFAULT_REPOSITORY)).is_some(), "{image:?}");
            let elsewhere = image.reference("registry.example.com/mirror");
            assert!(bundle.manifest().image(&elsewhere).is_some(), "{elsewhere}");
        }
        assert!(bundle.manifest().image("registry.k8s.io/kube-apiserver:v1.35.0").is_none());
        assert!(bundle.manifest().image("registry.k8s.io/not-pause:3.10.2").is_none());
    }

    #[test]
    fn kubectl_is_stored_once_and_extracted_from_its_layer() {
        let directory = tempfile::tempdir().expect("directory");
        let bundle = Bundle::open(&written(directory.path(), "bundle")).expect("open");
        let destination = directory.path().join("bin/kubectl");
        assert_eq!(bundle.extract("kubectl", &destination).expect("extract"), Extracted::Written);
        assert_eq!(std::fs::read(&destination).expect("kubectl"), inputs().binaries["kubernetes"]);
        assert_eq!(bundle.extract("kubectl", &destination).expect("again"), Extracted::Unchanged);
        let layers = &bundle.manifest().image("registry.k8s.io/kube-apiserver:v1.36.3").expect("image").layers;
        assert_eq!(bundle.manifest().file("kubectl").expect("file").part, layers[0]);
    }
}
