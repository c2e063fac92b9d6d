//! `subPath`: a part of a volume, bound where the engine can take it, so that nobody who writes to the volume can
//! redirect the mount by a symlink (CVE-2017-1002101, CVE-2021-25741).
//!
//! The path is resolved once, must stay inside the volume, and is then opened component by component without following
//! any link. What was opened is bound to a directory of the kubelet's own; the engine gets that one.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, mkdirat};

/// What to bind where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubpathRequest {
    /// The volume on the host.
    pub volume_dir: PathBuf,
    /// Relative, without `..`; created if it does not exist.
    pub sub_path: String,
    /// `pods/UID/volume-subpaths/VOLUME/CONTAINER/INDEX`
    pub target: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum SubpathError {
    #[error("{} leads out of the volume", path.display())]
    Outside { path: PathBuf },
    #[error("{} is a symbolic link", path.display())]
    Link { path: PathBuf },
    #[error("{what} {}: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
}

/// Opens or creates the subPath and binds it. Returns `target`. Blocking; the same request again changes nothing.
pub fn prepare_subpath(request: &SubpathRequest) -> Result<PathBuf, SubpathError> {
    let opened = open_inside(&request.volume_dir, &request.sub_path)?;
    bind(&opened, &request.target)?;
    Ok(request.target.clone())
}

/// A handle (`O_PATH`) on `sub_path`, made with the volume's mode where it does not exist.
fn open_inside(volume_dir: &Path, sub_path: &str) -> Result<OwnedFd, SubpathError> {
    let root = fs::canonicalize(volume_dir).map_err(io_error("resolve", volume_dir))?;
    let mode = fs::metadata(&root).map_err(io_error("look at", &root))?.permissions().mode() & 0o7777;
    let (existing, missing) = resolve(&root, sub_path)?;
    let inside = existing.strip_prefix(&root).map_err(|_| SubpathError::Outside { path: existing.clone() })?;

    let mut path = root.clone();
    let mut handle = open(&root, OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW, Mode::empty())
        .map_err(|error| io_error("open", &root)(error.into()))?;
    for component in inside.components() {
        path.push(component);
        handle = step(&handle, &path, component.as_os_str())?;
    }
    for component in missing {
        path.push(&component);
        match mkdirat(&handle, component.as_os_str(), Mode::from_bits_truncate(0o700)) {
            Ok(()) => {
                handle = step(&handle, &path, &component)?;
                set_mode(&handle, &path, mode)?;
            }
            // Somebody made it meanwhile: fine, if it is no link.
            Err(Errno::EEXIST) => handle = step(&handle, &path, &component)?,
            Err(error) => return Err(io_error("create", &path)(error.into())),
        }
    }
    Ok(handle)
}

/// The part of the path that exists, without links, and the names below it that do not.
fn resolve(root: &Path, sub_path: &str) -> Result<(PathBuf, Vec<OsString>), SubpathError> {
    let relative = Path::new(sub_path);
    if !relative.components().all(|component| matches!(component, Component::Normal(_) | Component::CurDir)) {
        return Err(SubpathError::Outside { path: relative.to_owned() });
    }
    let mut wanted = root.join(relative);
    let mut missing = Vec::new();
    loop {
        match fs::canonicalize(&wanted) {
            Ok(existing) => {
                missing.reverse();
                return Ok((existing, missing));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && wanted != root => {
                missing.extend(wanted.file_name().map(OsString::from));
                wanted.pop();
            }
            Err(error) => return Err(io_error("resolve", &wanted)(error)),
        }
    }
}

fn step(parent: &OwnedFd, path: &Path, name: &std::ffi::OsStr) -> Result<OwnedFd, SubpathError> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let handle =
        openat(parent.as_fd(), name, flags, Mode::empty()).map_err(|error| io_error("open", path)(error.into()))?;
    if kind(&stat(&handle, path)?) == SFlag::S_IFLNK {
        return Err(SubpathError::Link { path: path.to_owned() });
    }
    Ok(handle)
}

fn bind(handle: &OwnedFd, target: &Path) -> Result<(), SubpathError> {
    let source = stat(handle, target)?;
    let is_dir = kind(&source) == SFlag::S_IFDIR;
    if let Ok(present) = fs::symlink_metadata(target) {
        if (present.dev(), present.ino()) == (source.st_dev, source.st_ino) {
            return Ok(());
        }
        match umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) | Err(Errno::EINVAL) => {}
            Err(error) => return Err(io_error("unmount", target)(error.into())),
        }
        remove_placeholder(target)?;
    }
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(io_error("create", parent))?;
    }
    let made = if is_dir { fs::create_dir(target) } else { fs::File::create_new(target).map(drop) };
    made.map_err(io_error("create", target))?;
    let source = format!("/proc/self/fd/{}", handle.as_raw_fd());
    mount(Some(source.as_str()), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(|error| io_error("bind the subPath to", target)(error.into()))
}

