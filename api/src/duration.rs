//! Go's duration strings (`1m0s`, `8760h0m0s`), as `metav1.Duration` reads and writes them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration in Go's notation; `0s` often means "default" to the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct GoDuration(pub Duration);

/// A text that is no Go duration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid duration {0:?}, expected for example 30s, 4m0s or 8760h")]
pub struct InvalidDuration(String);

impl GoDuration {
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }
}

impl FromStr for GoDuration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidDuration(text.to_owned());
        if text == "0" {
            return Ok(Self::default());
        }
        if text.is_empty() {
            return Err(invalid());
        }
        let mut rest = text;
        let mut total = 0f64;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(invalid)?;
            let value: f64 = rest[..digits].parse().map_err(|_| invalid())?;
            rest = &rest[digits..];
            let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
            let nanos = match &rest[..unit] {
                "ns" => 1.0,
                "us" | "µs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return Err(invalid()),
            };
            total += value * nanos;
            rest = &rest[unit..];
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a sum of non-negative terms")]
        Ok(Self(Duration::from_nanos(total.round() as u64)))
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.as_secs();
        let (hours, minutes, seconds, nanos) = (secs / 3600, secs / 60 % 60, secs % 60, self.0.subsec_nanos());
        if secs == 0 && nanos > 0 {
            return match nanos {
                n if n % 1_000_000 == 0 => write!(f, "{}ms", n / 1_000_000),
                n if n % 1_000 == 0 => write!(f, "{}µs", n / 1_000),
                n => write!(f, "{n}ns"),
            };
        }
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        write!(f, "{seconds}")?;
        if nanos > 0 {
            let fraction = format!("{nanos:09}");
            write!(f, ".{}", fraction.trim_end_matches('0'))?;
        }
        f.write_str("s")
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_round_trip() {
        for text in ["0s", "30s", "1m0s", "4m0s", "8760h0m0s", "1h30m5s", "1.5s", "500ms", "87600h0m0s"] {
            assert_eq!(text.parse::<GoDuration>().expect("valid").to_string(), text);
        }
        assert_eq!("24h".parse::<GoDuration>().expect("valid").to_string(), "24h0m0s");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "5", "s", "1x", "1m-", "abc"] {
            assert!(text.parse::<GoDuration>().is_err(), "{text:?}");
        }
    }
}
