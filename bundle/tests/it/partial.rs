//! A bundle that is sent in parts: it is what the whole one is, except for what the host has.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bollard::Docker;
use bollard::query_parameters::RemoveImageOptionsBuilder;
use junio_api::hint::Hint;
use junio_bundle::{Bundle, assemble, docker, docker_images, frame_name};

use crate::sample;

/// Writes the frames of the named parts where a host would get them.
fn send(bundle: &Bundle, names: &[&str], frames: &Path) {
    fs::create_dir_all(frames).expect("directory");
    for part in bundle.manifest().parts.iter().filter(|part| names.contains(&part.name.as_str())) {
        fs::write(frames.join(frame_name(part)), bundle.frame(part).expect("whole")).expect("written");
    }
}

#[test]
fn what_is_sent_in_two_turns_is_the_whole_bundle() {
    let directory = tempfile::tempdir().expect("directory");
    let whole = Bundle::open(&sample::write(directory.path(), "partial")).expect("open");
    let (frames, path) = (directory.path().join("frames"), directory.path().join("on-host.jbundle"));
    let head = whole.head().expect("readable");

    send(&whole, &["tools"], &frames);
    assert_eq!(assemble(&head, &frames, &path).expect("assembled"), 1);
    let partial = Bundle::open(&path).expect("opens");
    assert_eq!(partial.digest(), whole.digest());
    partial.verify_stored().expect("what is there is right");
    assert_eq!(partial.read("tools/first").expect("there"), whole.read("tools/first").expect("there"));
    let refused = partial.read("program").expect_err("its part was not sent");
    assert_eq!(refused.code().to_string(), "JUNIO-BUNDLE-PARTIAL");

    fs::remove_dir_all(&frames).expect("removable");
    send(&whole, &["layer shared", "layer second"], &frames);
    assert_eq!(assemble(&head, &frames, &path).expect("assembled"), 3, "the first turn's part is kept");
    assert_eq!(fs::read(&path).expect("readable"), fs::read(whole.path()).expect("readable"));
}

#[test]
fn a_frame_that_is_not_what_its_name_says_is_refused_and_nothing_is_replaced() {
    let directory = tempfile::tempdir().expect("directory");
    let whole = Bundle::open(&sample::write(directory.path(), "wrong")).expect("open");
    let (frames, path) = (directory.path().join("frames"), directory.path().join("on-host.jbundle"));
    send(&whole, &["tools"], &frames);
    let frame = fs::read_dir(&frames).expect("listable").flatten().next().expect("one").path();
    fs::write(&frame, b"other").expect("written");
    let refused = assemble(&whole.head().expect("readable"), &frames, &path).expect_err("another content");
    assert_eq!(refused.code().to_string(), "JUNIO-BUNDLE-DAMAGED");
    assert!(!path.exists());
}

#[tokio::test]
async fn docker_takes_an_image_whose_lower_layer_it_has_and_the_archive_lacks() {
    let docker = docker::connect(Path::new("/run/docker.sock")).await.expect("a Docker Engine at /run/docker.sock");
    let directory = tempfile::tempdir().expect("directory");
    let whole = Arc::new(Bundle::open(&sample::write(directory.path(), "chain")).expect("open"));
    let [one, two] = ["one", "two"].map(|name| format!("registry.k8s.io/junio-test/{name}:chain"));
    remove(&docker, &[&two, &one]).await;
    whole.load_images(&docker, std::slice::from_ref(&one), &|_| ()).await.expect("loads");

    let present = docker_images(&docker).await.expect("listed");
    let references = [one.clone(), two.clone()];
    let needed = whole.needed_parts(&references, &present, &|file| file.name == "tools/first").expect("known images");
    let names: Vec<&str> = needed.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(names, ["layer second", "tools"]);

    let (frames, path) = (directory.path().join("frames"), directory.path().join("on-host.jbundle"));
    send(&whole, &names, &frames);
    assemble(&whole.head().expect("readable"), &frames, &path).expect("assembled");
    let partial = Arc::new(Bundle::open(&path).expect("opens"));
    partial.load_images(&docker, &references, &|_| ()).await.expect("loads without the shared layer");
    remove(&docker, &[&two, &one]).await;
    let refused = partial.load_images(&docker, &references, &|_| ()).await.expect_err("the layer is gone from Docker");
    assert_eq!(refused.code().to_string(), "JUNIO-BUNDLE-PARTIAL", "{refused}");
}

async fn remove(docker: &Docker, references: &[&String]) {
    for reference in references {
        let options = RemoveImageOptionsBuilder::default().force(true).build();
        // Absent is as good as removed.
        let _ = docker.remove_image(reference, Some(options), None).await;
    }
}
