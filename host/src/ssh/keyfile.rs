//! Private keys in files: OpenSSH's own format, PKCS#1, PKCS#8 and SEC1.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use junio_api::Secret;
use nix::unistd::getuid;
use russh::keys::{
    Certificate, Error, PrivateKey, PublicKey, decode_secret_key, load_openssh_certificate, load_public_key, ssh_key,
};

use super::SshError;

/// A key file is a few kilobytes.
const LARGEST: u64 = 1 << 18;

/// A key file that was looked into.
pub(super) struct Found {
    pub path: PathBuf,
    text: Secret<String>,
    /// What stands in the file in the clear or in the `.pub` file beside it.
    pub public: Option<PublicKey>,
    pub encrypted: bool,
    /// What an authority says about the key, in the file `-cert.pub` beside it.
    pub certificate: Option<Certificate>,
}

/// Looks into a key file; `None` when there is none.
///
/// # Errors
/// [`SshError::KeyMode`] as OpenSSH: when it is ours and others may read it. [`SshError::Key`] when it is no private key.
pub(super) fn look(path: &Path) -> Result<Option<Found>, SshError> {
    let fail = |reason: String| SshError::Key { key: path.to_owned(), reason };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error.to_string())),
    };
    let stat = file.metadata().map_err(|error| fail(error.to_string()))?;
    if stat.uid() == getuid().as_raw() && stat.mode() & 0o077 != 0 {
        return Err(SshError::KeyMode { key: path.to_owned(), mode: stat.mode() & 0o7777 });
    }
    if !stat.is_file() || stat.len() > LARGEST {
        return Err(fail("it is no key file".to_owned()));
    }
    // exactly as long as needed, so that no copy is left behind by growing
    let mut text = String::with_capacity(usize::try_from(stat.len()).unwrap_or_default() + 1);
    (&mut file).take(LARGEST).read_to_string(&mut text).map_err(|error| fail(error.to_string()))?;
    let text = Secret::new(text);
    let (public, encrypted) = match decode_secret_key(text.expose(), None) {
        Ok(key) => (Some(key.public_key().clone()), false),
        Err(error)
            if wants_passphrase(&error)
                || PrivateKey::from_openssh(text.expose()).is_ok_and(|key| key.is_encrypted()) =>
        {
            let inside = PrivateKey::from_openssh(text.expose()).ok().map(|key| key.public_key().clone());
            (inside.or_else(|| load_public_key(beside(path, ".pub")).ok()), true)
        }
        Err(error) => return Err(fail(format!("it is no private key that is understood ({error})"))),
    };
    let certificate = load_openssh_certificate(beside(path, "-cert.pub")).ok();
    Ok(Some(Found { path: path.to_owned(), text, public, encrypted, certificate }))
}

impl Found {
    /// The key itself; `Ok(None)` when the passphrase is wrong.
    pub fn open(&self, passphrase: Option<&Secret<String>>) -> Result<Option<PrivateKey>, SshError> {
        match decode_secret_key(self.text.expose(), passphrase.map(|secret| secret.expose().as_str())) {
            Ok(key) => Ok(Some(key)),
            Err(_) if self.encrypted => Ok(None),
            Err(error) => Err(SshError::Key { key: self.path.clone(), reason: error.to_string() }),
        }
    }
}

fn wants_passphrase(error: &Error) -> bool {
    matches!(error, Error::KeyIsEncrypted | Error::SshKey(ssh_key::Error::Encrypted))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
