//! Puts files of the bundle on the host: complete or not at all, and only where they differ.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::BundleError;
use crate::format::Bundle;
use crate::manifest::{BundledFile, Part};

/// A file of the bundle and the path it is wanted at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extraction {
    pub name: String,
    pub destination: PathBuf,
}

/// What happened to one destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extracted {
    /// It was absent or different and is there now.
    Written,
    /// It had the right content and mode already.
    Unchanged,
}

impl Bundle {
    /// Extracts one file by rename, with the mode that the bundle gives it. Parents are made. Blocks: some 300 ms for
    /// the largest file (kubectl), less than 100 ms where it is there already.
    ///
    /// # Errors
    /// When the bundle has no such file, it is damaged, or the destination cannot be written.
    pub fn extract(&self, name: &str, destination: &Path) -> Result<Extracted, BundleError> {
        let wanted = [Extraction { name: name.to_owned(), destination: destination.to_owned() }];
        Ok(self.extract_all(&wanted)?[0])
    }

    /// Those of `wanted` that [`Bundle::extract_all`] would write. Blocks: it reads what is there.
    ///
    /// # Errors
    /// When the bundle has no such file.
    pub fn differing(&self, wanted: &[Extraction]) -> Result<Vec<Extraction>, BundleError> {
        let mut differing = Vec::new();
        for extraction in wanted {
            let no_file = || BundleError::NoFile { name: extraction.name.clone() };
            let file = self.manifest().file(&extraction.name).ok_or_else(no_file)?;
            if !is_there(file, &extraction.destination) {
                differing.push(extraction.clone());
            }
        }
        Ok(differing)
    }

    /// Extracts several files, decompressing each part once. Outcomes are in the order of `wanted`.
    ///
    /// # Errors
    /// As [`Bundle::extract`]; files before the failing one may have been written.
    pub fn extract_all(&self, wanted: &[Extraction]) -> Result<Vec<Extracted>, BundleError> {
        let mut outcomes = vec![Extracted::Unchanged; wanted.len()];
        let mut by_part: BTreeMap<&str, Vec<(usize, &BundledFile)>> = BTreeMap::new();
        for (index, extraction) in wanted.iter().enumerate() {
            let no_file = || BundleError::NoFile { name: extraction.name.clone() };
            let file = self.manifest().file(&extraction.name).ok_or_else(no_file)?;
            if !is_there(file, &extraction.destination) {
                by_part.entry(file.part.as_str()).or_default().push((index, file));
            }
        }
        for (part, mut files) in by_part {
            let part = self.manifest().part(part).ok_or_else(|| BundleError::NoFile { name: part.to_owned() })?;
            files.sort_by_key(|(_, file)| file.offset);
            self.extract_from(part, &files, wanted)?;
            for (index, _) in files {
                outcomes[index] = Extracted::Written;
            }
        }
        Ok(outcomes)
    }

    /// Reads a small file of the bundle into memory, for example the SBOM. Blocks.
    ///
    /// # Errors
    /// As [`Bundle::extract`].
    pub fn read(&self, name: &str) -> Result<Vec<u8>, BundleError> {
        let file = self.manifest().file(name).ok_or_else(|| BundleError::NoFile { name: name.to_owned() })?;
        let part = self.manifest().part(&file.part).ok_or_else(|| BundleError::NoFile { name: name.to_owned() })?;
        let mut reader = self.reader(part)?;
        let mut content = Vec::new();
        let read = |reader: &mut dyn Read, content: &mut Vec<u8>| -> io::Result<u64> {
            io::copy(&mut reader.take(file.offset), &mut io::sink())?;
            io::copy(&mut reader.take(file.size), content)
        };
        read(&mut reader, &mut content).map_err(BundleError::io("decompress", self.path()))?;
        self.same(name, &file.sha256, &content)?;
        Ok(content)
    }

    /// `files` are in the order of their offsets. Two names of the same content are written one after the other.
    fn extract_from(
        &self,
        part: &Part,
        files: &[(usize, &BundledFile)],
        wanted: &[Extraction],
    ) -> Result<(), BundleError> {
        let mut reader = self.reader(part)?;
        let mut position = 0;
        for (nth, (index, file)) in files.iter().enumerate() {
            let destination = &wanted[*index].destination;
            if let Some((twin, _)) =
                files[..nth].iter().find(|(_, other)| other.offset == file.offset && other.size == file.size)
            {
                copy_file(&wanted[*twin].destination, destination, file.mode)?;
                continue;
            }
            let skip = file.offset.checked_sub(position).ok_or_else(|| BundleError::Inconsistent {
                path: self.path().to_owned(),
                reason: format!("{} overlaps the file before it", file.name),
            })?;
            io::copy(&mut reader.by_ref().take(skip), &mut io::sink())
                .map_err(BundleError::io("decompress", self.path()))?;
            let mut content = reader.by_ref().take(file.size);
            let found = write_file(&mut content, destination, file.mode, Some(&file.sha256))?;
            if found != file.sha256 {
                let (path, expected) = (self.path().to_owned(), file.sha256.clone());
                return Err(BundleError::Corrupt { path, part: file.name.clone(), expected, found });
            }
            position = file.offset + file.size;
        }
        Ok(())
    }
}

/// True when the destination is a regular file with the content and the mode that the bundle has.
fn is_there(file: &BundledFile, destination: &Path) -> bool {
    let Ok(metadata) = fs::symlink_metadata(destination) else {
        return false;
    };
    if !metadata.is_file() || metadata.len() != file.size || metadata.permissions().mode() & 0o7777 != file.mode {
        return false;
    }
    let hash = || -> io::Result<String> {
        let mut hasher = Hashing { hash: Sha256::new(), to: io::sink() };
        io::copy(&mut File::open(destination)?, &mut hasher)?;
        Ok(hex::encode(hasher.hash.finalize()))
    };
    hash().is_ok_and(|found| found == file.sha256)
}

fn copy_file(source: &Path, destination: &Path, mode: u32) -> Result<(), BundleError> {
    let mut content = File::open(source).map_err(BundleError::io("read", source))?;
    write_file(&mut content, destination, mode, None).map(|_| ())
}

/// Writes by rename and returns the sha256; with `expected`, content that differs is not put in place.
fn write_file(
    content: &mut dyn Read,
    destination: &Path,
    mode: u32,
    expected: Option<&str>,
) -> Result<String, BundleError> {
    let name = destination.file_name().unwrap_or_default().to_string_lossy();
    let temporary = destination.with_file_name(format!(".{name}.junioadm"));
    let mut write = || -> io::Result<String> {
        if let Some(parent) = destination.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut hashing = Hashing { hash: Sha256::new(), to: File::create(&temporary)? };
        io::copy(content, &mut hashing)?;
        hashing.to.set_permissions(Permissions::from_mode(mode))?;
        let found = hex::encode(hashing.hash.finalize());
        if expected.is_none_or(|expected| expected == found) {
            fs::rename(&temporary, destination)?;
        }
        Ok(found)
    };
    let result = write().map_err(BundleError::io("write", destination));
    if !matches!(&result, Ok(found) if expected.is_none_or(|expected| expected == found)) {
        // The error that is returned matters more than one about the temporary file.
        let _ = fs::remove_file(&temporary);
    }
    result
}

struct Hashing<W> {
    hash: Sha256,
    to: W,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
