//! What `junioadm agent` does on a host for the junioadm that drives it: it puts together what was sent, and takes it away again.

use std::fs;
use std::path::{Path, PathBuf};

use junio_api::Layout;
use junio_bundle::Bundle;
use junio_host::{create_dir, remove_file, remove_tree, write_atomic};

use super::error::HostFailure;
use super::inventory::{incoming, sha256_of};

/// Notes of what came from elsewhere: the digest of the program, that of the bundle.
fn note(layout: &Layout, of: &str) -> PathBuf {
    layout.junioadm_dir().join(format!("sent-{of}"))
}

/// Puts the bundle together from its head, the frames that arrived and what this host had of it. Returns how many parts it
/// holds now. Blocks.
pub fn assemble(layout: &Layout, head: &[u8]) -> Result<usize, HostFailure> {
    let path = layout.bundle();
    // A bundle that somebody else put here is replaced, and belongs to them still.
    let ours = !path.exists() || note(layout, "bundle").exists();
    if !layout.junioadm_dir().exists() {
        create_dir(&layout.junioadm_dir(), 0o700)?;
    }
    let held = junio_bundle::assemble(head, &incoming(layout), &path)?;
    if ours {
        let digest = Bundle::open(&path)?.digest().to_owned();
        write_atomic(&note(layout, "bundle"), digest.as_bytes(), 0o600)?;
    }
    remove_tree(&incoming(layout))?;
    Ok(held)
}

/// Takes away what was sent to this host: the bundle, frames, and last junioadm itself. What was there before, or was changed
/// since, stays. Returns what went. Blocks.
pub fn forget(layout: &Layout) -> Result<Vec<PathBuf>, HostFailure> {
    let mut gone = Vec::new();
    if remove_tree(&incoming(layout))? {
        gone.push(incoming(layout));
    }
    let noted = |of: &str| fs::read_to_string(note(layout, of)).ok().map(|text| text.trim().to_owned());
    if noted("bundle").is_some_and(|digest| Bundle::open(&layout.bundle()).is_ok_and(|found| found.digest() == digest))
    {
        remove(&layout.bundle(), &mut gone)?;
    }
    let program = layout.junioadm_bin();
    if noted("junioadm").is_some_and(|digest| sha256_of(&program).is_ok_and(|found| found == digest)) {
        remove(&program, &mut gone)?;
    }
    // What a cut transfer has left.
    remove(&PathBuf::from(format!("{}.part", program.display())), &mut gone)?;
    for of in ["bundle", "junioadm"] {
        remove_file(&note(layout, of))?;
    }
    let directory = layout.junioadm_dir();
    if fs::read_dir(&directory).is_ok_and(|mut entries| entries.next().is_none()) {
        remove_tree(&directory)?;
        gone.push(directory);
    }
    Ok(gone)
}

fn remove(path: &Path, gone: &mut Vec<PathBuf>) -> Result<(), HostFailure> {
    if remove_file(path)? {
        gone.push(path.to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sent_and_is_as_it_was_sent_goes() {
        let root = tempfile::tempdir().expect("temporary directory");
        let layout = Layout::new(root.path());
        let program = layout.junioadm_bin();
        for directory in [layout.junioadm_dir(), incoming(&layout), program.parent().expect("a parent").to_owned()] {
            fs::create_dir_all(directory).expect("made");
        }
        fs::write(&program, "ours").expect("written");
        fs::write(note(&layout, "junioadm"), sha256_of(&program).expect("readable")).expect("written");
        fs::write(&program, "somebody else's by now").expect("written");
        fs::write(layout.bundle(), "not from us").expect("written");
        let gone = forget(&layout).expect("removable");
        assert_eq!(gone, [incoming(&layout)]);
        assert!(program.exists() && layout.bundle().exists());

        fs::remove_file(layout.bundle()).expect("removable");
        fs::write(note(&layout, "junioadm"), sha256_of(&program).expect("readable")).expect("written");
        let gone = forget(&layout).expect("removable");
        assert_eq!(gone, [program.clone(), layout.junioadm_dir()]);
        assert!(forget(&layout).expect("nothing is there").is_empty(), "a second time there is nothing");
    }
}
