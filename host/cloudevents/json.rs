//! The JSON form of CloudEvents: reads events in one pass, and writes them.
//!
//! It must not know what carries the JSON.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::attributes::refuse;
use super::{CloudEvent, JSON, NoCloudEvent, is_json};

/// Reads one event and checks it.
///
/// # Errors
/// Says why it is none.
pub fn read(json: &[u8]) -> Result<CloudEvent<'_>, NoCloudEvent> {
    let members = serde_json::from_slice::<Members<'_>>(json);
    let members =
        members.or_else(|error| refuse(format!("the event is no JSON object: {error}")))?;
    let event = members.into_event()?;
    event.check()?;
    Ok(event)
}

/// Takes a list of events apart; each is still to be read.
///
/// # Errors
/// It is no list.
pub fn read_batch(json: &[u8]) -> Result<Vec<&[u8]>, NoCloudEvent> {
    let list = serde_json::from_slice::<Vec<&RawValue>>(json);
    let list = list.or_else(|error| refuse(format!("the batch is no JSON array: {error}")))?;
    Ok(list
        .into_iter()
        .map(|event| event.get().as_bytes())
        .collect())
}

/// Writes an event as JSON. Attributes are strings, whatever type they had.
#[must_use]
pub fn write(event: &CloudEvent<'_>) -> Vec<u8> {
    let data_bytes = event.data.as_ref().map_or(0, |data| data.len());
    // Room for the usual attributes, and for data that grows by a third in base64.
    let mut json = Vec::with_capacity(256 + data_bytes + data_bytes / 2);
    json.push(b'{');
    for (name, value) in &event.attributes {
        push_member(&mut json, name, value);
    }
    if let Some(content_type) = &event.datacontenttype {
        push_member(&mut json, "datacontenttype", content_type);
    }
    if let Some(data) = &event.data {
        push_data(&mut json, data, event.datacontenttype.as_deref());
    }
    json.push(b'}');
    json
}

fn push_member(json: &mut Vec<u8>, name: &str, value: &str) {
    push_name(json, name);
    push_string(json, value);
}

fn push_name(json: &mut Vec<u8>, name: &str) {
    if json.len() > 1 {
        json.push(b',');
    }
    push_string(json, name);
    json.push(b':');
}

fn push_string(json: &mut Vec<u8>, text: &str) {
    // Writing text into memory cannot fail.
    let written = serde_json::to_writer(&mut *json, text);
    debug_assert!(written.is_ok());
}

/// JSON stays JSON where it is announced or nothing is; text stays text; anything else is base64.
fn push_data(json: &mut Vec<u8>, data: &[u8], content_type: Option<&str>) {
    if content_type.is_none_or(is_json) && serde_json::from_slice::<IgnoredAny>(data).is_ok() {
        push_name(json, "data");
        json.extend_from_slice(data);
        return;
    }
    let is_text = content_type.is_some_and(|content_type| {
        let start = content_type.as_bytes().get(..5);
        start.is_some_and(|start| start.eq_ignore_ascii_case(b"text/"))
    });
    match std::str::from_utf8(data) {
        Ok(text) if is_text => {
            push_name(json, "data");
            push_string(json, text);
        }
        _ => {
            push_name(json, "data_base64");
            push_string(json, &STANDARD.encode(data));
        }
    }
}

/// An event as its members stand in the JSON.
#[derive(Default)]
struct Members<'a> {
    attributes: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    datacontenttype: Option<Cow<'a, str>>,
    data: Option<&'a RawValue>,
    data_base64: Option<Cow<'a, str>>,
    /// The first thing that is JSON and breaks a rule.
    broken: Option<String>,
}

