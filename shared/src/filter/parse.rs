//! Reading a pattern: what is wrong with it is said with its path.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::matcher::{Leaf, Matcher, Number, Range, Text, Wildcard};
use crate::error::Error;

/// The longest pattern, in bytes of JSON without spaces.
const MAX_LENGTH: usize = 4096;
/// How deep a pattern's objects and lists may lie in each other.
const MAX_DEPTH: usize = 16;
/// Rules that a pattern with `$or` may stand for (`EventBridge` takes as many).
const MAX_COMBINATIONS: usize = 1000;

/// How alternatives are written.
pub(super) const OR: &str = "$or";
/// Names that a field within `$or` cannot have: there, they would be taken for comparisons (`Constants.java` of
/// aws/event-ruler).
const RESERVED: [&str; 22] = [
    "exactly",
    "equals-ignore-case",
    "prefix",
    "suffix",
    "anything-but",
    "exists",
    "wildcard",
    "numeric",
    "cidr",
    "=",
    "<",
    "<=",
    ">",
    ">=",
    "regex",
    "not-wildcard",
    "not-equals-ignore-case",
    "date-after",
    "date-on-or-after",
    "date-before",
    "date-on-or-before",
    "in-date-range",
];

/// Fields of which all must be met, and alternatives of which one must be.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) fields: Vec<(String, Field)>,
    /// None: there is no `$or`.
    pub(super) alternatives: Vec<Fields>,
}

/// What is asked of one field.
pub(super) enum Field {
    Leaf(Leaf),
    Fields(Fields),
}

impl Fields {
    /// The names of the fields at the top.
    pub(super) fn tops(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        let own = self.fields.iter().map(|(name, _)| name.as_str());
        let within = self.alternatives.iter().flat_map(Self::tops);
        Box::new(own.chain(within))
    }

    /// How many rules without `$or` say the same.
    fn combinations(&self) -> usize {
        let within = |(_, field): &(String, Field)| match field {
            Field::Leaf(_) => 1,
            Field::Fields(fields) => fields.combinations(),
        };
        let sum = self.alternatives.iter().map(Self::combinations).fold(0, usize::saturating_add);
        self.fields.iter().map(within).fold(sum.max(1), usize::saturating_mul)
    }

    /// The paths of its leaves. Beside a `$or` and within it, one can be asked for twice, or as a value and as an object:
    /// `EventBridge` lets the one override the other, or looks for both in elements of lists that nobody had in mind.
    fn paths<'a>(&'a self, at: &[&'a str]) -> Result<Paths<'a>, Error> {
        let mut all = Paths::new();
        for (name, field) in &self.fields {
            let at = [at, &[name.as_str()]].concat();
            add(
                &mut all,
                match field {
                    Field::Leaf(_) => Paths::from([at]),
                    Field::Fields(fields) => fields.paths(&at)?,
                },
            )?;
        }
        let mut either = Paths::new();
        for one in &self.alternatives {
            either.extend(one.paths(at)?);
        }
        add(&mut all, either)?;
        Ok(all)
    }
}

type Paths<'a> = BTreeSet<Vec<&'a str>>;

fn add<'a>(all: &mut Paths<'a>, new: Paths<'a>) -> Result<(), Error> {
    for path in &new {
        let above = (1..=path.len()).any(|length| all.contains(&path[..length]));
        let below = all.range(path.clone()..).next().is_some_and(|other| other.starts_with(path));
        if above || below {
            let field = format!("filter/{}", path.join("/"));
            return Err(Error::invalid(field, "is asked for beside a $or and within it"));
        }
    }
    all.extend(new);
    Ok(())
}

/// Where in the pattern we are.
struct At<'a> {
    path: String,
    depth: usize,
    /// Within `$or`, where comparisons' names are no fields.
    in_or: bool,
    name: &'a str,
}

impl At<'_> {
    fn wrong<T>(&self, reason: impl Into<String>) -> Result<T, Error> {
        Err(Error::invalid(&self.path, reason))
    }

    fn down<'a>(&self, step: impl std::fmt::Display, name: &'a str, in_or: bool) -> Result<At<'a>, Error> {
        let at = At { path: format!("{}/{step}", self.path), depth: self.depth + 1, in_or, name };
        if at.depth > MAX_DEPTH {
            return at.wrong(format!("is nested deeper than {MAX_DEPTH} levels"));
        }
        Ok(at)
    }

    fn into<'a>(&self, name: &'a str) -> Result<At<'a>, Error> {
        self.down(name, name, self.in_or)
    }
}

