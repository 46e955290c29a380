//! Filters: `and(eq(fvBD.name,"b"),wcard(fvBD.dn,"tn-acme"))`.

use std::cmp::Ordering;

use super::{QueryError, property, value};
use crate::{Mo, UNSPECIFIED};

/// How deep a filter may nest.
pub const MAX_FILTER_DEPTH: usize = 32;

/// A condition on an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// All of these hold.
    And(Vec<Filter>),
    /// One of these holds.
    Or(Vec<Filter>),
    /// An odd number of these holds.
    Xor(Vec<Filter>),
    /// This does not hold.
    Not(Box<Filter>),
    /// A property of an object of this class compares so.
    Compare {
        /// The class, abstract or not; objects of other classes do not match.
        class: String,
        /// The property.
        prop: String,
        /// How it compares.
        test: Test,
    },
}

/// A comparison with values as they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// The same.
    Equal(String),
    /// Another.
    NotEqual(String),
    /// Less.
    Less(String),
    /// Greater.
    Greater(String),
    /// Less or the same.
    AtMost(String),
    /// Greater or the same.
    AtLeast(String),
    /// Between two, both included.
    Between(String, String),
    /// Holds a text, in which `*` stands for any characters and `^` and `$` for the ends.
    Wildcard(String),
    /// One of the flags.
    AnyBit(String),
    /// All of the flags.
    AllBits(String),
}

impl Filter {
    /// The filter in a parameter; `None` if it is empty.
    pub fn parse(text: &str) -> Result<Option<Filter>, QueryError> {
        let mut reader = Reader { text, at: 0 };
        reader.spaces();
        if reader.rest().is_empty() {
            return Ok(None);
        }
        let filter = reader.filter(0)?;
        reader.spaces();
        if reader.rest().is_empty() { Ok(Some(filter)) } else { Err(reader.error("its end")) }
    }

    /// Whether an object meets the condition.
    pub fn matches(&self, mo: &Mo) -> bool {
        match self {
            Filter::And(all) => all.iter().all(|filter| filter.matches(mo)),
            Filter::Or(any) => any.iter().any(|filter| filter.matches(mo)),
            Filter::Xor(some) => some.iter().filter(|filter| filter.matches(mo)).count() % 2 == 1,
            Filter::Not(filter) => !filter.matches(mo),
            Filter::Compare { class, prop, test } => {
                let has = matches!(prop.as_str(), "dn" | "rn") || mo.class().prop(prop).is_some();
                has && mo.class().is_a(class) && test.holds(mo, prop)
            }
        }
    }
}

impl Test {
    fn holds(&self, mo: &Mo, prop: &str) -> bool {
        let have = value(mo, prop);
        // A value may be asked for in another spelling than the one it is kept in: 443 for https.
        let same = |asked: &str| {
            have == asked
                || mo
                    .class()
                    .prop(prop)
                    .and_then(|def| def.normalise(asked).ok())
                    .is_some_and(|asked| have == asked)
        };
        // A number that was left open is neither less nor greater than any.
        let against = |asked: &str| match (mo.number(prop), asked.parse::<u64>()) {
            (Some(have), Ok(asked)) => Some(have.cmp(&asked)),
            (None, Ok(_)) if have == UNSPECIFIED => None,
            _ => Some(compare(have, asked)),
        };
        let at_least = |asked: &str| against(asked).is_some_and(Ordering::is_ge);
        let at_most = |asked: &str| against(asked).is_some_and(Ordering::is_le);
        let has_flag = |flag: &str| have.split(',').any(|word| word == flag.trim());
        match self {
            Test::Equal(asked) => same(asked),
            Test::NotEqual(asked) => !same(asked),
            Test::Less(asked) => against(asked).is_some_and(Ordering::is_lt),
            Test::Greater(asked) => against(asked).is_some_and(Ordering::is_gt),
            Test::AtMost(asked) => at_most(asked),
            Test::AtLeast(asked) => at_least(asked),
            Test::Between(low, high) => at_least(low) && at_most(high),
            Test::Wildcard(pattern) => wildcard(pattern, have),
            Test::AnyBit(flags) => flags.split(',').any(has_flag),
            Test::AllBits(flags) => flags.split(',').all(has_flag),
        }
    }
}

/// Numbers as numbers, all else as text.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(x), Ok(y)) => x.total_cmp(&y),
        _ => a.cmp(b),
    }
}

