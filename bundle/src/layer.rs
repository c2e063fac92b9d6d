//! Builds the tar of an image layer, byte for byte the same from the same input.
//!
//! Owner and group are root, times are zero, entries are in the order they are added; parents are added by themselves.

use std::collections::BTreeSet;

use tar::{EntryType, Header};

/// Where a file's content lies in the layer's tar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub offset: u64,
    pub size: u64,
}

/// An uncompressed layer in the making. Paths are relative to the image's root, for example `usr/local/bin/etcd`.
#[derive(Debug, Default)]
pub struct LayerBuilder {
    bytes: Vec<u8>,
    known: BTreeSet<String>,
}

impl LayerBuilder {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory; one that is there already is left alone.
    ///
    /// # Errors
    /// When the path does not fit into a tar header.
    pub fn directory(&mut self, path: &str, mode: u32) -> std::io::Result<()> {
        self.parents(path)?;
        if self.known.insert(path.to_owned()) {
            self.entry(&format!("{path}/"), EntryType::Directory, mode, None, &[])?;
        }
        Ok(())
    }

    /// Adds a file and says where its content lies.
    ///
    /// # Errors
    /// When the path does not fit into a tar header, or is taken.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> std::io::Result<Range> {
        self.claim(path)?;
        self.entry(path, EntryType::Regular, mode, None, content)
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// When a path does not fit into a tar header, or is taken.
    pub fn link(&mut self, path: &str, target: &str) -> std::io::Result<()> {
        self.claim(path)?;
        self.entry(path, EntryType::Symlink, 0o777, Some(target), &[]).map(|_| ())
    }

    /// True when something was added under this path.
    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        self.known.contains(path)
    }

    /// The finished tar.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 1024]);
        self.bytes
    }

    fn claim(&mut self, path: &str) -> std::io::Result<()> {
        self.parents(path)?;
        if self.known.insert(path.to_owned()) {
            Ok(())
        } else {
            Err(std::io::Error::other(format!("{path} is in the layer twice")))
        }
    }

    fn parents(&mut self, path: &str) -> std::io::Result<()> {
        match path.rsplit_once('/') {
            Some((parent, _)) if !self.known.contains(parent) => self.directory(parent, 0o755),
            _ => Ok(()),
        }
    }

    fn entry(
        &mut self,
        path: &str,
        kind: EntryType,
        mode: u32,
        target: Option<&str>,
        content: &[u8],
    ) -> std::io::Result<Range> {
        let mut header = plain_header(path, content.len() as u64, mode)?;
        header.set_entry_type(kind);
        if let Some(target) = target {
            header.set_link_name(target)?;
        }
        header.set_cksum();
        self.bytes.extend_from_slice(header.as_bytes());
        let offset = self.bytes.len() as u64;
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        Ok(Range { offset, size: content.len() as u64 })
    }
}

/// A header for a regular file of root, without times, checksum set.
pub(crate) fn plain_header(path: &str, size: u64, mode: u32) -> std::io::Result<Header> {
    let mut header = Header::new_ustar();
    header.set_path(path)?;
    header.set_size(size);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(EntryType::Regular);
    header.set_cksum();
    Ok(header)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn sample() -> (Vec<u8>, Range) {
        let mut layer = LayerBuilder::new();
        layer.directory("tmp", 0o1777).expect("directory");
        let range = layer.file("usr/local/bin/tool", 0o755, b"content").expect("file");
        layer.link("usr/local/bin/alias", "tool").expect("link");
        (layer.finish(), range)
    }

    #[test]
    fn a_tar_reader_finds_what_was_added_and_the_parents() {
        let (bytes, range) = sample();
        assert_eq!(&bytes[usize::try_from(range.offset).expect("offset")..][..7], b"content");
        let mut seen = Vec::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().expect("entries") {
            let mut entry = entry.expect("entry");
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("content");
            let header = entry.header();
            assert_eq!(
                (header.uid().expect("uid"), header.gid().expect("gid"), header.mtime().expect("mtime")),
                (0, 0, 0)
            );
            seen.push((entry.path().expect("path").display().to_string(), header.mode().expect("mode"), text));
        }
        let row = |path: &str, mode, text: &str| (path.to_owned(), mode, text.to_owned());
        assert_eq!(
            seen,
            [
                row("tmp/", 0o1777, ""),
                row("usr/", 0o755, ""),
                row("usr/local/", 0o755, ""),
                row("usr/local/bin/", 0o755, ""),
                row("usr/local/bin/tool", 0o755, "content"),
                row("usr/local/bin/alias", 0o777, ""),
            ]
        );
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        assert_eq!(sample().0, sample().0);
    }

    #[test]
    fn a_path_cannot_be_added_twice() {
        let mut layer = LayerBuilder::new();
        layer.file("etc/passwd", 0o644, b"a").expect("first");
        layer.file("etc/passwd", 0o644, b"b").expect_err("second");
    }
}
