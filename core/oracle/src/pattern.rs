//! Text against text: the operators of attributes and tags, and regular expressions.

use regex_automata::meta::Regex;

/// Whether `value` is as `operator` and `wanted` say; an operator that is none matches nothing.
pub(crate) fn compare(operator: &str, wanted: &str, value: &str) -> bool {
    match operator {
        "equals" => value == wanted,
        "notEquals" => value != wanted,
        "contains" => value.contains(wanted),
        "startsWith" => value.starts_with(wanted),
        "endsWith" => value.ends_with(wanted),
        "regex" => matches_whole(wanted, value).unwrap_or(false),
        _ => false,
    }
}

/// Whether the whole of `value` is matched by a regular expression; `None` if it is none.
pub(crate) fn matches_whole(expression: &str, value: &str) -> Option<bool> {
    let whole = Regex::new(&format!("^(?:{expression})$")).ok()?;
    Some(whole.is_match(value))
}

#[cfg(test)]
mod tests {
    use super::{compare, matches_whole};

    /// Naive: `EPG-1` is in `EPG-10` too.
    #[test]
    fn an_expression_is_about_the_whole_value() {
        assert_eq!(matches_whole("EPG-1", "EPG-1"), Some(true));
        assert_eq!(matches_whole("EPG-1", "EPG-10"), Some(false));
        assert_eq!(matches_whole("EPG-[13]|x", "EPG-3"), Some(true));
        assert_eq!(matches_whole("(", "("), None);
    }

    #[test]
    fn operators_are_about_the_ends_of_the_value() {
        assert!(compare("startsWith", "web", "web-1") && !compare("startsWith", "web", "a-web"));
        assert!(compare("endsWith", "web", "a-web") && !compare("endsWith", "web", "web-1"));
        assert!(compare("contains", "b-", "web-1") && compare("notEquals", "web", "web-1"));
        assert!(!compare("like", "web", "web"));
    }
}
