//! Opens a bundle file and reads single parts of it.
//!
//! Layout: magic (8 bytes), format (u32, little endian), length of the manifest (u32), sha256 of the manifest in
//! hexadecimal (64 bytes), the manifest (JSON), then the parts, each one zstd frame, without gaps. So the manifest is
//! read at once, and a part by one seek.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::BundleError;
use crate::image::LayerSource;
use crate::manifest::{FORMAT, Manifest, Part};
use crate::sha256;

pub(crate) const MAGIC: &[u8; 8] = b"JBUNDLE\n";
pub(crate) const HEADER_SIZE: usize = 8 + 4 + 4 + 64;

/// The largest window that a frame may ask for (128 MiB); `junio-bundle` writes frames that need no more.
pub(crate) const WINDOW_LOG_MAX: u32 = 27;

/// An open bundle whose manifest is verified. Parts are verified whenever they are read, before they are used.
#[derive(Debug)]
pub struct Bundle {
    path: PathBuf,
    file: File,
    manifest: Manifest,
    digest: String,
    parts_start: u64,
}

impl Bundle {
    /// Opens the file and checks its header and manifest. Blocks for some milliseconds.
    ///
    /// # Errors
    /// When it is absent, no bundle, of another format, truncated, or its manifest was changed.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        let file = File::open(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => BundleError::Missing { path: path.to_owned() },
            _ => BundleError::Io { operation: "open the bundle", path: path.to_owned(), source },
        })?;
        let mut header = [0; HEADER_SIZE];
        let not = |reason| BundleError::NotABundle { path: path.to_owned(), reason };
        read_at(&file, &mut header, 0).map_err(|_| not("it is too short"))?;
        let (magic, rest) = header.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(not("it begins with something else"));
        }
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
        let found = number(&rest[..4]);
        if found != FORMAT {
            return Err(BundleError::Format { path: path.to_owned(), found, supported: FORMAT });
        }
        let length = number(&rest[4..8]);
        let expected = String::from_utf8_lossy(&rest[8..]).into_owned();
        let parts_start = HEADER_SIZE as u64 + u64::from(length);
        let available = file.metadata().map_err(BundleError::io("read the size of", path))?.len();
        if available < parts_start {
            return Err(BundleError::Truncated { path: path.to_owned(), part: "the manifest".into() });
        }
        let mut text = vec![0; length as usize];
        read_at(&file, &mut text, HEADER_SIZE as u64).map_err(BundleError::io("read the manifest of", path))?;
        let digest = sha256(&text);
        if digest != expected {
            let part = "the manifest".into();
            return Err(BundleError::Corrupt { path: path.to_owned(), part, expected, found: digest });
        }
        let manifest: Manifest =
            serde_json::from_slice(&text).map_err(|source| BundleError::Manifest { path: path.to_owned(), source })?;
        manifest.check().map_err(|reason| BundleError::Inconsistent { path: path.to_owned(), reason })?;
        let end = manifest.parts.last().map_or(0, |last| last.offset + last.stored_size);
        if available < parts_start + end {
            let part = manifest.parts.iter().find(|part| parts_start + part.offset + part.stored_size > available);
            let part = part.map_or_else(String::new, |part| part.name.clone());
            return Err(BundleError::Truncated { path: path.to_owned(), part });
        }
        Ok(Self { path: path.to_owned(), file, manifest, digest, parts_start })
    }

    /// What is in it.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// sha256 of the manifest, which covers every byte of the file: the bundle's identity.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The stored bytes of a part, verified.
    pub(crate) fn stored(&self, part: &Part) -> Result<Vec<u8>, BundleError> {
        let size = usize::try_from(part.stored_size).map_err(|_| BundleError::Inconsistent {
            path: self.path.clone(),
            reason: format!("{} is too large for this machine", part.name),
        })?;
        let mut bytes = vec![0; size];
        read_at(&self.file, &mut bytes, self.parts_start + part.offset).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => BundleError::Truncated { path: self.path.clone(), part: part.name.clone() },
            _ => BundleError::Io { operation: "read the bundle", path: self.path.clone(), source },
        })?;
        let found = sha256(&bytes);
        if found == part.stored_sha256 {
            Ok(bytes)
        } else if is_hole(&bytes) {
            Err(BundleError::Absent { path: self.path.clone(), part: part.name.clone() })
        } else {
            let (path, expected) = (self.path.clone(), part.stored_sha256.clone());
            Err(BundleError::Corrupt { path, part: part.name.clone(), expected, found })
        }
    }

    /// Whether the part is in the file: a partial bundle has holes in the places of those that are not.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn holds(&self, part: &Part) -> Result<bool, BundleError> {
        let mut beginning = vec![0; usize::try_from(part.stored_size).unwrap_or(HOLE_SAMPLE).min(HOLE_SAMPLE)];
        read_at(&self.file, &mut beginning, self.parts_start + part.offset)
            .map_err(BundleError::io("read the bundle", &self.path))?;
        Ok(!is_hole(&beginning))
    }

    /// Where a part's frame begins in the file.
    #[must_use]
    pub fn place(&self, part: &Part) -> u64 {
        self.parts_start + part.offset
    }

    /// Header and manifest as they stand in the file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn head(&self) -> Result<Vec<u8>, BundleError> {
        let mut head = vec![0; usize::try_from(self.parts_start).unwrap_or_default()];
        read_at(&self.file, &mut head, 0).map_err(BundleError::io("read the manifest of", &self.path))?;
        Ok(head)
    }

    /// The frame of a part as it is stored, verified: what goes over the wire.
    ///
    /// # Errors
    /// When it is damaged or not in this file.
    pub fn frame(&self, part: &Part) -> Result<Vec<u8>, BundleError> {
        self.stored(part)
    }

    /// A part's content, read to its end. The stored bytes are verified first.
    pub(crate) fn reader(&self, part: &Part) -> Result<impl Read + use<>, BundleError> {
        let frame = io::Cursor::new(self.stored(part)?);
        let mut decoder =
            zstd::stream::read::Decoder::with_buffer(frame).map_err(BundleError::io("decompress", &self.path))?;
        decoder.window_log_max(WINDOW_LOG_MAX).map_err(BundleError::io("decompress", &self.path))?;
        Ok(decoder.take(part.size))
    }
}

impl LayerSource for Bundle {
    fn size(&self, sha256: &str) -> io::Result<u64> {
        self.manifest.part(sha256).map(|part| part.size).ok_or_else(|| io::Error::other("no such layer"))
    }

    fn copy(&self, sha256: &str, to: &mut dyn Write) -> io::Result<()> {
        let part = self.manifest.part(sha256).ok_or_else(|| io::Error::other("no such layer"))?;
        let copied = io::copy(&mut self.reader(part).map_err(io::Error::other)?, to)?;
        if copied == part.size {
            Ok(())
        } else {
            Err(io::Error::other(format!("{} has {copied} bytes instead of {}", part.name, part.size)))
        }
    }
}

/// How much of a part is looked at to tell a hole from a frame, whose first four bytes are zstd's magic number.
const HOLE_SAMPLE: usize = 16;

fn is_hole(bytes: &[u8]) -> bool {
    bytes.iter().take(HOLE_SAMPLE).all(|byte| *byte == 0)
}

fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(buffer, offset)
}
