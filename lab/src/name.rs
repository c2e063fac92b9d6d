//! A lab's name. Host names, container names and labels are made of it, so it must be fit for a host name.

use std::fmt;
use std::str::FromStr;

use crate::LabError;

/// A valid lab name: 1 to 32 characters of `a-z`, `0-9` and `-`, a letter first, no `-` last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabName(String);

impl LabName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the lab's host `number`, counted from 1: `NAME-1`.
    #[must_use]
    pub fn host(&self, number: usize) -> String {
        format!("{}-{number}", self.0)
    }
}

impl FromStr for LabName {
    type Err = LabError;

    fn from_str(name: &str) -> Result<Self, LabError> {
        let letters = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        if letters && first && name.len() <= 32 && !name.ends_with('-') {
            Ok(Self(name.to_owned()))
        } else {
            Err(LabError::Name { name: name.to_owned() })
        }
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_for_hosts_are_taken_and_others_refused() {
        for good in ["demo", "a", "t-12-machine", &"a".repeat(32)] {
            assert_eq!(good.parse::<LabName>().expect(good).as_str(), good);
        }
        for bad in ["", "Demo", "1a", "-a", "a-", "a_b", "a.b", "a b", "../a", &"a".repeat(33)] {
            assert!(bad.parse::<LabName>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn hosts_are_counted_from_one() {
        assert_eq!("demo".parse::<LabName>().expect("a name").host(2), "demo-2");
    }
}
