//! Query strings: parameters may repeat, and a flag counts only as exactly `1`.

/// The decoded parameters of a request, in order.
pub struct Query(Vec<(String, String)>);

impl Query {
    #[must_use]
    pub fn parse(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| (decode(k), decode(v))).collect(),
        )
    }

    /// The first value of `name`; an empty one counts as absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next().filter(|value| !value.is_empty())
    }

    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// True only for `name=1`.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.get(name) == Some("1")
    }

    /// A boolean as Go parses it; absent is false, anything else an error.
    pub fn boolean(&self, name: &str) -> Result<bool, String> {
        match self.get(name) {
            None | Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some(other) => Err(format!("parameter {name}={other} is no boolean")),
        }
    }

    /// A number, if present.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, String> {
        self.get(name)
            .map(|text| text.parse().map_err(|_| format!("parameter {name}={text} is no valid number")))
            .transpose()
    }
}

/// Percent-decoding of a query component, `+` is a space; what is not UTF-8 becomes U+FFFD.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => match tail.split_at_checked(2).and_then(|(hex, after)| Some((hex::decode(hex).ok()?[0], after))) {
                Some((byte, after)) => {
                    bytes.push(byte);
                    rest = after;
                }
                None => bytes.push(b'%'),
            },
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_repeat_and_decode() {
        let query = Query::parse(Some("command=sh&command=-c&command=echo+%22a%26b%22&tty=true&stdin=1&x=%zz"));
        assert_eq!(query.all("command").collect::<Vec<_>>(), ["sh", "-c", "echo \"a&b\""]);
        assert!(!query.flag("tty"), "only 1 counts");
        assert!(query.flag("stdin"));
        assert_eq!(query.get("x"), Some("%zz"));
        assert_eq!(query.boolean("tty"), Ok(true));
        assert!(query.boolean("x").is_err());
    }
}
