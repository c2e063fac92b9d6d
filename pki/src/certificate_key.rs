//! The key that encrypts control-plane certificates in the Secret `kubeadm-certs`: 32 bytes, shown as 64 hex digits.
//!
//! Each value is `nonce (12 bytes) || AES-256-GCM ciphertext || tag`, without associated data (kubeadm `util/crypto`).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use junio_api::Secret;

const KEY_LENGTH: usize = 32;

/// Why a key, or a value encrypted with it, cannot be used. Never says more than which.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum CertificateKeyError {
    #[error("a certificate key is 64 hex digits")]
    Malformed,
    #[error("the value was not encrypted with this certificate key")]
    Decrypt,
    #[error("the system's random source failed")]
    Random,
}

/// A certificate key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateKey(Secret<Vec<u8>>);

impl CertificateKey {
    /// A new random key.
    pub fn generate() -> Result<Self, CertificateKeyError> {
        let mut key = vec![0; KEY_LENGTH];
        SystemRandom::new().fill(&mut key).map_err(|_| CertificateKeyError::Random)?;
        Ok(Self(Secret::new(key)))
    }

    /// Reads 64 hex digits.
    pub fn parse(text: &str) -> Result<Self, CertificateKeyError> {
        let key = hex::decode(text).map_err(|_| CertificateKeyError::Malformed)?;
        if key.len() == KEY_LENGTH { Ok(Self(Secret::new(key))) } else { Err(CertificateKeyError::Malformed) }
    }

    /// 64 hex digits.
    #[must_use]
    pub fn to_hex(&self) -> Secret<String> {
        Secret::new(hex::encode(self.0.expose()))
    }

    /// Encrypts one file's content.
    pub fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, CertificateKeyError> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| CertificateKeyError::Random)?;
        let mut text = plain.to_vec();
        self.cipher()?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut text)
            .map_err(|_| CertificateKeyError::Random)?;
        Ok([nonce.as_slice(), &text].concat())
    }

    /// Decrypts what [`Self::seal`], or kubeadm, made.
    pub fn open(&self, sealed: &[u8]) -> Result<Secret<Vec<u8>>, CertificateKeyError> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(CertificateKeyError::Decrypt)?;
        let mut text = text.to_vec();
        let plain = self
            .cipher()?
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::empty(), &mut text)
            .map_err(|_| CertificateKeyError::Decrypt)?
            .len();
        text.truncate(plain);
        Ok(Secret::new(text))
    }

    fn cipher(&self) -> Result<LessSafeKey, CertificateKeyError> {
        UnboundKey::new(&AES_256_GCM, self.0.expose()).map(LessSafeKey::new).map_err(|_| CertificateKeyError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_round_trip_and_tampering_shows() {
        let key = CertificateKey::generate().expect("a key");
        let again = CertificateKey::parse(key.to_hex().expose()).expect("parses");
        let mut sealed = key.seal(b"content").expect("seals");
        assert_eq!(again.open(&sealed).expect("opens").expose(), b"content");
        assert_eq!(key.open(&key.seal(b"").expect("seals")).expect("opens").expose(), b"");
        sealed[NONCE_LEN] ^= 1;
        assert_eq!(key.open(&sealed), Err(CertificateKeyError::Decrypt));
        assert_eq!(key.open(b"short"), Err(CertificateKeyError::Decrypt));
        assert_eq!(CertificateKey::parse("00"), Err(CertificateKeyError::Malformed));
    }

    /// Made by `EncryptBytes` of kubeadm v1.36.3 (`app/util/crypto`) with the key 00 01 02 ... 1f.
    #[test]
    fn what_kubeadm_sealed_opens() {
        let key: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
        let sealed = "93bffb202b24c0c013701a0d8583a925cf7dbf495e27b263ee78bfdfa81d26de7938051c56754b56f71af6fd9cbc8347";
        let sealed = hex::decode(sealed).expect("hex");
        let opened = CertificateKey::parse(&key).expect("a key").open(&sealed).expect("opens");
        assert_eq!(opened.expose(), b"what kubeadm sealed\n");
    }
}
