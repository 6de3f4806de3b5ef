//! What a single value is compared with.

use std::{cmp::Ordering, fmt, net::IpAddr};

use ipnet::IpNet;
use serde_json::Value;

/// Alternatives of which a field's value must meet one.
pub(super) struct Leaf(pub(super) Vec<Matcher>);

impl Leaf {
    pub(super) fn takes(&self, value: &Value) -> bool {
        self.0.iter().any(|matcher| matcher.takes(value))
    }

    /// Whether a field that is not there will do.
    pub(super) fn takes_nothing(&self) -> bool {
        self.0.iter().any(|matcher| matches!(matcher, Matcher::Exists(false)))
    }
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        joined(f, &self.0)
    }
}

/// One thing that a value can be compared with.
pub(super) enum Matcher {
    Null,
    Bool(bool),
    Number(Number),
    Text(Text),
    Range(Range),
    Cidr(IpNet),
    Exists(bool),
    /// Whatever is there, of whatever type, unless one of these takes it.
    AnythingBut(Vec<Matcher>),
}

impl Matcher {
    /// Judges a value that is neither a list nor an object.
    fn takes(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Null, Value::Null) | (Self::Exists(true), _) => true,
            (Self::Bool(wanted), Value::Bool(found)) => wanted == found,
            (Self::Number(wanted), Value::Number(found)) => wanted.compare(found) == Some(Ordering::Equal),
            (Self::Range(range), Value::Number(found)) => range.holds(found),
            (Self::Text(wanted), Value::String(found)) => wanted.takes(found),
            (Self::Cidr(block), Value::String(found)) => {
                found.parse::<IpAddr>().is_ok_and(|address| block.contains(&address))
            }
            (Self::AnythingBut(excluded), _) => !excluded.iter().any(|matcher| matcher.takes(value)),
            _ => false,
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Number(number) => number.0.fmt(f),
            Self::Text(text) => text.fmt(f),
            Self::Range(range) => range.fmt(f),
            Self::Cidr(block) => write!(f, "an address in {block}"),
            Self::Exists(true) => f.write_str("present"),
            Self::Exists(false) => f.write_str("absent"),
            Self::AnythingBut(excluded) => {
                f.write_str("anything but ")?;
                joined(f, excluded)
            }
        }
    }
}

fn joined(f: &mut fmt::Formatter<'_>, all: &[Matcher]) -> fmt::Result {
    for (n, one) in all.iter().enumerate() {
        if n > 0 {
            f.write_str(" or ")?;
        }
        write!(f, "{one}")?;
    }
    Ok(())
}

/// A number, compared by its value: 1, 1.0 and 1e0 are the same.
#[derive(Clone)]
pub(super) struct Number(serde_json::Number);

