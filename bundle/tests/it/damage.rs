//! A changed or shortened bundle is refused, wherever it is changed.

use std::fs;

use junio_api::hint::Hint;
use junio_bundle::{Bundle, BundleError};

use crate::sample;

fn check(path: &std::path::Path) -> Result<(), BundleError> {
    let bundle = Bundle::open(path)?;
    bundle.verify_stored()?;
    bundle.verify()
}

#[test]
fn a_flipped_bit_in_any_byte_is_refused() {
    let directory = tempfile::tempdir().expect("directory");
    let path = sample::write(directory.path(), "flip");
    check(&path).expect("the sample is good");
    let good = fs::read(&path).expect("bundle");
    let damaged = directory.path().join("damaged");
    for position in 0..good.len() {
        let mut bytes = good.clone();
        bytes[position] ^= 1 << (position % 8);
        fs::write(&damaged, &bytes).expect("write");
        let error =
            check(&damaged).err().unwrap_or_else(|| panic!("byte {position} of {} was flipped unnoticed", good.len()));
        let code = error.code().0;
        let expected: &[&str] = match position {
            0..8 => &["BUNDLE-INVALID"],
            8..12 => &["BUNDLE-FORMAT"],
            // A wrong length makes the manifest too long for the file or gives it another digest.
            _ => &["BUNDLE-DAMAGED"],
        };
        assert!(expected.contains(&code), "byte {position}: {code}: {error}");
    }
}

#[test]
fn a_bundle_that_ends_early_is_refused() {
    let directory = tempfile::tempdir().expect("directory");
    let path = sample::write(directory.path(), "cut");
    let good = fs::read(&path).expect("bundle");
    for length in 0..good.len() {
        fs::write(&path, &good[..length]).expect("write");
        let error = Bundle::open(&path).err().unwrap_or_else(|| panic!("{length} of {} bytes were enough", good.len()));
        assert!(["BUNDLE-INVALID", "BUNDLE-DAMAGED"].contains(&error.code().0), "{length}: {error}");
    }
}

#[test]
fn the_error_names_the_damaged_part_and_a_next_step() {
    let directory = tempfile::tempdir().expect("directory");
    let path = sample::write(directory.path(), "name");
    let mut bytes = fs::read(&path).expect("bundle");
    *bytes.last_mut().expect("a byte") ^= 1;
    fs::write(&path, bytes).expect("write");
    let error = check(&path).expect_err("damaged");
    assert!(matches!(&error, BundleError::Corrupt { part, .. } if part == "tools"), "{error}");
    assert!(error.expected());
    assert!(
        error
            .next_step()
            .and_then(|step| step.command)
            .is_some_and(|command| command.starts_with("junio-bundle verify"))
    );
}

#[test]
fn what_is_no_bundle_says_so() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("file");
    let open = || Bundle::open(&path).expect_err("no bundle").code().0;
    assert_eq!(open(), "BUNDLE-MISSING");
    fs::write(&path, b"").expect("write");
    assert_eq!(open(), "BUNDLE-INVALID");
    fs::write(&path, [b'x'; 4096]).expect("write");
    assert_eq!(open(), "BUNDLE-INVALID");
}
