//! Files into and out of a host, as archives over the engine's API. Works on stopped hosts too.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use bollard::Docker;
use bollard::query_parameters::{DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder};
use bytes::Bytes;
use futures::TryStreamExt;
use tar::{Archive, Builder, Header};
use tokio_util::io::ReaderStream;

use crate::LabError;

/// Adds one regular file that belongs to root. `path` is below the root, without a leading `/`.
pub(crate) fn append_file(
    archive: &mut Builder<impl std::io::Write>,
    path: &str,
    mode: u32,
    content: impl Read,
    size: u64,
) -> std::io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_size(size);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    archive.append_data(&mut header, path, content)
}

/// Adds a directory that belongs to root.
pub(crate) fn append_directory(
    archive: &mut Builder<impl std::io::Write>,
    path: &str,
    mode: u32,
) -> std::io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_cksum();
    archive.append_data(&mut header, path, std::io::empty())
}

/// Unpacks the archive file `archive` at the host's root.
pub(crate) async fn upload_archive(docker: &Docker, container: &str, archive: &Path) -> Result<(), LabError> {
    let file = tokio::fs::File::open(archive).await.map_err(LabError::file("open", archive))?;
    let body = bollard::body_try_stream(ReaderStream::with_capacity(file, 1 << 20));
    let options = UploadToContainerOptionsBuilder::new().path("/").build();
    docker
        .upload_to_container(container, Some(options), body)
        .await
        .map_err(LabError::engine(format!("copy files to {container}")))
}

/// Writes one file on a host; its directory must exist. An existing file is replaced, not written over.
pub(crate) async fn write_file(
    docker: &Docker,
    container: &str,
    path: &str,
    mode: u32,
    content: &[u8],
) -> Result<(), LabError> {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let directory = if directory.is_empty() { "/" } else { directory };
    let mut archive = Builder::new(Vec::new());
    let size = content.len() as u64;
    append_file(&mut archive, name, mode, content, size).map_err(LabError::file("pack", path))?;
    let bytes = archive.into_inner().map_err(LabError::file("pack", path))?;
    let options = UploadToContainerOptionsBuilder::new().path(directory).build();
    docker
        .upload_to_container(container, Some(options), bollard::body_full(Bytes::from(bytes)))
        .await
        .map_err(LabError::engine(format!("write {path} on {container}")))
}

/// Reads one regular file of a host whole. A tmpfs of the host (`/run`, `/tmp`) is not seen this way.
pub(crate) async fn read_file(docker: &Docker, container: &str, path: &str) -> Result<Vec<u8>, LabError> {
    let options = DownloadFromContainerOptionsBuilder::new().path(path).build();
    let bytes: Vec<u8> = docker
        .download_from_container(container, Some(options))
        .try_fold(Vec::new(), |mut all, chunk| async move {
            all.extend_from_slice(&chunk);
            Ok(all)
        })
        .await
        .map_err(LabError::engine(format!("read {path} on {container}")))?;
    let mut archive = Archive::new(Cursor::new(bytes));
    let mut content = Vec::new();
    for entry in archive.entries().map_err(LabError::file("unpack", path))? {
        let mut entry = entry.map_err(LabError::file("unpack", path))?;
        if entry.header().entry_type().is_file() {
            entry.read_to_end(&mut content).map_err(LabError::file("unpack", path))?;
            return Ok(content);
        }
    }
    Err(LabError::file("read", path)(std::io::ErrorKind::InvalidInput.into()))
}

/// Opens a file of the machine with its size.
pub(crate) fn open_sized(path: &Path) -> Result<(File, u64), LabError> {
    let file = File::open(path).map_err(LabError::file("open", path))?;
    let size = file.metadata().map_err(LabError::file("look at", path))?.len();
    Ok((file, size))
}