/// Whether `text` holds `pattern`. Linear in both for each `*`-separated piece.
fn wildcard(pattern: &str, text: &str) -> bool {
    let (pattern, at_start) = match pattern.strip_prefix('^') {
        Some(rest) => (rest, true),
        None => (pattern, false),
    };
    let (pattern, at_end) = match pattern.strip_suffix('$') {
        Some(rest) => (rest, true),
        None => (pattern, false),
    };
    // `.*` is how regular expressions write `*`.
    let pattern = pattern.replace(".*", "*");
    let mut pieces = pattern.split('*');
    let Some(first) = pieces.next() else { return true };
    let pieces: Vec<&str> = pieces.collect();
    let mut rest = if at_start {
        match text.strip_prefix(first) {
            Some(rest) => rest,
            None => return false,
        }
    } else if pieces.is_empty() && at_end {
        return text.ends_with(first);
    } else {
        match text.find(first).and_then(|at| text.get(at + first.len()..)) {
            Some(rest) => rest,
            None => return false,
        }
    };
    let last = pieces.len().saturating_sub(1);
    for (index, piece) in pieces.iter().enumerate() {
        if index == last && at_end {
            return rest.ends_with(piece);
        }
        match rest.find(piece).and_then(|at| rest.get(at + piece.len()..)) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    !at_end || rest.is_empty()
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn error(&self, expected: &'static str) -> QueryError {
        QueryError::Filter { at: self.at, expected }
    }

    fn spaces(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn sign(&mut self, sign: char, expected: &'static str) -> Result<(), QueryError> {
        self.spaces();
        if !self.rest().starts_with(sign) {
            return Err(self.error(expected));
        }
        self.at += sign.len_utf8();
        Ok(())
    }

    fn is_next(&mut self, sign: char) -> bool {
        self.spaces();
        self.rest().starts_with(sign)
    }

    /// Letters, digits and what else names are made of.
    fn word(&mut self) -> &'t str {
        self.spaces();
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let word = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        self.at += word.len();
        word
    }

    fn filter(&mut self, depth: usize) -> Result<Filter, QueryError> {
        if depth > MAX_FILTER_DEPTH {
            return Err(self.error("at most 32 levels of conditions"));
        }
        let start = self.at;
        let function = self.word();
        let filter = match function {
            "and" => Filter::And(self.list(depth)?),
            "or" => Filter::Or(self.list(depth)?),
            "xor" => Filter::Xor(self.list(depth)?),
            "not" => {
                self.sign('(', "`(`")?;
                let inner = self.filter(depth + 1)?;
                self.sign(')', "`)`")?;
                Filter::Not(Box::new(inner))
            }
            "eq" | "ne" | "lt" | "gt" | "le" | "ge" | "bw" | "wcard" | "anybit" | "allbits" => {
                self.comparison(function)?
            }
            _ => {
                self.at = start;
                return Err(self.error("`and`, `or`, `not`, `eq`, `ne`, `lt`, `gt` or `wcard`"));
            }
        };
        Ok(filter)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Filter>, QueryError> {
        self.sign('(', "`(`")?;
        let mut filters = vec![self.filter(depth + 1)?];
        while self.is_next(',') {
            self.sign(',', "`,`")?;
            self.spaces();
            filters.push(self.filter(depth + 1)?);
        }
        self.sign(')', "`,` or `)`")?;
        Ok(filters)
    }

    fn comparison(&mut self, function: &str) -> Result<Filter, QueryError> {
        self.sign('(', "`(`")?;
        let class = self.word().to_owned();
        self.sign('.', "`CLASS.PROPERTY`")?;
        let prop = self.word().to_owned();
        property(&class, &prop)?;
        self.sign(',', "`,`")?;
        let asked = self.quoted()?;
        let test = match function {
            "eq" => Test::Equal(asked),
            "ne" => Test::NotEqual(asked),
            "lt" => Test::Less(asked),
            "gt" => Test::Greater(asked),
            "le" => Test::AtMost(asked),
            "ge" => Test::AtLeast(asked),
            "wcard" => Test::Wildcard(asked),
            "anybit" => Test::AnyBit(asked),
            "allbits" => Test::AllBits(asked),
            _ => {
                self.sign(',', "`,` and the upper bound")?;
                Test::Between(asked, self.quoted()?)
            }
        };
        self.sign(')', "`)`")?;
        Ok(Filter::Compare { class, prop, test })
    }

    fn quoted(&mut self) -> Result<String, QueryError> {
        self.sign('"', "a value in `\"`")?;
        let Some(end) = self.rest().find('"') else {
            return Err(self.error("a closing `\"`"));
        };
        let value = self.rest().get(..end).unwrap_or_default().to_owned();
        self.at += end + 1;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_find_texts() {
        let cases = [
            ("web", "epg-web-1", true),
            ("web*1", "epg-web-1", true),
            ("web.*1$", "epg-web-1", true),
            ("^epg", "epg-web-1", true),
            ("^web", "epg-web-1", false),
            ("web$", "epg-web", true),
            ("web$", "web-epg", false),
            ("^epg-web$", "epg-web", true),
            ("^epg$", "epg-web", false),
            ("", "anything", true),
            ("a*a", "a", false),
            ("^a*a$", "a", false),
            ("aba$", "ababa", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(wildcard(pattern, text), expected, "{pattern} in {text}");
        }
    }

    #[test]
    fn what_is_no_filter_says_where() {
        let cases = [
            ("eq(fvBD.name,\"b\"", 16),
            ("eq(fvBD.name,b)", 13),
            ("eq(fvBD.name,\"b)", 14),
            ("nonsense(fvBD.name,\"b\")", 0),
            ("and()", 4),
            ("eq(fvBD.name,\"b\")x", 17),
            ("eq(fvBD,\"b\")", 7),
        ];
        for (text, at) in cases {
            match Filter::parse(text) {
                Err(QueryError::Filter { at: got, .. }) => assert_eq!(got, at, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        let deep = "not(".repeat(100_000);
        assert!(Filter::parse(&deep).is_err());
        assert_eq!(Filter::parse("eq(fvBX.name,\"b\")").unwrap_err().code(), 122);
        assert_eq!(Filter::parse("eq(fvBD.nome,\"b\")").unwrap_err().code(), 121);
        assert_eq!(Filter::parse(" "), Ok(None));
    }
}