impl<'a> Members<'a> {
    fn into_event(self) -> Result<CloudEvent<'a>, NoCloudEvent> {
        if let Some(broken) = self.broken {
            return refuse(broken);
        }
        let mut content_type = self.datacontenttype;
        let says_json = content_type.as_deref().is_none_or(is_json);
        let data = match (self.data, self.data_base64) {
            (Some(_), Some(_)) => {
                return refuse("the event has `data` and `data_base64`; leave one out");
            }
            (None, None) => None,
            (None, Some(base64)) => match STANDARD.decode(base64.as_bytes()) {
                Ok(bytes) => Some(Cow::Owned(bytes)),
                Err(error) => return refuse(format!("`data_base64` is no base64: {error}")),
            },
            (Some(data), None) if says_json => {
                // What is implied here has to be said where the data stands alone.
                content_type.get_or_insert(Cow::Borrowed(JSON));
                Some(Cow::Borrowed(data.get().as_bytes()))
            }
            (Some(data), None) => text_of(data, content_type.as_deref().unwrap_or_default())?,
        };
        Ok(CloudEvent {
            attributes: self.attributes,
            datacontenttype: content_type,
            data,
        })
    }

    fn set(&mut self, name: Text<'a>, value: Scalar<'a>) {
        let value = match value {
            Scalar::Null => return,
            Scalar::Text(text) => text,
            Scalar::Flag(true) => Cow::Borrowed("true"),
            Scalar::Flag(false) => Cow::Borrowed("false"),
            Scalar::Number(number) => Cow::Owned(number.to_string()),
            Scalar::Other(what) => {
                let name = &name.0;
                self.broken.get_or_insert_with(|| {
                    format!("`{name}` is {what}; an attribute is a string, a boolean or a whole number of 32 bits")
                });
                return;
            }
        };
        let place = match &*name.0 {
            "datacontenttype" => &mut self.datacontenttype,
            "data_base64" => &mut self.data_base64,
            _ => return self.attributes.push((name.0, value)),
        };
        if place.replace(value).is_some() {
            self.broken
                .get_or_insert_with(|| format!("`{}` is there twice; leave one out", name.0));
        }
    }
}

