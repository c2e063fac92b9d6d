//! `hostPath`: a path of the host, checked for its type or created.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::HostPathVolumeSource;

use super::error::VolumeError;

/// The path, which exists afterwards if its type allows to create it. Blocking.
pub(super) fn check_host_path(source: &HostPathVolumeSource) -> Result<PathBuf, VolumeError> {
    let path = PathBuf::from(&source.path);
    let kind = source.type_.as_deref().unwrap_or_default();
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(VolumeError::io("look at", path)(error)),
    };
    let wrong = |kind| Err(VolumeError::HostPathType { path: path.clone(), kind });
    match (kind, metadata.map(|metadata| metadata.file_type())) {
        ("", Some(_)) => {}
        // Engines create a missing source as a directory; so that it does not depend on the engine, it is done here.
        ("" | "DirectoryOrCreate", None) => create_directory(&path)?,
        ("DirectoryOrCreate" | "Directory", Some(found)) if found.is_dir() => {}
        ("DirectoryOrCreate" | "Directory", _) => return wrong("directory"),
        ("FileOrCreate", None) => create_file(&path)?,
        ("FileOrCreate" | "File", Some(found)) if found.is_file() => {}
        ("FileOrCreate" | "File", _) => return wrong("file"),
        ("Socket", Some(found)) if found.is_socket() => {}
        ("Socket", _) => return wrong("socket file"),
        ("CharDevice", Some(found)) if found.is_char_device() => {}
        ("CharDevice", _) => return wrong("character device"),
        ("BlockDevice", Some(found)) if found.is_block_device() => {}
        ("BlockDevice", _) => return wrong("block device"),
        (other, _) => return Err(VolumeError::HostPathKind { kind: other.to_owned() }),
    }
    Ok(path)
}

fn create_directory(path: &Path) -> Result<(), VolumeError> {
    fs::create_dir_all(path).map_err(VolumeError::io("create", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(VolumeError::io("set the mode of", path))
}

fn create_file(path: &Path) -> Result<(), VolumeError> {
    let opened = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o644).open(path);
    let file = opened.map_err(VolumeError::io("create", path))?;
    file.set_permissions(fs::Permissions::from_mode(0o644)).map_err(VolumeError::io("set the mode of", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &Path, kind: &str) -> Result<PathBuf, VolumeError> {
        check_host_path(&HostPathVolumeSource { path: path.display().to_string(), type_: Some(kind.to_owned()) })
    }

    #[test]
    fn checks_every_type() {
        let dir = tempfile::tempdir().expect("a directory");
        let (file, socket) = (dir.path().join("file"), dir.path().join("socket"));
        fs::write(&file, "").expect("a file");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        let null = Path::new("/dev/null");
        for (path, kinds) in [
            (dir.path(), &["", "Directory", "DirectoryOrCreate"][..]),
            (&file, &["", "File", "FileOrCreate"]),
            (&socket, &["", "Socket"]),
            (null, &["", "CharDevice"]),
        ] {
            for kind in
                ["", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket", "CharDevice", "BlockDevice"]
            {
                assert_eq!(check(path, kind).is_ok(), kinds.contains(&kind), "{} {kind}", path.display());
            }
        }
        assert!(matches!(check(&file, "Tape"), Err(VolumeError::HostPathKind { .. })));
    }

    #[test]
    fn creates_what_may_be_created() {
        let dir = tempfile::tempdir().expect("a directory");
        for kind in ["Directory", "File", "Socket", "CharDevice", "BlockDevice"] {
            assert!(check(&dir.path().join("none"), kind).is_err(), "{kind}");
        }
        let made = check(&dir.path().join("a/b"), "DirectoryOrCreate").expect("created");
        assert_eq!(fs::metadata(made).expect("metadata").permissions().mode() & 0o777, 0o755);
        let made = check(&dir.path().join("file"), "FileOrCreate").expect("created");
        assert_eq!(fs::metadata(made).expect("metadata").permissions().mode() & 0o777, 0o644);
        assert!(check(&dir.path().join("missing/file"), "FileOrCreate").is_err());
        assert!(check(&dir.path().join("plain"), "").expect("created").is_dir());
    }
}
