//! Files come out whole, with their mode, and only where they differ.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use junio_bundle::{Bundle, BundleError, Extracted, Extraction};

use crate::sample;

#[test]
fn files_of_one_part_come_out_together_and_twins_twice() {
    let directory = tempfile::tempdir().expect("directory");
    let bundle = Bundle::open(&sample::write(directory.path(), "files")).expect("open");
    let names = ["tools/second", "program", "tools/first", "alias"];
    let wanted =
        names.map(|name| Extraction { name: name.to_owned(), destination: directory.path().join("out").join(name) });
    assert_eq!(bundle.extract_all(&wanted).expect("extract"), [Extracted::Written; 4]);
    for extraction in &wanted {
        let content = fs::read(&extraction.destination).expect("extracted");
        assert_eq!(content, bundle.read(&extraction.name).expect("read"), "{}", extraction.name);
        let mode = fs::metadata(&extraction.destination).expect("metadata").permissions().mode();
        assert_eq!(mode & 0o7777, 0o755, "{}", extraction.name);
    }
    assert_eq!(fs::read(&wanted[1].destination).expect("program"), fs::read(&wanted[3].destination).expect("alias"));
    assert_eq!(fs::read(&wanted[0].destination).expect("second"), sample::noise(8, 200));
    assert_eq!(bundle.extract_all(&wanted).expect("again"), [Extracted::Unchanged; 4]);
}

#[test]
fn a_changed_file_is_replaced_by_rename_and_a_good_one_is_not_touched() {
    let directory = tempfile::tempdir().expect("directory");
    let bundle = Bundle::open(&sample::write(directory.path(), "replace")).expect("open");
    let destination = directory.path().join("tool");
    let extract = || bundle.extract("tools/first", &destination).expect("extract");
    let inode = || fs::metadata(&destination).expect("metadata").ino();
    assert_eq!(extract(), Extracted::Written);
    let first = inode();
    assert_eq!(extract(), Extracted::Unchanged);
    assert_eq!(inode(), first);

    let mut bytes = fs::read(&destination).expect("read");
    bytes[3] ^= 1;
    fs::write(&destination, bytes).expect("change the content");
    // Whoever runs the old file keeps it: a busy program can be replaced.
    let _running = fs::File::open(&destination).expect("open");
    assert_eq!(extract(), Extracted::Written);
    assert_ne!(inode(), first);

    fs::set_permissions(&destination, fs::Permissions::from_mode(0o600)).expect("change the mode");
    assert_eq!(extract(), Extracted::Written);
    let left: Vec<_> =
        fs::read_dir(directory.path()).expect("list").map(|entry| entry.expect("entry").file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn an_unknown_name_is_an_error_and_nothing_is_written() {
    let directory = tempfile::tempdir().expect("directory");
    let bundle = Bundle::open(&sample::write(directory.path(), "unknown")).expect("open");
    let destination = directory.path().join("out/absent");
    let error = bundle.extract("absent", &destination).expect_err("no such file");
    assert!(matches!(error, BundleError::NoFile { .. }), "{error}");
    assert!(!destination.exists());
}
