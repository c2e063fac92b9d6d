//! `~`, `${VARIABLE}` and `%` tokens in values of ssh_config.

use std::path::PathBuf;

/// What the tokens stand for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::ssh) struct Tokens {
    /// `%d`, and `~`.
    pub home: PathBuf,
    /// `%h`: the name that is connected to.
    pub host: String,
    /// `%n`: the name as it was typed.
    pub original: String,
    /// `%k`: the host key alias, else the name as it was typed.
    pub alias: String,
    /// `%p`.
    pub port: u16,
    /// `%r`: the user there.
    pub remote_user: String,
    /// `%u`: the user here.
    pub local_user: String,
    /// `%i`.
    pub uid: u32,
    /// `%l`: the name of this machine; `%L` is its first part.
    pub local_host: String,
}

impl Tokens {
    /// A path with everything replaced.
    ///
    /// # Errors
    /// A token that is not known, a variable that is not set, another user's home.
    pub fn path(&self, text: &str) -> Result<PathBuf, String> {
        let text = self.text(&variables(text)?)?;
        match text.strip_prefix('~') {
            None => Ok(PathBuf::from(text)),
            Some("") => Ok(self.home.clone()),
            Some(rest) => match rest.strip_prefix('/') {
                Some(rest) => Ok(self.home.join(rest.trim_start_matches('/'))),
                None => Err(format!("{text}: the home of another user is not looked up")),
            },
        }
    }

    /// A text with its `%` tokens replaced.
    ///
    /// # Errors
    /// A token that is not known.
    pub fn text(&self, text: &str) -> Result<String, String> {
        let mut found = String::with_capacity(text.len());
        let mut characters = text.chars();
        while let Some(c) = characters.next() {
            if c != '%' {
                found.push(c);
                continue;
            }
            match characters.next() {
                Some('%') => found.push('%'),
                Some('d') => found.push_str(&self.home.to_string_lossy()),
                Some('h') => found.push_str(&self.host),
                Some('n') => found.push_str(&self.original),
                Some('k') => found.push_str(&self.alias),
                Some('p') => found.push_str(&self.port.to_string()),
                Some('r') => found.push_str(&self.remote_user),
                Some('u') => found.push_str(&self.local_user),
                Some('i') => found.push_str(&self.uid.to_string()),
                Some('l') => found.push_str(&self.local_host),
                Some('L') => found.push_str(self.local_host.split('.').next().unwrap_or_default()),
                Some(token) => return Err(format!("{text}: the token %{token} is not supported")),
                None => return Err(format!("{text}: a lone % at the end")),
            }
        }
        Ok(found)
    }
}

/// Replaces `${NAME}` by the environment variable.
fn variables(text: &str) -> Result<String, String> {
    let mut found = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').ok_or_else(|| format!("{text}: ${{ is not closed"))?;
        found.push_str(before);
        // `var` refuses names that the operating system would not take
        let valid = !name.is_empty() && !name.contains(['=', '\0']);
        let value = valid.then(|| std::env::var(name).ok()).flatten();
        found.push_str(&value.ok_or_else(|| format!("{text}: the environment has no {name}"))?);
        rest = after;
    }
    found.push_str(rest);
    Ok(found)
}