/// Data that is no JSON is a string in the JSON.
fn text_of<'a>(
    data: &'a RawValue,
    content_type: &str,
) -> Result<Option<Cow<'a, [u8]>>, NoCloudEvent> {
    match serde_json::from_str(data.get()) {
        Ok(Scalar::Text(Cow::Borrowed(text))) => Ok(Some(Cow::Borrowed(text.as_bytes()))),
        Ok(Scalar::Text(Cow::Owned(text))) => Ok(Some(Cow::Owned(text.into_bytes()))),
        Ok(Scalar::Null) => Ok(None),
        _ => refuse(format!(
            "`datacontenttype` is {content_type:?}, so `data` has to be a string; write it as one, or the bytes as `data_base64`"
        )),
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Members::default();
                // Room for the usual attributes.
                members.attributes.reserve(8);
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    if name.0 == "data" {
                        if members.data.replace(map.next_value()?).is_some() {
                            return Err(A::Error::custom("`data` is there twice"));
                        }
                    } else {
                        members.set(name, map.next_value()?);
                    }
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// A string, borrowed unless it has escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What an attribute can be, and what it cannot.
enum Scalar<'a> {
    Null,
    Flag(bool),
    Number(i32),
    Text(Cow<'a, str>),
    /// Named for the message.
    Other(&'static str),
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Scalar<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Scalar::Null)
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
                Ok(Scalar::Flag(flag))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                Ok(number
                    .try_into()
                    .map_or(Scalar::Other("a larger number"), Scalar::Number))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(number
                    .try_into()
                    .map_or(Scalar::Other("a larger number"), Scalar::Number))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Scalar::Other("no whole number"))
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other("an array"))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other("an object"))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUIRED: &str = r#""specversion":"1.0","id":"1","source":"/s","type":"t""#;

    fn event(more: &str) -> String {
        format!("{{{REQUIRED}{more}}}")
    }

    #[track_caller]
    fn data(more: &str) -> (Option<String>, Option<Vec<u8>>) {
        let json = event(more);
        let event = read(json.as_bytes()).unwrap();
        (
            event.datacontenttype.map(Cow::into_owned),
            event.data.map(Cow::into_owned),
        )
    }

    #[track_caller]
    fn refused(json: &str, named: &str) {
        let message = read(json.as_bytes()).unwrap_err().to_string();
        assert!(message.contains(named), "{json}: {message}");
    }

    #[test]
    fn data_is_what_its_content_type_says() {
        let some =
            |content_type: &str, data: &[u8]| (Some(content_type.to_owned()), Some(data.to_vec()));
        assert_eq!(data(""), (None, None));
        assert_eq!(
            data(r#","data":{"a": [1.50]}"#),
            some("application/json", b"{\"a\": [1.50]}"),
            "JSON stays byte for byte as it is written"
        );
        assert_eq!(data(r#","data":null"#), some("application/json", b"null"));
        assert_eq!(data(r#","data":"s""#), some("application/json", b"\"s\""));
        assert_eq!(
            data(r#","datacontenttype":"application/xml","data":"<a b=\"c\"/>""#),
            some("application/xml", b"<a b=\"c\"/>")
        );
        assert_eq!(
            data(r#","data":{"a":1},"datacontenttype":"application/vnd.x+json;v=1""#),
            some("application/vnd.x+json;v=1", b"{\"a\":1}"),
            "the order of members does not matter"
        );
        assert_eq!(
            data(r#","datacontenttype":"image/png","data_base64":"/wA=""#),
            some("image/png", &[0xff, 0])
        );
        assert_eq!(
            data(r#","datacontenttype":"text/plain","data":null"#),
            (Some("text/plain".into()), None)
        );
        assert_eq!(
            data(r#","data_base64":null,"data":1"#),
            some("application/json", b"1"),
            "null means that it is not there"
        );
    }

    #[test]
    fn attributes_get_their_canonical_form() {
        let json = event(r#","flag":true,"count":-7,"none":null,"text":"\u00fc\"""#);
        let event = read(json.as_bytes()).unwrap();
        assert_eq!(event.attribute("flag"), Some("true"));
        assert_eq!(event.attribute("count"), Some("-7"));
        assert_eq!(event.attribute("none"), None);
        assert_eq!(event.attribute("text"), Some("ü\""));
    }

    #[test]
    fn what_is_no_event_is_refused_with_a_reason() {
        refused("", "no JSON object");
        refused("[]", "no JSON object");
        refused("{\"id\":\"1\"", "no JSON object");
        refused("{\"id\":\"\\ud800\"}", "no JSON object");
        refused("{}", "no `specversion`");
        refused(&event(r#","ext":{"a":1}"#), "`ext` is an object");
        refused(&event(r#","ext":[[1]]"#), "`ext` is an array");
        refused(&event(r#","ext":1.5"#), "`ext` is no whole number");
        refused(&event(r#","ext":2147483648"#), "`ext` is a larger number");
        refused(&event(r#","id":"2""#), "`id` is there twice");
        refused(&event(r#","data":1,"data":2"#), "`data` is there twice");
        refused(
            &event(r#","data":1,"data_base64":"""#),
            "`data` and `data_base64`",
        );
        refused(&event(r#","data_base64":"%""#), "no base64");
        refused(
            &event(r#","datacontenttype":"text/plain","data":{}"#),
            "`data` has to be a string",
        );
        refused(&event(r#","Ext":"1""#), "\"Ext\"");
    }

    #[test]
    fn a_batch_is_taken_apart_and_one_bad_event_harms_only_itself() {
        let json = format!(
            "[{}, {{\"id\":1}} ,{}]",
            event(""),
            event(r#","data":[1,2]"#)
        );
        let events = read_batch(json.as_bytes()).unwrap();
        let read: Vec<bool> = events.iter().map(|event| read(event).is_ok()).collect();
        assert_eq!(read, [true, false, true]);
        assert_eq!(read_batch(b" [] ").unwrap().len(), 0);
        assert!(read_batch(b"{}").is_err());
        assert!(read_batch(b"[1").is_err());
    }

    #[test]
    fn what_is_written_reads_the_same() {
        for (content_type, data, member) in [
            (
                Some("application/json"),
                Some(&b"{\"a\":1}"[..]),
                "\"data\":{\"a\":1}",
            ),
            (Some("application/json"), Some(b"{broken"), "data_base64"),
            (
                Some("text/plain"),
                Some("\u{fc}\"\n".as_bytes()),
                "\"data\":\"\u{fc}\\\"\\n\"",
            ),
            (Some("text/plain"), Some(b"\xff"), "data_base64"),
            (Some("image/png"), Some(b"abc"), "data_base64"),
            (Some("image/png"), Some(b""), "data_base64"),
            (None, None, "\"id\""),
        ] {
            let attributes = [
                ("specversion", "1.0"),
                ("id", "\"1"),
                ("source", "/s"),
                ("type", "t"),
            ];
            let event = CloudEvent {
                attributes: attributes
                    .map(|(name, value)| (name.into(), value.into()))
                    .to_vec(),
                datacontenttype: content_type.map(Cow::Borrowed),
                data: data.map(Cow::Borrowed),
            };
            let json = write(&event);
            let shown = String::from_utf8_lossy(&json);
            assert!(shown.contains(member), "{shown}");
            assert_eq!(read(&json).unwrap(), event, "{shown}");
        }
    }
}
