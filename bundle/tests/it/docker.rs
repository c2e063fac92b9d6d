//! Images reach a real Docker Engine: absent ones are loaded, present ones are not, damaged ones never arrive.

use std::path::Path;
use std::sync::{Arc, Mutex};

use bollard::Docker;
use bollard::query_parameters::RemoveImageOptionsBuilder;
use junio_api::hint::Hint;
use junio_bundle::{Bundle, BundleError, ImageOutcome, LoadProgress, docker};

use crate::sample;

const SOCKET: &str = "/run/docker.sock";

async fn connect() -> Docker {
    docker::connect(Path::new(SOCKET))
        .await
        .expect("these tests need a Docker Engine at /run/docker.sock (scripts/docker-up.sh)")
}

async fn remove(docker: &Docker, references: &[String]) {
    for reference in references {
        let options = RemoveImageOptionsBuilder::default().force(true).build();
        // Absent is as good as removed.
        let _ = docker.remove_image(reference, Some(options), None).await;
    }
}

fn references(registry: &str, tag: &str) -> Vec<String> {
    ["one", "two"].map(|name| format!("{registry}/junio-test/{name}:{tag}")).into()
}

#[tokio::test]
async fn facts_of_the_engine_are_read() {
    let docker = connect().await;
    let facts = docker::facts(&docker, Path::new(SOCKET)).await.expect("facts");
    assert!(["cgroupfs", "systemd"].contains(&facts.cgroup_driver.as_str()), "{facts:?}");
    assert!(["1", "2"].contains(&facts.cgroup_version.as_str()), "{facts:?}");
    assert!(facts.root_dir.is_absolute() && !facts.storage_driver.is_empty() && !facts.version.is_empty(), "{facts:?}");
}

#[tokio::test]
async fn absent_images_are_loaded_present_ones_are_left_and_other_names_are_tagged() {
    let docker = connect().await;
    let directory = tempfile::tempdir().expect("directory");
    let bundle = Arc::new(Bundle::open(&sample::write(directory.path(), "load")).expect("open"));
    let wanted = references("registry.k8s.io", "load");
    let elsewhere = references("registry.example.com:5000/mirror", "load");
    remove(&docker, &wanted).await;
    remove(&docker, &elsewhere).await;

    assert_eq!(bundle.missing_images(&docker, &wanted).await.expect("missing"), wanted);
    let seen = Mutex::new(Vec::new());
    let progress = |progress: LoadProgress| seen.lock().expect("lock").push(progress);
    let report = bundle.load_images(&docker, &wanted, &progress).await.expect("load");
    assert!(report.images.iter().all(|(_, outcome)| *outcome == ImageOutcome::Loaded), "{report:?}");
    let last = *seen.lock().expect("lock").last().expect("progress was reported");
    assert_eq!(last.done, last.total);
    for (reference, image) in wanted.iter().zip(&bundle.manifest().images) {
        let inspected = docker.inspect_image(reference).await.expect("inspect");
        assert_eq!(inspected.id, Some(image.id()));
        assert_eq!(inspected.config.and_then(|config| config.cmd), Some(vec!["program".to_owned()]));
    }

    assert!(bundle.missing_images(&docker, &wanted).await.expect("missing").is_empty());
    let again = bundle.load_images(&docker, &wanted, &|_| panic!("nothing is to be loaded")).await.expect("again");
    assert!(again.reused(), "{again:?}");
    let tagged = bundle.load_images(&docker, &elsewhere, &|_| panic!("nothing is to be loaded")).await.expect("tag");
    assert!(tagged.images.iter().all(|(_, outcome)| *outcome == ImageOutcome::Tagged), "{tagged:?}");

    // Only the second image is absent: its shared layer is in Docker already, which must not confuse the load.
    remove(&docker, &[wanted[1].clone(), elsewhere[1].clone()]).await;
    let partly = bundle.load_images(&docker, &wanted, &|_| ()).await.expect("partly");
    assert_eq!(
        partly.images.iter().map(|(_, outcome)| *outcome).collect::<Vec<_>>(),
        [ImageOutcome::Present, ImageOutcome::Loaded]
    );
    remove(&docker, &wanted).await;
    remove(&docker, &elsewhere).await;
}

#[tokio::test]
async fn a_damaged_layer_never_reaches_docker() {
    let docker = connect().await;
    let directory = tempfile::tempdir().expect("directory");
    let path = sample::write(directory.path(), "damaged");
    let mut bytes = std::fs::read(&path).expect("bundle");
    let manifest = Bundle::open(&path).expect("open").manifest().clone();
    let parts: u64 = manifest.parts.iter().map(|part| part.stored_size).sum();
    let position = bytes.len() - usize::try_from(parts).expect("size") + 40;
    bytes[position] ^= 1;
    std::fs::write(&path, bytes).expect("write");

    let bundle = Arc::new(Bundle::open(&path).expect("the manifest is good"));
    let wanted = references("registry.k8s.io", "damaged");
    let error = bundle.load_images(&docker, &wanted, &|_| ()).await.expect_err("damaged");
    assert!(matches!(&error, BundleError::Corrupt { part, .. } if part == "layer shared"), "{error}");
    for reference in &wanted {
        docker.inspect_image(reference).await.expect_err("the image must not be there");
    }
}

#[tokio::test]
async fn an_image_that_is_not_in_the_bundle_has_a_next_step() {
    let docker = connect().await;
    let directory = tempfile::tempdir().expect("directory");
    let bundle = Arc::new(Bundle::open(&sample::write(directory.path(), "absent")).expect("open"));
    let wanted = ["registry.k8s.io/kube-apiserver:v9.9.9".to_owned()];
    let error = bundle.load_images(&docker, &wanted, &|_| ()).await.expect_err("absent");
    assert_eq!(error.code().0, "BUNDLE-INCOMPLETE");
    assert!(error.next_step().is_some());
}
