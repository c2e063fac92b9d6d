//! Writes a set of files so that readers see either all old or all new ones.
//!
//! Files live in a dated directory; `..data` is a symlink to it that is replaced by rename; what users open are
//! symlinks through `..data`. This layout is a contract: programs watch `..data` (as upstream's
//! `pkg/volume/util/atomic_writer.go` makes it).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};

use super::error::VolumeError;

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProjection {
    pub data: Vec<u8>,
    pub mode: u32,
    pub uid: Option<u32>,
}

/// Files by path relative to the volume.
pub type Payload = BTreeMap<String, FileProjection>;

/// Makes `dir` hold exactly `payload`. `finish` runs on the whole volume after the new files are written and before
/// they become visible. Returns whether anything changed. Blocking.
pub fn write_atomically(
    dir: &Path,
    payload: &Payload,
    finish: impl FnOnce() -> Result<(), VolumeError>,
) -> Result<bool, VolumeError> {
    for path in payload.keys() {
        check_path(path)?;
    }
    let old = current_target(dir);
    if let Some(old) = &old
        && holds(&dir.join(old), payload)
    {
        link_visible(dir, payload)?;
        return Ok(false);
    }
    let new = new_directory(dir)?;
    let new_path = dir.join(&new);
    for (path, file) in payload {
        write_file(&new_path, path, file)?;
    }
    finish()?;
    let link = dir.join(DATA_NEW);
    match fs::remove_file(&link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(VolumeError::io("remove", &link)(error)),
        _ => {}
    }
    symlink(&new, &link).map_err(VolumeError::io("link", &link))?;
    fs::rename(&link, dir.join(DATA)).map_err(VolumeError::io("rename", &link))?;
    link_visible(dir, payload)?;
    remove_stale(dir, payload, &new)?;
    Ok(true)
}

/// Refuses paths that lead out of the volume or into the writer's own names.
fn check_path(path: &str) -> Result<(), VolumeError> {
    let inside = Path::new(path).components().all(|component| matches!(component, Component::Normal(_)));
    if !inside || path.is_empty() || path.starts_with("..") {
        return Err(VolumeError::Path { path: path.to_owned() });
    }
    Ok(())
}

fn current_target(dir: &Path) -> Option<PathBuf> {
    fs::read_link(dir.join(DATA)).ok().filter(|target| target.components().count() == 1)
}

/// Whether the dated directory has the same files with the same content.
fn holds(dated: &Path, payload: &Payload) -> bool {
    let mut found = BTreeSet::new();
    if list_files(dated, Path::new(""), &mut found).is_err() {
        return false;
    }
    found.len() == payload.len()
        && payload.iter().all(|(path, file)| {
            let path = normal(path);
            found.contains(&path) && fs::read(dated.join(&path)).is_ok_and(|data| data == file.data)
        })
}

fn list_files(root: &Path, below: &Path, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            list_files(root, &path, found)?;
        } else {
            found.insert(path);
        }
    }
    Ok(())
}

fn normal(path: &str) -> PathBuf {
    Path::new(path).components().collect()
}

fn new_directory(dir: &Path) -> Result<String, VolumeError> {
    let name = format!("..{}.{:010}", jiff::Timestamp::now().strftime("%Y_%m_%d_%H_%M_%S"), rand::random::<u32>());
    let path = dir.join(&name);
    fs::create_dir(&path).map_err(VolumeError::io("create", &path))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(VolumeError::io("set the mode of", &path))?;
    Ok(name)
}

fn write_file(root: &Path, path: &str, file: &FileProjection) -> Result<(), VolumeError> {
    let full = root.join(normal(path));
    let mut parent = root.to_owned();
    for component in normal(path).parent().iter().flat_map(|parent| parent.components()) {
        parent.push(component);
        match fs::create_dir(&parent) {
            Ok(()) => fs::set_permissions(&parent, fs::Permissions::from_mode(0o755))
                .map_err(VolumeError::io("set the mode of", &parent))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(VolumeError::io("create", &parent)(error)),
        }
    }
    // Narrow until the content is there and the mode is set exactly, whatever the umask.
    let mut handle = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(file.mode & 0o600)
        .open(&full)
        .map_err(VolumeError::io("create", &full))?;
    handle.write_all(&file.data).map_err(VolumeError::io("write", &full))?;
    if let Some(uid) = file.uid {
        chown(&full, Some(uid), None).map_err(VolumeError::io("chown", &full))?;
    }
    handle
        .set_permissions(fs::Permissions::from_mode(file.mode & 0o7777))
        .map_err(VolumeError::io("set the mode of", &full))
}

