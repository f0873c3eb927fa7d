//! Keys, values and headers as a scenario writes them and as a difference shows them. It must not know what they are
//! compared for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use crate::config::tree::{Node, Scalar, Value};

/// Bytes that are expected.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// None: a null.
    Null,
    /// These bytes.
    Bytes(Vec<u8>),
    /// A JSON value, however it is spelled.
    Json(Json),
}

impl Wanted {
    /// What a value of the document stands for: a text its own bytes, a list or a section JSON.
    pub(super) fn of(node: &Node) -> Self {
        match &node.value {
            Value::Null | Value::Bad => Self::Null,
            Value::Scalar(scalar) => Self::Bytes(scalar.text.clone().into_bytes()),
            Value::List(_) | Value::Map(_) => {
                // What was rendered as JSON reads as JSON.
                Self::Json(serde_json::from_str(&json_of(node)).unwrap_or_default())
            }
        }
    }

    /// Whether these bytes are what is expected.
    #[must_use]
    pub fn is(&self, actual: Option<&[u8]>) -> bool {
        match (self, actual) {
            (Self::Null, None) => true,
            (Self::Bytes(wanted), Some(actual)) => wanted == actual,
            (Self::Json(wanted), Some(actual)) => {
                serde_json::from_slice::<Json>(actual).is_ok_and(|actual| actual == *wanted)
            }
            _ => false,
        }
    }

    /// As it stands in a difference.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bytes(bytes) => shown(Some(bytes)),
            Self::Json(json) => json.to_string(),
        }
    }
}

/// Bytes as they stand in a difference: JSON as it is, other text in quotes, anything else in base64.
pub(super) fn shown(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else {
        return "null".to_owned();
    };
    let Ok(text) = std::str::from_utf8(bytes) else {
        return format!("base64 {}", STANDARD.encode(bytes));
    };
    let structured = text.starts_with(['{', '[']);
    match serde_json::from_str::<Json>(text) {
        Ok(json) if structured => json.to_string(),
        _ => Json::from(text).to_string(),
    }
}

/// A value of the document as JSON text. Words without quotes that JSON knows as numbers or truths are those.
pub(super) fn json_of(node: &Node) -> String {
    match &node.value {
        Value::Null | Value::Bad => "null".to_owned(),
        Value::Scalar(scalar) => scalar_in_json(scalar),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(json_of).collect();
            format!("[{}]", items.join(","))
        }
        Value::Map(entries) => {
            let member = |key: &str, value| format!("{}:{}", Json::from(key), json_of(value));
            let members = entries.iter().map(|entry| member(&entry.key, &entry.value));
            let members: Vec<String> = members.collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

fn scalar_in_json(scalar: &Scalar) -> String {
    let text = &scalar.text;
    let is_json = !scalar.quoted
        && matches!(
            serde_json::from_str::<Json>(text),
            Ok(Json::Number(_) | Json::Bool(_))
        );
    if is_json {
        text.clone()
    } else {
        Json::from(text.as_str()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::finding::Findings;
    use crate::config::tree;

    fn node(text: &str) -> Node {
        tree::parse(&format!("a: {text}"), &mut Findings::new("f"))
            .map(|root| match root.value {
                Value::Map(mut entries) => entries.remove(0).value,
                _ => panic!("a mapping"),
            })
            .unwrap()
    }

    #[test]
    fn a_value_keeps_its_digits_and_its_words() {
        assert_eq!(
            json_of(&node(
                "{ n: 1.10, big: 12345678901234567890123, t: true, s: \"1\", w: 007, z: ~ }"
            )),
            r#"{"n":1.10,"big":12345678901234567890123,"t":true,"s":"1","w":"007","z":null}"#
        );
    }

    #[test]
    fn json_is_compared_by_what_it_says_and_text_by_its_bytes() {
        let wanted = Wanted::of(&node("{ b: 1, a: [x] }"));
        assert!(wanted.is(Some(br#"{ "a": ["x"], "b": 1 }"#)));
        assert!(!wanted.is(Some(br#"{ "a": ["x"], "b": 2 }"#)));
        assert!(!wanted.is(Some(b"not json")) && !wanted.is(None));
        assert!(Wanted::of(&node("12")).is(Some(b"12")));
        assert!(!Wanted::of(&node("12")).is(Some(b"12.0")));
        assert!(Wanted::of(&node("~")).is(None));
        assert!(!Wanted::of(&node("\"\"")).is(None) && Wanted::of(&node("\"\"")).is(Some(b"")));
    }

    #[test]
    fn bytes_are_shown_so_that_they_can_be_told_apart() {
        assert_eq!(shown(None), "null");
        assert_eq!(shown(Some(b"null")), "\"null\"");
        assert_eq!(shown(Some(b"{ \"a\": 1 }")), "{\"a\":1}");
        assert_eq!(shown(Some(b"1")), "\"1\"");
        assert_eq!(shown(Some(&[255])), "base64 /w==");
    }
}
