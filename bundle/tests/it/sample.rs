//! A small bundle: two images that share a layer, one with a second layer, and files that lie in parts.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use junio_bundle::{BundleWriter, BundledFile, FORMAT, ImageSpec, LayerBuilder, Manifest, sha256};

/// Bytes that do not compress, so that every stored byte matters.
pub fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).max(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// Writes the sample; `tag` makes its images differ from those of other tests.
pub fn write(directory: &Path, tag: &str) -> PathBuf {
    let path = directory.join("sample.jbundle");
    let mut layer = LayerBuilder::new();
    let program = noise(sha256(tag.as_bytes()).len() as u32 + tag.len() as u32, 700);
    let range = layer.file("usr/local/bin/program", 0o755, &program).expect("file");
    layer.file("tag", 0o644, tag.as_bytes()).expect("file");
    let shared = layer.finish();
    let mut layer = LayerBuilder::new();
    layer.file("etc/more", 0o644, tag.as_bytes()).expect("file");
    let second = layer.finish();
    let tools = [noise(7, 300), noise(8, 200)].concat();

    let image = |name: &str, layers: &[&[u8]]| {
        ImageSpec {
            reference: format!("registry.k8s.io/junio-test/{name}:{tag}"),
            architecture: "amd64".to_owned(),
            environment: vec!["PATH=/usr/local/bin".to_owned()],
            command: vec!["program".to_owned()],
            layers: layers.iter().map(|layer| (sha256(layer), "sample".to_owned())).collect(),
            ..ImageSpec::default()
        }
        .build()
    };
    let file = |name: &str, part: &[u8], offset: u64, content: &[u8]| BundledFile {
        name: name.to_owned(),
        mode: 0o755,
        sha256: sha256(content),
        size: content.len() as u64,
        part: sha256(part),
        offset,
    };
    let manifest = Manifest {
        format: FORMAT,
        architecture: "amd64".to_owned(),
        versions: BTreeMap::from([("sample".to_owned(), "1".to_owned())]),
        parts: Vec::new(),
        images: vec![image("one", &[&shared]), image("two", &[&shared, &second])],
        files: vec![
            file("program", &shared, range.offset, &program),
            file("alias", &shared, range.offset, &program),
            file("tools/first", &tools, 0, &tools[..300]),
            file("tools/second", &tools, 300, &tools[300..]),
        ],
    };
    let mut writer = BundleWriter::new();
    for (name, content) in [("layer shared", &shared), ("layer second", &second), ("tools", &tools)] {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("encoder");
        encoder.write_all(content).expect("compress");
        writer.part(name, sha256(content), content.len() as u64, encoder.finish().expect("frame"));
    }
    writer.write(manifest, &path).expect("bundle");
    path
}
