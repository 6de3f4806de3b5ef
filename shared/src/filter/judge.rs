//! Judging an event by a pattern, and telling what is missing.

use std::{cell::Cell, fmt};

use serde_json::{Map, Value};

use super::{
    matcher::Leaf,
    parse::{Field, Fields, OR},
};

/// Objects that are looked at for one judgement. Without `$or`, no event that is accepted has as many; alternatives
/// within alternatives over long lists might. What cannot be judged by then matches: rather a delivery too many than
/// one too few.
const MAX_STEPS: usize = 1_000_000;
/// Characters of a value that are shown.
const SHOWN: usize = 100;

/// What came of judging a part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// It is not met.
    Unmet,
    /// It is met by what is not there. Of a list that is so only if no element has it.
    ByAbsence,
    /// It is met by a value.
    Met,
}

pub(super) fn matches(root: &Fields, event: &Value) -> bool {
    let judge = Judge { left: Cell::new(MAX_STEPS) };
    judge.all(&[root], Some(event)) != Verdict::Unmet || judge.left.get() == 0
}

struct Judge {
    left: Cell<usize>,
}

/// Fields of one path, none of which has alternatives any more.
type Group<'a> = &'a [(String, Field)];

impl Judge {
    /// Whether a value meets all of these. They lie at one path: only by `$or` can there be more than one of them, and
    /// then one element of a list must meet them together.
    fn all(&self, parts: &[&Fields], value: Option<&Value>) -> Verdict {
        let mut groups: Vec<Group<'_>> = parts.iter().map(|part| part.fields.as_slice()).collect();
        let alternatives = parts.iter().map(|part| part.alternatives.as_slice());
        let alternatives: Vec<_> = alternatives.filter(|some| !some.is_empty()).collect();
        self.either(&mut groups, &alternatives, value)
    }

    fn either<'a>(
        &self,
        groups: &mut Vec<Group<'a>>,
        alternatives: &[&'a [Fields]],
        value: Option<&Value>,
    ) -> Verdict {
        let Some((first, others)) = alternatives.split_first() else { return self.together(groups, value) };
        let mut best = Verdict::Unmet;
        for one in *first {
            groups.push(&one.fields);
            let verdict = if one.alternatives.is_empty() {
                self.either(groups, others, value)
            } else {
                self.either(groups, &[others, &[one.alternatives.as_slice()]].concat(), value)
            };
            groups.pop();
            best = best.max(verdict);
            if best == Verdict::Met {
                break;
            }
        }
        best
    }

    fn together(&self, groups: &[Group<'_>], value: Option<&Value>) -> Verdict {
        let Some(left) = self.left.get().checked_sub(1) else { return Verdict::Unmet };
        self.left.set(left);
        match value {
            Some(Value::Array(items)) if !items.is_empty() => {
                let mut worst = Verdict::ByAbsence;
                for item in items {
                    match self.together(groups, Some(item)) {
                        Verdict::Met => return Verdict::Met,
                        other => worst = worst.min(other),
                    }
                }
                worst
            }
            Some(Value::Object(map)) => self.fields(groups, Some(map)),
            _ => self.fields(groups, None),
        }
    }

    fn fields(&self, groups: &[Group<'_>], map: Option<&Map<String, Value>>) -> Verdict {
        let mut best = Verdict::ByAbsence;
        for (n, group) in groups.iter().enumerate() {
            for (name, field) in *group {
                let value = map.and_then(|map| map.get(name));
                let verdict = match field {
                    Field::Leaf(leaf) => judge_leaf(leaf, value),
                    Field::Fields(own) => {
                        let alike =
                            |groups: &[Group<'_>]| groups.iter().any(|group| within(group, name).is_some());
                        if n > 0 && alike(&groups[..n]) {
                            // Judged already, together with its like.
                            continue;
                        }
                        let others = groups[n + 1..].iter().filter_map(|group| within(group, name));
                        let parts: Vec<_> = std::iter::once(own).chain(others).collect();
                        self.all(&parts, value)
                    }
                };
                if verdict == Verdict::Unmet {
                    return verdict;
                }
                best = best.max(verdict);
            }
        }
        best
    }
}

fn within<'a>(group: Group<'a>, name: &str) -> Option<&'a Fields> {
    group.iter().find_map(|(own, field)| match field {
        Field::Fields(fields) if own == name => Some(fields),
        _ => None,
    })
}

/// A leaf is met by a value, or by any element of a list; an object is none.
fn judge_leaf(leaf: &Leaf, value: Option<&Value>) -> Verdict {
    fn any(value: &Value, takes: &mut impl FnMut(&Value) -> bool) -> bool {
        match value {
            Value::Array(items) => items.iter().any(|item| any(item, takes)),
            Value::Object(_) => false,
            value => takes(value),
        }
    }
    let mut is_there = false;
    let met = value.is_some_and(|value| {
        any(value, &mut |value| {
            is_there = true;
            leaf.takes(value)
        })
    });
    match (met, is_there) {
        (true, _) => Verdict::Met,
        (false, false) if leaf.takes_nothing() => Verdict::ByAbsence,
        _ => Verdict::Unmet,
    }
}

/// A part of a pattern that an event does not meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    /// Which, its words joined by dots.
    pub path: String,
    /// What the event should have there.
    pub wanted: String,
    /// What it has there, as JSON; none: nothing.
    pub found: Option<String>,
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.found {
            Some(found) => write!(f, "{}: {found} is not {}", self.path, self.wanted),
            None => write!(f, "{}: there is nothing, not {}", self.path, self.wanted),
        }
    }
}

/// What an event that does not match misses.
pub(super) fn explain(root: &Fields, event: &Value) -> Vec<Miss> {
    let misses = missing(root, Some(event), "");
    if !misses.is_empty() {
        return misses;
    }
    // Each part is met somewhere in a list, but no element meets them together.
    let wanted = "met as a whole by one element of each list".to_owned();
    vec![Miss { path: String::new(), wanted, found: Some(shown(event)) }]
}

fn missing(part: &Fields, value: Option<&Value>, path: &str) -> Vec<Miss> {
    if let Some(Value::Array(items)) = value {
        // The element that comes nearest tells most.
        let nearest = items.iter().map(|item| missing(part, Some(item), path)).min_by_key(Vec::len);
        return nearest.unwrap_or_else(|| missing(part, None, path));
    }
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let mut all = Vec::new();
    for (name, field) in &part.fields {
        let found = value.and_then(|value| value.get(name));
        match field {
            Field::Fields(fields) => all.extend(missing(fields, found, &below(name))),
            Field::Leaf(leaf) if judge_leaf(leaf, found) == Verdict::Unmet => {
                all.push(Miss { path: below(name), wanted: leaf.to_string(), found: found.map(shown) });
            }
            Field::Leaf(_) => {}
        }
    }
    let of_each = part.alternatives.iter().enumerate();
    let of_each = of_each.map(|(n, one)| missing(one, value, &below(&format!("{OR}.{n}"))));
    let of_each: Vec<_> = of_each.collect();
    if of_each.iter().all(|misses| !misses.is_empty()) {
        all.extend(of_each.into_iter().flatten());
    }
    all
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
