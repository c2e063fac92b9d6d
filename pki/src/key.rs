//! Private keys: generation, and the PEM forms that kubeadm writes and reads.

use std::fmt;
use std::str::FromStr;

use junio_api::Secret;
use pem::{EncodeConfig, LineEnding, Pem};
use rcgen::{KeyPair, PublicKeyData, RsaKeySize};
use zeroize::Zeroize;

use crate::der;
use crate::error::{KeyFormatError, PkiError};

/// Encoded OIDs of the two curves (RFC 5480).
const OID_P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const OID_P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];

/// Key algorithms, under the names of kubeadm's `encryptionAlgorithm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyAlgorithm {
    #[default]
    Rsa2048,
    Rsa3072,
    Rsa4096,
    EcdsaP256,
    EcdsaP384,
}

impl KeyAlgorithm {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Rsa2048, Self::Rsa3072, Self::Rsa4096, Self::EcdsaP256, Self::EcdsaP384];

    /// For example `RSA-2048`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rsa2048 => "RSA-2048",
            Self::Rsa3072 => "RSA-3072",
            Self::Rsa4096 => "RSA-4096",
            Self::EcdsaP256 => "ECDSA-P256",
            Self::EcdsaP384 => "ECDSA-P384",
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no key algorithm.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown key algorithm {0:?}, expected RSA-2048, RSA-3072, RSA-4096, ECDSA-P256 or ECDSA-P384")]
pub struct UnknownAlgorithm(String);

impl FromStr for KeyAlgorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|a| a.name() == name).ok_or_else(|| UnknownAlgorithm(name.to_owned()))
    }
}

/// A private key with its traditional PEM text. It shows neither in `Debug`.
pub struct PrivateKey {
    pair: KeyPair,
    pem: Secret<String>,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey([REDACTED])")
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        self.pair.zeroize();
    }
}

impl PrivateKey {
    /// A new key. RSA takes 0.05 s to some seconds of one core.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, PkiError> {
        let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size);
        let pair = match algorithm {
            KeyAlgorithm::Rsa2048 => rsa(RsaKeySize::_2048),
            KeyAlgorithm::Rsa3072 => rsa(RsaKeySize::_3072),
            KeyAlgorithm::Rsa4096 => rsa(RsaKeySize::_4096),
            KeyAlgorithm::EcdsaP256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            KeyAlgorithm::EcdsaP384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        }
        .map_err(|source| PkiError::GenerateKey { algorithm: algorithm.name(), source })?;
        let what = || format!("a generated {algorithm} key");
        let pem = traditional_pem(&pair, algorithm)
            .ok_or_else(|| PkiError::ParseKey { what: what(), source: KeyFormatError::Der })?;
        Ok(Self { pair, pem })
    }

    /// Reads PKCS#1, SEC1 or PKCS#8; blocks of other kinds (`EC PARAMETERS`, certificates) are skipped. `what` names the
    /// source in errors.
    pub fn from_pem(text: &str, what: &str) -> Result<Self, PkiError> {
        let fail = |source| PkiError::ParseKey { what: what.to_owned(), source };
        let blocks = pem::parse_many(text).map_err(|_| fail(KeyFormatError::NoBlock))?;
        let block =
            blocks.iter().find(|b| b.tag().ends_with("PRIVATE KEY")).ok_or_else(|| fail(KeyFormatError::NoBlock))?;
        let pair = KeyPair::try_from(block.contents()).map_err(|e| fail(KeyFormatError::Unsupported(e.to_string())))?;
        Ok(Self { pem: Secret::new(encode(block)), pair })
    }

    /// The private key as PEM.
    #[must_use]
    pub fn pem(&self) -> &Secret<String> {
        &self.pem
    }

    /// The public key as PKIX PEM (`PUBLIC KEY`).
    #[must_use]
    pub fn public_pem(&self) -> String {
        encode(&Pem::new("PUBLIC KEY", self.pair.subject_public_key_info()))
    }

    /// The public key as DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn public_spki(&self) -> Vec<u8> {
        self.pair.subject_public_key_info()
    }

    pub(crate) fn pair(&self) -> &KeyPair {
        &self.pair
    }
}

/// PEM as Go writes it: lines of 64 characters that end in LF.
pub(crate) fn encode(block: &Pem) -> String {
    pem::encode_config(block, EncodeConfig::new().set_line_ending(LineEnding::LF))
}

fn traditional_pem(pair: &KeyPair, algorithm: KeyAlgorithm) -> Option<Secret<String>> {
    let inner = der::pkcs8_inner(pair.serialized_der())?;
    let elliptic = |curve| Some(Pem::new("EC PRIVATE KEY", der::sec1(inner, curve, pair.public_key_raw())?));
    let block = match algorithm {
        KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => Pem::new("RSA PRIVATE KEY", inner),
        KeyAlgorithm::EcdsaP256 => elliptic(OID_P256)?,
        KeyAlgorithm::EcdsaP384 => elliptic(OID_P384)?,
    };
    Some(Secret::new(encode(&block)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_round_trips_through_its_traditional_pem() {
        for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP384] {
            let key = PrivateKey::generate(algorithm).expect("generates");
            let header = if algorithm == KeyAlgorithm::Rsa2048 { "RSA" } else { "EC" };
            let text = key.pem().expose();
            assert!(text.starts_with(&format!("-----BEGIN {header} PRIVATE KEY-----\n")), "{algorithm}");
            let again = PrivateKey::from_pem(text, "test").expect("parses");
            assert_eq!(again.public_spki(), key.public_spki(), "{algorithm}");
            assert_eq!(again.pem().expose(), text);
            assert!(!format!("{key:?}").contains("BEGIN"));
        }
    }

    #[test]
    fn parameters_before_the_key_are_skipped_and_garbage_is_refused() {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("generates");
        let text = format!("{}{}", encode(&Pem::new("EC PARAMETERS", OID_P256)), key.pem().expose());
        assert_eq!(PrivateKey::from_pem(&text, "test").expect("parses").public_spki(), key.public_spki());
        for text in ["", "nonsense", &encode(&Pem::new("RSA PRIVATE KEY", b"\x30\x00".as_slice()))] {
            assert!(PrivateKey::from_pem(text, "test").is_err(), "{text:?}");
        }
    }

    #[test]
    fn algorithm_names_round_trip() {
        for algorithm in KeyAlgorithm::ALL {
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
        }
        assert!("RSA-1024".parse::<KeyAlgorithm>().is_err());
    }
}
