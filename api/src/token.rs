//! Bootstrap tokens, `ID.SECRET`. Source: Kubernetes bootstrap token format, `[a-z0-9]{6}.[a-z0-9]{16}`.

use std::fmt;
use std::str::FromStr;

use rand::RngExt;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Secret;

const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const ID_LENGTH: usize = 6;
const SECRET_LENGTH: usize = 16;

/// A bootstrap token. `Debug` shows the public id only; `Display` and serde show all of it, so never log it with `{}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    id: String,
    secret: Secret<String>,
}

/// A text that is no bootstrap token. It does not repeat the text, which may be a mistyped secret.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("a bootstrap token has the form abcdef.0123456789abcdef: 6 and 16 characters of a-z and 0-9")]
pub struct InvalidToken;

impl Token {
    /// A new random token from the operating system's random source.
    #[must_use]
    pub fn generate() -> Self {
        Self { id: random_text(ID_LENGTH), secret: Secret::new(random_text(SECRET_LENGTH)) }
    }

    /// The public half; it names the Secret `bootstrap-token-ID`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The half that authenticates.
    #[must_use]
    pub fn secret(&self) -> &Secret<String> {
        &self.secret
    }
}

fn random_text(length: usize) -> String {
    let mut rng = rand::rng();
    (0..length).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
}

fn is_part(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| ALPHABET.contains(&b))
}

/// True for the six characters of a token's public half.
#[must_use]
pub fn is_token_id(text: &str) -> bool {
    is_part(text, ID_LENGTH)
}

impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('.') {
            Some((id, secret)) if is_part(id, ID_LENGTH) && is_part(secret, SECRET_LENGTH) => {
                Ok(Self { id: id.to_owned(), secret: Secret::new(secret.to_owned()) })
            }
            _ => Err(InvalidToken),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.[REDACTED]", self.id)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.id, self.secret.expose())
    }
}

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_tokens_parse_and_hide_their_secret() {
        let token = Token::generate();
        assert_eq!(token.to_string().parse::<Token>().expect("our own token"), token);
        assert!(!format!("{token:?}").contains(token.secret().expose().as_str()));
    }

    #[test]
    fn malformed_tokens_are_refused() {
        for text in [
            "",
            "abcdef",
            "abcdef.0123456789abcde",
            "ABCDEF.0123456789abcdef",
            "abcdef.0123456789abcdef ",
            "abcde.0123456789abcdef0",
        ] {
            assert!(text.parse::<Token>().is_err(), "{text:?}");
        }
    }
}