/// Reads a whole pattern.
pub(super) fn pattern(value: &Value) -> Result<Fields, Error> {
    let at = At { path: "filter".into(), depth: 1, in_or: false, name: "" };
    if value.to_string().len() > MAX_LENGTH {
        return at.wrong("must be at most 4,096 bytes of JSON");
    }
    let Value::Object(map) = value else { return at.wrong("must be an object") };
    let fields = object(&at, map)?;
    if fields.combinations() > MAX_COMBINATIONS {
        return at.wrong(format!("its $or make more than {MAX_COMBINATIONS} combinations"));
    }
    fields.paths(&[])?;
    Ok(fields)
}

fn object(at: &At<'_>, map: &Map<String, Value>) -> Result<Fields, Error> {
    if map.is_empty() {
        return at.wrong("must name a field");
    }
    let mut read = Fields::default();
    for (name, value) in map {
        let inner = at.into(name)?;
        if name == OR {
            read.alternatives = alternatives(&inner, value)?;
            continue;
        }
        if at.in_or && RESERVED.contains(&name.as_str()) {
            return inner.wrong("is a comparison's name, which no field within $or can have");
        }
        let field = match value {
            Value::Object(map) => Field::Fields(object(&inner, map)?),
            Value::Array(items) => Field::Leaf(leaf(&inner, items)?),
            _ => return inner.wrong("must be a list of values that will do, or an object of fields"),
        };
        read.fields.push((name.clone(), field));
    }
    Ok(read)
}

fn alternatives(at: &At<'_>, value: &Value) -> Result<Vec<Fields>, Error> {
    let Value::Array(items) = value else { return at.wrong("must be a list of objects") };
    if items.len() < 2 {
        return at.wrong("must have two alternatives or more");
    }
    let one = |(n, item): (usize, &Value)| {
        let inner = at.down(n, at.name, true)?;
        match item {
            Value::Object(map) => object(&inner, map),
            _ => inner.wrong("must be an object of fields"),
        }
    };
    items.iter().enumerate().map(one).collect()
}

fn leaf(at: &At<'_>, items: &[Value]) -> Result<Leaf, Error> {
    if items.is_empty() {
        return at.wrong("must name a value");
    }
    let one = |(n, item): (usize, &Value)| alternative(&at.down(n, at.name, at.in_or)?, item);
    items.iter().enumerate().map(one).collect::<Result<_, _>>().map(Leaf)
}

fn alternative(at: &At<'_>, value: &Value) -> Result<Matcher, Error> {
    Ok(match value {
        Value::Null => Matcher::Null,
        Value::Bool(value) => Matcher::Bool(*value),
        Value::Number(number) => Matcher::Number(Number::of(number)),
        Value::String(text) => Matcher::Text(Text::Is(text.clone())),
        Value::Array(_) => return at.wrong("must be a value or a comparison, not a list"),
        Value::Object(map) => {
            let (name, value) = single(at, map)?;
            comparison(&at.into(name)?, value)?
        }
    })
}

/// The one field of a comparison.
fn single<'a>(at: &At<'_>, map: &'a Map<String, Value>) -> Result<(&'a str, &'a Value), Error> {
    match map.iter().next() {
        Some((name, value)) if map.len() == 1 => Ok((name, value)),
        _ => at.wrong("must be one comparison, such as {\"prefix\": \"a\"}"),
    }
}

fn comparison(at: &At<'_>, value: &Value) -> Result<Matcher, Error> {
    match (at.name, value) {
        ("prefix" | "suffix" | "equals-ignore-case" | "wildcard", _) => text(at, value).map(Matcher::Text),
        ("anything-but", _) => anything_but(at, value),
        ("numeric", Value::Array(terms)) => range(at, terms).map(Matcher::Range),
        ("numeric", _) => at.wrong("must be a list such as [\">\", 0, \"<=\", 5]"),
        ("exists", Value::Bool(there)) => Ok(Matcher::Exists(*there)),
        ("exists", _) => at.wrong("must be true or false"),
        ("cidr", Value::String(block)) => match block.parse() {
            Ok(block) => Ok(Matcher::Cidr(block)),
            Err(_) => at.wrong("must be a block of addresses such as 10.0.0.0/24"),
        },
        ("cidr", _) => at.wrong("must be a string"),
        _ => at.wrong(
            "is no comparison: there are prefix, suffix, equals-ignore-case, wildcard, anything-but, numeric, \
             exists and cidr",
        ),
    }
}