/// What was under the mount: an empty directory or file. `rmdir` and `unlink` cannot remove more than that.
fn remove_placeholder(target: &Path) -> Result<(), SubpathError> {
    let is_dir = fs::symlink_metadata(target).map_err(io_error("look at", target))?.is_dir();
    let result = if is_dir { fs::remove_dir(target) } else { fs::remove_file(target) };
    result.map_err(io_error("remove", target))
}

/// An `O_PATH` handle cannot be changed itself, so the directory is opened once more, as the `.` of the handle.
fn set_mode(handle: &OwnedFd, path: &Path, mode: u32) -> Result<(), SubpathError> {
    let again = openat(handle.as_fd(), ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
    again
        .and_then(|file| fchmod(&file, Mode::from_bits_truncate(mode)))
        .map_err(|error| io_error("set the mode of", path)(error.into()))
}

fn stat(handle: &OwnedFd, path: &Path) -> Result<FileStat, SubpathError> {
    fstat(handle).map_err(|error| io_error("look at", path)(error.into()))
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SubpathError {
    let path = path.to_owned();
    move |source| SubpathError::Io { what, path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn inode(handle: &OwnedFd) -> u64 {
        fstat(handle).expect("a handle").st_ino
    }

    #[test]
    fn opens_what_is_inside() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path();
        fs::create_dir_all(root.join("..2026/sub")).expect("directories");
        fs::write(root.join("..2026/sub/file"), "x").expect("a file");
        symlink("..2026", root.join("..data")).expect("a link");
        symlink("..data/sub", root.join("sub")).expect("a link");
        let handle = open_inside(root, "sub/file").expect("opened");
        assert_eq!(inode(&handle), fs::metadata(root.join("..2026/sub/file")).expect("metadata").ino());
        assert_eq!(
            inode(&open_inside(root, "./sub").expect("opened")),
            fs::metadata(root.join("..2026/sub")).expect("metadata").ino()
        );
    }

    #[test]
    fn creates_with_the_mode_of_the_volume() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o2775)).expect("a mode");
        open_inside(dir.path(), "a/b").expect("created");
        for name in ["a", "a/b"] {
            assert_eq!(
                fs::metadata(dir.path().join(name)).expect("metadata").permissions().mode() & 0o7777,
                0o2775,
                "{name}"
            );
        }
    }

    #[test]
    fn refuses_to_leave_the_volume() {
        let outside = tempfile::tempdir().expect("a directory");
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path();
        symlink(outside.path(), root.join("out")).expect("a link");
        symlink(outside.path().join("none"), root.join("dangling")).expect("a link");
        symlink("/", root.join("slash")).expect("a link");
        for path in ["out", "out/new", "slash/etc", "../x", "/etc", "a/../../x"] {
            assert!(matches!(open_inside(root, path), Err(SubpathError::Outside { .. })), "{path}");
        }
        assert!(matches!(open_inside(root, "dangling"), Err(SubpathError::Link { .. })));
        assert!(matches!(open_inside(root, "dangling/x"), Err(SubpathError::Link { .. })));
        assert_eq!(fs::read_dir(outside.path()).expect("a directory").count(), 0);
    }

    #[test]
    fn does_not_step_through_a_link_that_appears_late() {
        let dir = tempfile::tempdir().expect("a directory");
        symlink("/etc", dir.path().join("swapped")).expect("a link");
        let root = open(dir.path(), OFlag::O_PATH, Mode::empty()).expect("opened");
        let result = step(&root, &dir.path().join("swapped"), "swapped".as_ref());
        assert!(matches!(result, Err(SubpathError::Link { .. })));
    }

    /// Needs the right to mount, as the kubelet has.
    #[test]
    fn binds_directories_and_files_and_moves_on() {
        let dir = tempfile::tempdir().expect("a directory");
        let volume = dir.path().join("volume");
        fs::create_dir(&volume).expect("a directory");
        fs::write(volume.join("one"), "1").expect("a file");
        let target = dir.path().join("pods/u/volume-subpaths/v/c/0");
        let request = |sub_path: &str| SubpathRequest {
            volume_dir: volume.clone(),
            sub_path: sub_path.into(),
            target: target.clone(),
        };
        prepare_subpath(&request("one")).expect("bound");
        assert_eq!(fs::read_to_string(&target).expect("a file"), "1");
        prepare_subpath(&request("one")).expect("bound still");
        fs::rename(volume.join("one"), volume.join("old")).expect("renamed");
        fs::write(volume.join("one"), "2").expect("a file");
        prepare_subpath(&request("one")).expect("bound anew");
        assert_eq!(fs::read_to_string(&target).expect("a file"), "2");
        prepare_subpath(&request("sub")).expect("bound");
        fs::write(target.join("in"), "").expect("a file");
        assert!(volume.join("sub/in").exists());
        super::super::cleanup::remove_pod_dir(&dir.path().join("pods/u")).expect("removed");
        assert!(volume.join("sub/in").exists());
        assert!(!dir.path().join("pods/u").exists());
    }
}
