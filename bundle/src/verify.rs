//! Checks a whole bundle: every stored byte, every part's content and every file in it.

use std::io;

use sha2::{Digest, Sha256};

use crate::error::BundleError;
use crate::format::Bundle;
use crate::manifest::Part;

impl Bundle {
    /// Verifies the stored bytes of all parts, without decompressing: some 50 ms for a bundle of 80 MB. Blocks. Parts that a
    /// partial bundle does not hold are left out: this host had what they are for.
    ///
    /// # Errors
    /// The first part that differs, or bytes behind the last part.
    pub fn verify_stored(&self) -> Result<(), BundleError> {
        for part in &self.manifest().parts {
            match self.stored(part) {
                Ok(_) | Err(BundleError::Absent { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Verifies everything, decompressing all parts and comparing contents and files too. Takes a second or two.
    ///
    /// # Errors
    /// The first part or file that differs.
    pub fn verify(&self) -> Result<(), BundleError> {
        for part in &self.manifest().parts {
            let content = self.content(part)?;
            self.same(&part.name, &part.sha256, &content)?;
            for file in self.manifest().files.iter().filter(|file| file.part == part.sha256) {
                let range =
                    usize::try_from(file.offset).and_then(|offset| Ok(offset..offset + usize::try_from(file.size)?));
                let bytes = range.ok().and_then(|range| content.get(range));
                let bytes = bytes
                    .ok_or_else(|| BundleError::Truncated { path: self.path().to_owned(), part: file.name.clone() })?;
                self.same(&file.name, &file.sha256, bytes)?;
            }
        }
        Ok(())
    }

    pub(crate) fn content(&self, part: &Part) -> Result<Vec<u8>, BundleError> {
        let mut content = Vec::with_capacity(usize::try_from(part.size).unwrap_or_default());
        io::copy(&mut self.reader(part)?, &mut content).map_err(BundleError::io("decompress", self.path()))?;
        Ok(content)
    }

    pub(crate) fn same(&self, part: &str, expected: &str, bytes: &[u8]) -> Result<(), BundleError> {
        let found = hex::encode(Sha256::digest(bytes));
        if found == expected {
            return Ok(());
        }
        let path = self.path().to_owned();
        Err(BundleError::Corrupt { path, part: part.to_owned(), expected: expected.to_owned(), found })
    }
}
