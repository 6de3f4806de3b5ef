//! JSON as XML, in the manner of Rails' `to_xml`: dashes for underscores, `type` and `nil` attributes.
//!
//! No public sample of Sapo's XML is known (`sapo.md`); Shopify's, whose API it follows, is written like this. What
//! Rails has no form for is written so that nothing is lost: a name that XML does not take is in the attribute `key`,
//! and a text with characters that XML does not take is in base64.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use quick_xml::{
    Writer,
    events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event, attributes::Attribute},
    name::QName,
};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::Error;

/// Levels of JSON at most: as many as serde reads.
const MAX_DEPTH: usize = 128;

/// A document of one value, whose root is named by `root` as any field is by its key. Numbers keep their digits, objects their order and even their repetitions.
pub(super) fn document(root: &str, json: &[u8]) -> Result<Vec<u8>, Error> {
    let value: &RawValue = serde_json::from_slice(json).map_err(unreadable)?;
    let mut writer = Writer::new(Vec::with_capacity(json.len() * 2));
    let declaration = BytesDecl::new("1.0", Some("UTF-8"), None);
    writer.write_event(Event::Decl(declaration)).map_err(unwritten)?;
    element(&mut writer, root, value, MAX_DEPTH)?;
    Ok(writer.into_inner())
}

#[expect(clippy::needless_pass_by_value, reason = "it is made for map_err")]
fn unreadable(error: serde_json::Error) -> Error {
    Error::Internal(format!("a payload that cannot be XML: {error}"))
}

#[expect(clippy::needless_pass_by_value, reason = "it is made for map_err")]
fn unwritten(error: std::io::Error) -> Error {
    Error::Internal(format!("writing XML: {error}"))
}

type Xml = Writer<Vec<u8>>;

fn element(xml: &mut Xml, key: &str, value: &RawValue, depth: usize) -> Result<(), Error> {
    let depth = depth
        .checked_sub(1)
        .ok_or_else(|| Error::Internal(format!("a payload of more than {MAX_DEPTH} levels cannot be XML")))?;
    let (name, mut start) = opening(key);
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'{') => {
            let Object(fields) = serde_json::from_str(text).map_err(unreadable)?;
            if fields.is_empty() {
                // Without it, an empty object and an empty text would look the same.
                start.push_attribute(("type", "hash"));
            }
            xml.write_event(Event::Start(start)).map_err(unwritten)?;
            for (key, value) in fields {
                element(xml, &key, value, depth)?;
            }
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(unreadable)?;
            start.push_attribute(("type", "array"));
            xml.write_event(Event::Start(start)).map_err(unwritten)?;
            let one = singular(key);
            for item in items {
                element(xml, &one, item, depth)?;
            }
        }
        Some(b'"') => {
            let string: String = serde_json::from_str(text).map_err(unreadable)?;
            return leaf(xml, &name, start, string_type(&string), &string);
        }
        Some(b't' | b'f') => return leaf(xml, &name, start, Some("boolean"), text),
        Some(b'n') => {
            start.push_attribute(("nil", "true"));
            return leaf(xml, &name, start, None, "");
        }
        _ => {
            let kind = if text.contains(['.', 'e', 'E']) { "decimal" } else { "integer" };
            return leaf(xml, &name, start, Some(kind), text);
        }
    }
    xml.write_event(Event::End(BytesEnd::new(name))).map_err(unwritten)
}

fn leaf(
    xml: &mut Xml,
    name: &str,
    mut start: BytesStart<'_>,
    kind: Option<&str>,
    text: &str,
) -> Result<(), Error> {
    let sendable = text.chars().all(is_char);
    if let Some(kind) = kind {
        start.push_attribute(("type", kind));
    }
    if !sendable {
        start.push_attribute(("encoding", "base64"));
    }
    xml.write_event(Event::Start(start)).map_err(unwritten)?;
    let text = if sendable { escaped(text) } else { STANDARD.encode(text) };
    xml.write_event(Event::Text(BytesText::from_escaped(text))).map_err(unwritten)?;
    xml.write_event(Event::End(BytesEnd::new(name))).map_err(unwritten)
}

/// Rails' names for texts that are more than text.
fn string_type(text: &str) -> Option<&'static str> {
    if !text.chars().all(is_char) {
        return Some("binary");
    }
    text.parse::<Timestamp>().is_ok().then_some("datetime")
}

/// An element's name and its start tag.
fn opening(key: &str) -> (String, BytesStart<'static>) {
    let name = key.replace('_', "-");
    let plain = !key.contains('-')
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
        // Names that begin so are kept for XML itself (XML 1.0, 2.3).
        && !name.get(..3).is_some_and(|head| head.eq_ignore_ascii_case("xml"));
    if plain {
        let start = BytesStart::new(name.clone());
        return (name, start);
    }
    let mut start = BytesStart::new("entry");
    if key.chars().all(is_char) {
        start.push_attribute(Attribute { key: QName("key"), value: escaped(key).into() });
    } else {
        start.push_attribute(("key", STANDARD.encode(key).as_str()));
        start.push_attribute(("key-encoding", "base64"));
    }
    ("entry".to_owned(), start)
}