fn text(at: &At<'_>, value: &Value) -> Result<Text, Error> {
    match (at.name, value) {
        ("prefix", Value::String(text)) => Ok(Text::Begins(text.clone())),
        ("suffix", Value::String(text)) => Ok(Text::Ends(text.clone())),
        ("equals-ignore-case", Value::String(text)) => Ok(Text::IsInAnyCase(text.clone())),
        ("wildcard", Value::String(text)) => match Wildcard::parse(text) {
            Ok(wildcard) => Ok(Text::Like(wildcard)),
            Err(reason) => at.wrong(reason),
        },
        ("prefix" | "suffix", Value::Object(map)) => {
            let (name, value) = single(at, map)?;
            let inner = at.into(name)?;
            match (at.name, name, value) {
                ("prefix", "equals-ignore-case", Value::String(text)) => {
                    Ok(Text::BeginsInAnyCase(text.clone()))
                }
                (_, "equals-ignore-case", Value::String(text)) => Ok(Text::EndsInAnyCase(text.clone())),
                (_, "equals-ignore-case", _) => inner.wrong("must be a string"),
                _ => inner.wrong("must be equals-ignore-case"),
            }
        }
        _ => at.wrong("must be a string"),
    }
}

fn anything_but(at: &At<'_>, value: &Value) -> Result<Matcher, Error> {
    let excluded = match value {
        Value::Array(items) => each(at, items, plain)?,
        Value::Object(map) => {
            let (name, value) = single(at, map)?;
            let inner = at.into(name)?;
            if !matches!(name, "prefix" | "suffix" | "equals-ignore-case" | "wildcard") {
                return inner.wrong("must be prefix, suffix, equals-ignore-case or wildcard");
            }
            match value {
                Value::Array(items) => each(&inner, items, excluded_text)?,
                _ => vec![excluded_text(&inner, value)?],
            }
        }
        _ => vec![plain(at, value)?],
    };
    let numbers = excluded.iter().filter(|one| matches!(one, Matcher::Number(_))).count();
    if numbers != 0 && numbers != excluded.len() {
        return at.wrong("must be all strings or all numbers");
    }
    Ok(Matcher::AnythingBut(excluded))
}

fn each(
    at: &At<'_>,
    items: &[Value],
    one: impl Fn(&At<'_>, &Value) -> Result<Matcher, Error>,
) -> Result<Vec<Matcher>, Error> {
    if items.is_empty() {
        return at.wrong("must name a value");
    }
    items.iter().enumerate().map(|(n, item)| one(&at.down(n, at.name, at.in_or)?, item)).collect()
}

fn plain(at: &At<'_>, value: &Value) -> Result<Matcher, Error> {
    match value {
        Value::Number(number) => Ok(Matcher::Number(Number::of(number))),
        Value::String(text) => Ok(Matcher::Text(Text::Is(text.clone()))),
        _ => at.wrong("must be a string or a number"),
    }
}

fn excluded_text(at: &At<'_>, value: &Value) -> Result<Matcher, Error> {
    match value {
        // Nothing is left beside what begins or ends with nothing.
        Value::String(text) if text.is_empty() && matches!(at.name, "prefix" | "suffix") => {
            at.wrong("must not be empty")
        }
        Value::String(_) => text(at, value).map(Matcher::Text),
        _ => at.wrong("must be a string"),
    }
}

fn range(at: &At<'_>, terms: &[Value]) -> Result<Range, Error> {
    let form = "must be [\"=\", n], [\"<\", n] or [\">\", n, \"<\", n], also with <= and >=";
    let bound = |terms: &[Value]| match terms {
        [Value::String(operator), Value::Number(number)] => Some((operator.clone(), Number::of(number))),
        _ => None,
    };
    let range = match (terms.get(..2).and_then(bound), terms.get(2..).and_then(bound), terms.len()) {
        (Some((operator, number)), None, 2) => match operator.as_str() {
            "=" => Range { low: Some((number.clone(), true)), high: Some((number, true)) },
            ">" | ">=" => Range { low: Some((number, operator == ">=")), high: None },
            "<" | "<=" => Range { low: None, high: Some((number, operator == "<=")) },
            _ => return at.wrong(form),
        },
        (Some((from, low)), Some((to, high)), 4)
            if matches!(from.as_str(), ">" | ">=") && matches!(to.as_str(), "<" | "<=") =>
        {
            if !low.is_less_than(&high) {
                return at.wrong("must begin below its end");
            }
            Range { low: Some((low, from == ">=")), high: Some((high, to == "<=")) }
        }
        _ => return at.wrong(form),
    };
    Ok(range)
}
