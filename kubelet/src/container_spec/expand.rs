//! `$(NAME)` in env values, commands, arguments and `subPathExpr`.

/// Replaces `$(NAME)` by what `lookup` gives. `$$` is one `$`; an unknown name stays as it is written.
pub fn expand<'a>(text: &str, lookup: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut missing = Vec::new();
    expand_collecting(text, lookup, &mut missing)
}

/// As [`expand`], and names that `lookup` does not know are added to `missing`.
pub fn expand_collecting<'a>(
    text: &str,
    lookup: impl Fn(&str) -> Option<&'a str>,
    missing: &mut Vec<String>,
) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(position) = rest.find('$') {
        result.push_str(&rest[..position]);
        let after = &rest[position + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            result.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            if let Some(value) = lookup(name) {
                result.push_str(value);
            } else {
                missing.push(name.to_owned());
                result.push_str("$(");
                result.push_str(name);
                result.push(')');
            }
            rest = tail;
        } else {
            result.push('$');
            rest = after;
        }
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_rules_of_the_api() {
        let lookup = |name: &str| match name {
            "A" => Some("one"),
            "B" => Some("$(A)"),
            "EMPTY" => Some(""),
            _ => None,
        };
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("$(A)", "one"),
            ("x-$(A)-$(A)", "x-one-one"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$one"),
            ("$$$$(A)", "$$(A)"),
            ("$(NO)", "$(NO)"),
            ("$(B)", "$(A)"),
            ("$(EMPTY)", ""),
            ("$A", "$A"),
            ("$(A", "$(A"),
            ("cost$", "cost$"),
            ("$()", "$()"),
            ("é$(A)ü", "éoneü"),
        ] {
            assert_eq!(expand(text, lookup), expected, "{text}");
        }
    }

    #[test]
    fn tells_what_is_missing() {
        let mut missing = Vec::new();
        expand_collecting("$(X)/$(Y)/$$(Z)", |_| None, &mut missing);
        assert_eq!(missing, ["X", "Y"]);
    }
}
