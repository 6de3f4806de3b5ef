//! Topics: event types, `resource.action` in canonical form, whatever a dialect calls them.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::BadId;

/// A canonical topic, such as `order.created`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Topic(Arc<str>);

impl Topic {
    /// The canonical name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it happened to: the first word.
    ///
    /// ```
    /// let topic: postrider::model::Topic = "order_return.created".parse().unwrap();
    /// assert_eq!(topic.resource(), "order_return");
    /// ```
    pub fn resource(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }

    /// Whether it is ours to publish: what happens to webhooks and deliveries themselves.
    pub fn is_operational(&self) -> bool {
        OPERATIONAL.contains(&self.as_str())
    }
}

/// The topics of [`Topic::is_operational`].
const OPERATIONAL: [&str; 4] =
    ["webhook.failing", "webhook.recovered", "webhook.disabled", "delivery.exhausted"];

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

impl FromStr for Topic {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        if text.len() <= 128 && text.contains('.') && text.split('.').all(is_word) {
            Ok(Self(text.into()))
        } else {
            Err(BadId("must be words of a-z, 0-9 and '_' joined by '.', such as order.created"))
        }
    }
}

impl TryFrom<String> for Topic {
    type Error = BadId;
    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<Topic> for String {
    fn from(topic: Topic) -> String {
        topic.0.as_ref().to_owned()
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a webhook subscribes to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TopicPattern {
    /// Every topic, written `*`.
    All,
    /// One topic.
    One(Topic),
    /// Every topic that begins with some words and goes on, written `order.*`.
    Under(Branch),
}

/// The words that topics begin with, as [`TopicPattern::Under`] is written.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Branch(Arc<str>);

impl fmt::Debug for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TopicPattern {
    /// How [`TopicPattern::All`] is written.
    pub const ALL: &str = "*";
    /// The branch that is all operational.
    const WEBHOOKS: &str = "webhook.*";

    /// As it is written and as stores index it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::All => Self::ALL,
            Self::One(topic) => topic.as_str(),
            Self::Under(branch) => &branch.0,
        }
    }

    /// Whether events of a topic are meant. An operational topic must be meant by its own name, or as `webhook.*`: who
    /// asks for everything asks for what platforms publish.
    pub fn takes(&self, topic: &Topic) -> bool {
        match self {
            Self::All => !topic.is_operational(),
            Self::One(one) => one == topic,
            Self::Under(branch) => {
                let is_meant = !topic.is_operational() || &*branch.0 == Self::WEBHOOKS;
                is_meant && topic.as_str().starts_with(branch.0.trim_end_matches('*'))
            }
        }
    }

    /// Every pattern that takes a topic, as stores index them: itself, what is above it, and all.
    ///
    /// ```
    /// use postrider::model::TopicPattern;
    /// let topic = "order.item.added".parse().unwrap();
    /// assert_eq!(TopicPattern::of(&topic), ["order.item.added", "order.item.*", "order.*", "*"]);
    /// ```
    pub fn of(topic: &Topic) -> Vec<String> {
        let name = topic.as_str();
        let above = name.match_indices('.').rev().map(|(dot, _)| format!("{}.*", &name[..dot]));
        let above = above.chain([Self::ALL.to_owned()]);
        let meant = above.filter(|pattern| !topic.is_operational() || pattern == Self::WEBHOOKS);
        std::iter::once(name.to_owned()).chain(meant).collect()
    }
}

impl From<TopicPattern> for String {
    fn from(pattern: TopicPattern) -> String {
        pattern.as_str().to_owned()
    }
}

impl TryFrom<String> for TopicPattern {
    type Error = BadId;
    fn try_from(text: String) -> Result<Self, BadId> {
        match text.strip_suffix(".*") {
            Some(above) if text.len() <= 128 && above.split('.').all(is_word) => {
                Ok(Self::Under(Branch(text.into())))
            }
            Some(_) => Err(BadId("must have words of a-z, 0-9 and '_' before .*, such as order.*")),
            None if text == Self::ALL => Ok(Self::All),
            None => text.parse().map(Self::One),
        }
    }
}

/// What an operator says of a topic: one of his own, or more about a documented one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CustomTopic {
    /// Its canonical name.
    pub topic: Topic,
    /// What happened, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A JSON Schema that its payloads must fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// Names in dialects that have none of their own for it, by the dialect's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<String, String>,
    /// A sample payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<Value>,
    /// Sample payloads for single dialects.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub samples: BTreeMap<String, Value>,
    /// When it was first said.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_names_are_words_and_dots() {
        for good in ["order.created", "product_request.rejected", "a.b.c2"] {
            assert!(good.parse::<Topic>().is_ok(), "{good}");
        }
        for bad in ["", "order", ".a", "a.", "a..b", "Order.created", "orders/create", "a.*", "*"] {
            assert!(bad.parse::<Topic>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_takes_what_it_is_found_by() {
        let pattern = |text: &str| TopicPattern::try_from(text.to_owned());
        let topics =
            ["order.created", "order.item.added", "order_return.created", "orders.created", "a.order.b"];
        let operational = ["webhook.failing", "delivery.exhausted"];
        for (text, taken) in [
            ("*", &topics[..]),
            ("webhook.*", &["webhook.failing"]),
            ("delivery.*", &[]),
            ("delivery.exhausted", &["delivery.exhausted"]),
            ("order.created", &["order.created"]),
            ("order.*", &["order.created", "order.item.added"]),
            ("order.item.*", &["order.item.added"]),
            ("order.item.added.*", &[]),
            ("a.*", &["a.order.b"]),
        ] {
            let pattern = pattern(text).unwrap();
            assert_eq!(pattern.as_str(), text);
            for topic in topics.into_iter().chain(operational) {
                let topic: Topic = topic.parse().unwrap();
                assert_eq!(pattern.takes(&topic), taken.contains(&topic.as_str()), "{text} {topic}");
                let found = TopicPattern::of(&topic).contains(&text.to_owned());
                assert_eq!(pattern.takes(&topic), found, "{text} {topic}");
            }
        }
        for bad in
            ["", ".*", "*.*", "order*", "order.", "order.**", "order.*.created", "Order.*", "*.created"]
        {
            assert!(pattern(bad).is_err(), "{bad}");
        }
        assert!(pattern(&format!("{}.*", "a".repeat(127))).is_err());
    }
}
