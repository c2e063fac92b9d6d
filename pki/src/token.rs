//! What makes the ConfigMap `cluster-info` trustworthy to a joining host: a signature by a bootstrap token, and pins of
//! the CA's public key.
//!
//! The signature is a detached compact JWS with HS256 (RFC 7515 appendix F) whose header is exactly the text below;
//! signatures are compared as texts, as Kubernetes' bootstrap signer does.

use aws_lc_rs::constant_time;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use junio_api::Secret;
use sha2::Sha256;

use crate::error::PkiError;
use crate::parsed::ParsedCertificate;

/// Signs `content` (the text of the key `kubeconfig`) with a token; the value of `jws-kubeconfig-TOKENID`.
#[must_use]
pub fn sign(token_id: &str, token_secret: &Secret<String>, content: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","kid":"{token_id}"}}"#));
    let payload = URL_SAFE_NO_PAD.encode(content);
    let mut mac =
        Hmac::<Sha256>::new_from_slice(token_secret.expose().as_bytes()).expect("HMAC takes keys of any length");
    mac.update(header.as_bytes());
    mac.update(b".");
    mac.update(payload.as_bytes());
    format!("{header}..{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

/// True when `signature` is what [`sign`] makes of the same inputs.
#[must_use]
pub fn verify(token_id: &str, token_secret: &Secret<String>, content: &str, signature: &str) -> bool {
    let expected = sign(token_id, token_secret, content);
    constant_time::verify_slices_are_equal(expected.as_bytes(), signature.as_bytes()).is_ok()
}

/// `sha256:HEX` over the public key of a CA certificate (the first of a PEM text).
pub fn ca_pin(ca_pem: &str) -> Result<String, PkiError> {
    Ok(ParsedCertificate::from_pem(ca_pem, "the CA certificate")?.pin())
}

/// True when one of `pins` (`sha256:HEX`, any case) is that of a certificate in `ca_pem`.
pub fn matches_any_pin(ca_pem: &str, pins: &[String]) -> Result<bool, PkiError> {
    let blocks = pem::parse_many(ca_pem).unwrap_or_default();
    for block in blocks.into_iter().filter(|b| b.tag() == "CERTIFICATE") {
        let pin = ParsedCertificate::from_der(block.contents().to_vec(), "the CA certificate")?.pin();
        if pins.iter().any(|wanted| wanted.eq_ignore_ascii_case(&pin)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// True for a well-formed pin, `sha256:` and 64 hex digits.
#[must_use]
pub fn is_pin(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|digits| digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_text_token_or_signature_does_not_verify() {
        let secret = Secret::new("0123456789abcdef".to_owned());
        let signature = sign("abcdef", &secret, "text");
        assert!(verify("abcdef", &secret, "text", &signature));
        assert!(!verify("abcdef", &secret, "text ", &signature));
        assert!(!verify("abcdeg", &secret, "text", &signature));
        assert!(!verify("abcdef", &Secret::new("0123456789abcdee".to_owned()), "text", &signature));
        assert!(!verify("abcdef", &secret, "text", &format!("{signature}A")));
    }

    #[test]
    fn pins_have_one_form() {
        assert!(is_pin(&format!("sha256:{}", "a0".repeat(32))));
        for text in ["", "sha256:", "sha512:00", &"a0".repeat(32), &format!("sha256:{}", "g0".repeat(32))] {
            assert!(!is_pin(text), "{text:?}");
        }
    }
}