fn whole(number: &serde_json::Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

impl Number {
    pub(super) fn of(number: &serde_json::Number) -> Self {
        Self(number.clone())
    }

    /// How another number stands to this one. Whole numbers are compared to the last digit, others as floats are.
    fn compare(&self, other: &serde_json::Number) -> Option<Ordering> {
        match (whole(other), whole(&self.0)) {
            (Some(other), Some(own)) => Some(other.cmp(&own)),
            _ => other.as_f64()?.partial_cmp(&self.0.as_f64()?),
        }
    }

    pub(super) fn is_less_than(&self, other: &Self) -> bool {
        self.compare(&other.0) == Some(Ordering::Greater)
    }
}

/// Numbers between two bounds; true: the bound itself is one of them.
pub(super) struct Range {
    pub(super) low: Option<(Number, bool)>,
    pub(super) high: Option<(Number, bool)>,
}

impl Range {
    fn holds(&self, found: &serde_json::Number) -> bool {
        let within = |bound: &Option<(Number, bool)>, side| match bound {
            None => true,
            Some((number, inclusive)) => match number.compare(found) {
                Some(Ordering::Equal) => *inclusive,
                other => other == Some(side),
            },
        };
        within(&self.low, Ordering::Greater) && within(&self.high, Ordering::Less)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = |inclusive| if inclusive { "from" } else { "greater than" };
        let to = |inclusive| if inclusive { "up to" } else { "less than" };
        match (&self.low, &self.high) {
            (Some((low, true)), Some((high, true))) if low.compare(&high.0) == Some(Ordering::Equal) => {
                write!(f, "the number {}", low.0)
            }
            (Some((low, a)), Some((high, b))) => {
                write!(f, "a number {} {} and {} {}", from(*a), low.0, to(*b), high.0)
            }
            (Some((low, true)), None) => write!(f, "a number of at least {}", low.0),
            (Some((low, false)), None) => write!(f, "a number greater than {}", low.0),
            (None, Some((high, true))) => write!(f, "a number of at most {}", high.0),
            (None, Some((high, false))) => write!(f, "a number less than {}", high.0),
            (None, None) => f.write_str("a number"),
        }
    }
}

/// What a text can be compared with.
pub(super) enum Text {
    Is(String),
    IsInAnyCase(String),
    Begins(String),
    BeginsInAnyCase(String),
    Ends(String),
    EndsInAnyCase(String),
    Like(Wildcard),
}

impl Text {
    fn takes(&self, found: &str) -> bool {
        match self {
            Self::Is(wanted) => found == wanted,
            Self::Begins(wanted) => found.starts_with(wanted.as_str()),
            Self::Ends(wanted) => found.ends_with(wanted.as_str()),
            Self::IsInAnyCase(wanted) => without_beginning(found, wanted) == Some(""),
            Self::BeginsInAnyCase(wanted) => without_beginning(found, wanted).is_some(),
            Self::EndsInAnyCase(wanted) => without_end(found, wanted).is_some(),
            Self::Like(wildcard) => wildcard.takes(found),
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(text) => write!(f, "{text:?}"),
            Self::IsInAnyCase(text) => write!(f, "{text:?} in any case"),
            Self::Begins(text) => write!(f, "a text that begins with {text:?}"),
            Self::BeginsInAnyCase(text) => write!(f, "a text that begins with {text:?} in any case"),
            Self::Ends(text) => write!(f, "a text that ends with {text:?}"),
            Self::EndsInAnyCase(text) => write!(f, "a text that ends with {text:?} in any case"),
            Self::Like(wildcard) => write!(f, "a text like {:?}", wildcard.written),
        }
    }
}

// A character of the pattern takes itself in lower and in upper case, as event-ruler has it; that may be more than one
// character.

fn without_beginning<'a>(text: &'a str, wanted: &str) -> Option<&'a str> {
    fn strip(text: &str, mut wanted: impl Iterator<Item = char>) -> Option<&str> {
        let mut rest = text.chars();
        wanted.all(|c| rest.next() == Some(c)).then_some(rest.as_str())
    }
    wanted
        .chars()
        .try_fold(text, |rest, c| strip(rest, c.to_lowercase()).or_else(|| strip(rest, c.to_uppercase())))
}

fn without_end<'a>(text: &'a str, wanted: &str) -> Option<&'a str> {
    fn strip(text: &str, wanted: impl DoubleEndedIterator<Item = char>) -> Option<&str> {
        let mut rest = text.chars();
        wanted.rev().all(|c| rest.next_back() == Some(c)).then_some(rest.as_str())
    }
    wanted
        .chars()
        .rev()
        .try_fold(text, |rest, c| strip(rest, c.to_lowercase()).or_else(|| strip(rest, c.to_uppercase())))
}

/// Texts with anything, or nothing, in the place of each `*`. Its parts are looked for one after the other, each as
/// early as it comes, so that a match costs one pass over the text whatever the pattern.
pub(super) struct Wildcard {
    written: String,
    /// What lies between the `*`: one more than there are of them.
    parts: Vec<String>,
}

impl Wildcard {
    pub(super) fn parse(written: &str) -> Result<Self, &'static str> {
        let (mut parts, mut part) = (Vec::new(), String::new());
        let mut chars = written.chars().peekable();
        while let Some(c) = chars.next() {
            match (c, chars.peek()) {
                ('*', Some('*')) => return Err("must not have two * in a row"),
                ('*', _) => parts.push(std::mem::take(&mut part)),
                ('\\', Some('*' | '\\')) => part.extend(chars.next()),
                ('\\', _) => return Err("a \\ must be followed by * or \\"),
                _ => part.push(c),
            }
        }
        parts.push(part);
        Ok(Self { written: written.to_owned(), parts })
    }

    fn takes(&self, text: &str) -> bool {
        let [first, others @ ..] = self.parts.as_slice() else { return false };
        let Some((last, middle)) = others.split_last() else { return text == first };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
        for part in middle {
            match rest.split_once(part.as_str()) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(last.as_str())
    }
}
