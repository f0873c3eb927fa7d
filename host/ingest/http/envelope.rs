//! An event with what belongs to it, as a line of JSON.
//!
//! What can be is borrowed from the line. It must not know what becomes of an event.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::events::{Header, Incoming};

/// A line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    key: Option<Text<'a>>,
    #[serde(borrow, default)]
    key_base64: Option<Text<'a>>,
    /// `null` is a value here: it means a tombstone.
    #[serde(borrow, default, deserialize_with = "there")]
    value: Option<&'a RawValue>,
    #[serde(borrow, default)]
    value_base64: Option<Text<'a>>,
    #[serde(borrow, default)]
    headers: Headers<'a>,
    #[serde(default)]
    partition: Option<i32>,
    #[serde(default)]
    timestamp_ms: Option<i64>,
    #[serde(borrow, default)]
    idempotency_key: Option<Text<'a>>,
}

/// A string, borrowed unless it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Text<'a> {
    fn into_bytes(self) -> Cow<'a, [u8]> {
        match self.0 {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        }
    }
}

/// Headers in the order written; a name may come again.
#[derive(Default)]
struct Headers<'a>(Vec<Header<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Headers<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Headers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut headers = Headers::default();
                while let Some((name, value)) = map.next_entry::<Text<'_>, Option<Text<'_>>>()? {
                    headers.0.push((name.0, value.map(Text::into_bytes)));
                }
                Ok(headers)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

fn there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// Reads a line.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn read(line: &[u8]) -> Result<Incoming<'_>, String> {
    let envelope: Envelope<'_> = serde_json::from_slice(line)
        .map_err(|error| format!("the line is no envelope: {error}"))?;
    let key = match (envelope.key, envelope.key_base64) {
        (Some(_), Some(_)) => {
            return Err("the envelope has `key` and `key_base64`; leave one out".to_owned());
        }
        (key, None) => key.map(Text::into_bytes),
        (None, Some(key)) => Some(Cow::Owned(from_base64("key_base64", &key)?)),
    };
    let value = match (envelope.value, envelope.value_base64) {
        (Some(value), None) => {
            Some(Cow::Borrowed(value.get().as_bytes())).filter(|_| value.get() != "null")
        }
        (None, Some(value)) => Some(Cow::Owned(from_base64("value_base64", &value)?)),
        _ => {
            return Err(
                "the envelope needs either `value`, which is JSON and `null` for a tombstone, or `value_base64`"
                    .to_owned(),
            );
        }
    };
    Ok(Incoming {
        key,
        value,
        headers: envelope.headers.0,
        partition: envelope.partition,
        timestamp_ms: envelope.timestamp_ms,
        idempotency_key: envelope.idempotency_key.map(|key| key.0),
    })
}

fn from_base64(name: &str, text: &Text<'_>) -> Result<Vec<u8>, String> {
    let decoded = STANDARD.decode(text.0.as_bytes());
    decoded.map_err(|error| format!("`{name}` is no base64: {error}"))
}