fn top_names(payload: &Payload) -> BTreeSet<PathBuf> {
    payload
        .keys()
        .filter_map(|path| normal(path).components().next().map(|first| PathBuf::from(first.as_os_str())))
        .collect()
}

fn link_visible(dir: &Path, payload: &Payload) -> Result<(), VolumeError> {
    for name in top_names(payload) {
        let visible = dir.join(&name);
        match symlink(Path::new(DATA).join(&name), &visible) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(VolumeError::io("link", &visible)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes links of keys that are gone, and every dated directory but the current one.
fn remove_stale(dir: &Path, payload: &Payload, current: &str) -> Result<(), VolumeError> {
    let wanted = top_names(payload);
    for entry in fs::read_dir(dir).map_err(VolumeError::io("read", dir))? {
        let entry = entry.map_err(VolumeError::io("read", dir))?;
        let (name, path) = (entry.file_name(), entry.path());
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let result = if name.to_string_lossy().starts_with("..") {
            if is_dir && name != current { fs::remove_dir_all(&path) } else { Ok(()) }
        } else if wanted.contains(Path::new(&name)) {
            Ok(())
        } else if is_dir {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        result.map_err(VolumeError::io("remove", &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn payload(files: &[(&str, &str, u32)]) -> Payload {
        files
            .iter()
            .map(|(path, data, mode)| {
                ((*path).to_owned(), FileProjection { data: data.as_bytes().to_vec(), mode: *mode, uid: None })
            })
            .collect()
    }

    fn write(dir: &Path, files: &[(&str, &str, u32)]) -> bool {
        write_atomically(dir, &payload(files), || Ok(())).expect("written")
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn writes_updates_and_prunes() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path();
        assert!(write(root, &[("a", "1", 0o644), ("sub/deep/b", "2", 0o400)]));
        assert_eq!(fs::read_to_string(root.join("sub/deep/b")).expect("a file"), "2");
        assert_eq!(fs::metadata(root.join("sub/deep/b")).expect("metadata").mode() & 0o7777, 0o400);
        assert_eq!(fs::read_link(root.join("a")).expect("a link"), Path::new("..data/a"));
        let first = fs::read_link(root.join(DATA)).expect("a link");

        assert!(!write(root, &[("a", "1", 0o644), ("sub/deep/b", "2", 0o400)]));
        assert_eq!(fs::read_link(root.join(DATA)).expect("a link"), first);

        assert!(write(root, &[("a", "changed", 0o600), ("c", "3", 0o644)]));
        assert_eq!(fs::read_to_string(root.join("a")).expect("a file"), "changed");
        assert!(!root.join("sub").exists() && fs::symlink_metadata(root.join("sub")).is_err());
        assert!(!root.join(first).exists());
        assert_eq!(names(root).len(), 4);

        assert!(write(root, &[]));
        assert_eq!(names(root).len(), 2);
    }

    #[test]
    fn an_open_old_file_stays_readable_through_the_swap() {
        let dir = tempfile::tempdir().expect("a directory");
        write(dir.path(), &[("a", "old", 0o644)]);
        let mut open = fs::File::open(dir.path().join("a")).expect("a file");
        write(dir.path(), &[("a", "new", 0o644)]);
        let mut text = String::new();
        io::Read::read_to_string(&mut open, &mut text).expect("readable");
        assert_eq!(text, "old");
    }

    #[test]
    fn refuses_paths_that_escape() {
        let dir = tempfile::tempdir().expect("a directory");
        for path in ["../x", "/x", "a/../b", "..data", "", "..2026"] {
            let error = write_atomically(dir.path(), &payload(&[(path, "", 0o644)]), || Ok(())).expect_err(path);
            assert!(matches!(error, VolumeError::Path { .. }), "{path}");
        }
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn a_failed_finish_leaves_the_old_files() {
        let dir = tempfile::tempdir().expect("a directory");
        write(dir.path(), &[("a", "old", 0o644)]);
        let result =
            write_atomically(dir.path(), &payload(&[("a", "new", 0o644)]), || Err(VolumeError::Uid("x".into())));
        assert!(result.is_err());
        assert_eq!(fs::read_to_string(dir.path().join("a")).expect("a file"), "old");
        write(dir.path(), &[("a", "newer", 0o644)]);
        assert_eq!(names(dir.path()).len(), 3);
    }
}
