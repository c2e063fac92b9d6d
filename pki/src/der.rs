//! The few lines of DER that no crate here offers: turning PKCS#8 into the traditional PKCS#1 and SEC1 forms.

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const CONTEXT_0: u8 = 0xa0;
const CONTEXT_1: u8 = 0xa1;

/// Splits one element off: its tag, its content, and what follows.
pub fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 4 || rest.len() < count {
            return None;
        }
        let length = rest[..count].iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
        (length, &rest[count..])
    };
    (rest.len() >= length).then(|| (tag, &rest[..length], &rest[length..]))
}

fn expect(bytes: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    element(bytes).filter(|(tag, ..)| *tag == wanted).map(|(_, content, rest)| (content, rest))
}

fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let skip = bytes.iter().take_while(|b| **b == 0).count();
        out.push(0x80 | (bytes.len() - skip) as u8);
        out.extend_from_slice(&bytes[skip..]);
    }
    out.extend_from_slice(content);
    out
}

/// The key inside a PKCS#8 `PrivateKeyInfo` (RFC 5208): PKCS#1 for RSA, SEC1 for elliptic curves.
pub fn pkcs8_inner(pkcs8: &[u8]) -> Option<&[u8]> {
    let (info, _) = expect(pkcs8, SEQUENCE)?;
    let (_version, rest) = expect(info, INTEGER)?;
    let (_algorithm, rest) = expect(rest, SEQUENCE)?;
    let (key, _) = expect(rest, OCTET_STRING)?;
    Some(key)
}

/// An RFC 5915 `ECPrivateKey` with curve and public key, as Go's `x509.MarshalECPrivateKey` writes it.
/// `inner` is the one of PKCS#8, which may lack both; `curve` is the encoded OID; `public` the uncompressed point.
pub fn sec1(inner: &[u8], curve: &[u8], public: &[u8]) -> Option<Vec<u8>> {
    let (key, _) = expect(inner, SEQUENCE)?;
    let (_version, rest) = expect(key, INTEGER)?;
    let (scalar, _) = expect(rest, OCTET_STRING)?;
    let mut bits = vec![0];
    bits.extend_from_slice(public);
    let content = [
        wrap(INTEGER, &[1]),
        wrap(OCTET_STRING, scalar),
        wrap(CONTEXT_0, curve),
        wrap(CONTEXT_1, &wrap(BIT_STRING, &bits)),
    ]
    .concat();
    Some(wrap(SEQUENCE, &content))
}