/// What one of many is called.
fn singular(key: &str) -> String {
    for (end, one) in [("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ches", "ch"), ("shes", "sh")] {
        if let Some(stem) = key.strip_suffix(end).filter(|stem| !stem.is_empty()) {
            return format!("{stem}{one}");
        }
    }
    match key.strip_suffix('s') {
        Some(stem) if !stem.is_empty() && !stem.ends_with('s') => stem.to_owned(),
        _ => "item".to_owned(),
    }
}

/// Whether XML takes the character (XML 1.0, 2.2).
fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Text for an element or an attribute. Line ends and tabs are written as references, for a reader would make line
/// feeds or spaces of them (XML 1.0, 2.11 and 3.3.3).
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#13;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            c => out.push(c),
        }
    }
    out
}

/// An object's fields in their order.
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(map.size_hint().unwrap_or_default());
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use roxmltree::{Document, Node};
    use serde_json::{Map, Value, json};

    use super::*;

    fn xml(value: &Value) -> String {
        String::from_utf8(document("order", value.to_string().as_bytes()).unwrap()).unwrap()
    }

    /// Reads a document back, with a parser that is not the writer's.
    fn value(node: Node<'_, '_>) -> Value {
        let children = || node.children().filter(Node::is_element);
        let text = || {
            let text: String = node.children().filter_map(|child| child.text()).collect();
            match node.attribute("encoding") {
                Some(_) => String::from_utf8(STANDARD.decode(text).unwrap()).unwrap(),
                None => text,
            }
        };
        match node.attribute("type") {
            _ if node.attribute("nil").is_some() => Value::Null,
            Some("array") => children().map(value).collect(),
            Some("integer" | "decimal" | "boolean") => serde_json::from_str(&text()).unwrap(),
            Some("hash") => Value::Object(Map::new()),
            None if children().next().is_some() => {
                Value::Object(children().map(|child| (key(child), value(child))).collect())
            }
            None | Some("datetime" | "binary") => Value::String(text()),
            Some(other) => panic!("{other}"),
        }
    }

    fn key(node: Node<'_, '_>) -> String {
        match (node.attribute("key"), node.attribute("key-encoding")) {
            (Some(key), None) => key.to_owned(),
            (Some(key), Some(_)) => String::from_utf8(STANDARD.decode(key).unwrap()).unwrap(),
            (None, _) => node.tag_name().name().replace('-', "_"),
        }
    }

    fn read_back(text: &str) -> Value {
        let document = Document::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        value(document.root_element())
    }

    #[test]
    fn an_order_looks_as_rails_writes_it() {
        let order = json!({
            "id": 450_789_469, "total_price": 409.94, "note": null, "created_on": "2018-04-04T04:20:50Z",
            "line_items": [{ "sku": "A & B", "gift": false }, { "sku": "<C>", "gift": true }], "tags": [], "extra": {},
        });
        assert_eq!(
            xml(&order),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><order>\
             <id type=\"integer\">450789469</id><total-price type=\"decimal\">409.94</total-price>\
             <note nil=\"true\"></note><created-on type=\"datetime\">2018-04-04T04:20:50Z</created-on>\
             <line-items type=\"array\">\
             <line-item><sku>A &amp; B</sku><gift type=\"boolean\">false</gift></line-item>\
             <line-item><sku>&lt;C&gt;</sku><gift type=\"boolean\">true</gift></line-item>\
             </line-items><tags type=\"array\"></tags><extra type=\"hash\"></extra></order>"
        );
        assert_eq!(read_back(&xml(&order)), order);
    }

    #[test]
    fn numbers_keep_their_digits() {
        let text =
            document("order", br#"{"a":1.10,"b":123456789012345678901234567890,"c":-0,"d":1E+2}"#).unwrap();
        let text = String::from_utf8(text).unwrap();
        for kept in [">1.10<", ">123456789012345678901234567890<", ">-0<", ">1E+2<"] {
            assert!(text.contains(kept), "{kept} in {text}");
        }
    }

    #[test]
    fn what_xml_is_hostile_to_is_written_all_the_same() {
        let hostile = json!({
            "1a b:c": 1, "": 2, "a-b": 3, "xmlns": 4, "entry": 5, "é": 6, "a\u{0}b": 7, "\"'\t\r\n": 8, "a.b_c": 9,
            "texts": ["]]>", "\u{0}\u{1f}", "\r\n\t ", "\u{fffe}", "<!--", "&#0;", " ", "", "\u{10ffff}"],
        });
        assert_eq!(read_back(&xml(&hostile)), hostile);
    }

    #[test]
    fn what_is_nested_too_deep_is_refused_without_harm() {
        let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert!(document("order", nested(100).as_bytes()).is_ok());
        for levels in [128, 10_000, 1_000_000] {
            assert!(document("order", nested(levels).as_bytes()).is_err());
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            // Halves of halves: serde_json itself is not exact in the last digit of others.
            any::<i32>().prop_map(|n| Value::from(f64::from(n) / 8.0)),
            any::<String>().prop_map(Value::from),
            "[ \t\r\n<>&\"'\\]a-z\u{0}-\u{1f}]*".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::vec((prop_oneof![any::<String>(), "[a-z_.-]{1,8}"], inner), 0..8)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_value_reads_back(value in any_json()) {
            prop_assert_eq!(read_back(&xml(&value)), value);
        }
    }
}
