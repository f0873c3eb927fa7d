//! CloudEvents 1.0: what an event is, its rules, and its two forms in a Kafka record.
//!
//! In binary mode the attributes are headers (`ce_id`) and the value is the data; in structured mode the whole
//! event is JSON in the value. Plain functions over bytes: it must not know HTTP, Kafka clients or plugins.

mod attributes;
mod json;

use std::borrow::Cow;

pub use self::json::{read, read_batch, write};

/// Prefix of attributes among the headers of a record.
pub const KAFKA_PREFIX: &str = "ce_";

/// The header of a record that carries `datacontenttype`, or says that the record is in structured mode.
pub const CONTENT_TYPE: &str = "content-type";

/// What the header [`CONTENT_TYPE`] says of a record in structured mode.
pub const STRUCTURED: &str = "application/cloudevents+json; charset=UTF-8";

/// The extension attribute that records can be keyed by.
pub const PARTITION_KEY: &str = "partitionkey";

/// The media type that data has where none is written, in the JSON form.
const JSON: &str = "application/json";

/// One event. What can be is borrowed from the bytes that it was read from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CloudEvent<'a> {
    /// Attributes by name, in the order written, without `datacontenttype`. Values are in the canonical form of
    /// their type.
    pub attributes: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The media type of the data.
    pub datacontenttype: Option<Cow<'a, str>>,
    /// The data; none is not the same as empty.
    pub data: Option<Cow<'a, [u8]>>,
}

/// Why something is no CloudEvent. The text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoCloudEvent(String);

impl CloudEvent<'_> {
    /// The value of an attribute, `datacontenttype` aside.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let mut attributes = self.attributes.iter();
        let found = attributes.find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_ref())
    }

    /// Holds the attributes against the rules of the specification.
    ///
    /// # Errors
    /// Names the first attribute that is missing or breaks a rule.
    pub fn check(&self) -> Result<(), NoCloudEvent> {
        attributes::check(self)
    }
}

/// How the media type of a record or request relates to CloudEvents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One event as JSON.
    Structured,
    /// A list of events as JSON; in HTTP only.
    Batch,
    /// A form of CloudEvents that is not spoken here.
    Foreign,
}

/// The form that a `content-type` announces; none where it speaks of the data only.
#[must_use]
pub fn form(content_type: &[u8]) -> Option<Form> {
    const PREFIX: &[u8] = b"application/cloudevents";
    let essence = content_type
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    let (prefix, rest) = essence.split_at_checked(PREFIX.len())?;
    if !prefix.eq_ignore_ascii_case(PREFIX) {
        return None;
    }
    if rest.eq_ignore_ascii_case(b"+json") {
        Some(Form::Structured)
    } else if rest.eq_ignore_ascii_case(b"-batch+json") {
        Some(Form::Batch)
    } else {
        Some(Form::Foreign)
    }
}

/// Whether a media type says that the data is JSON: its subtype is `json` or ends in `+json`.
#[must_use]
pub fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let Some((_, subtype)) = essence.split_once('/') else {
        return false;
    };
    let ending = subtype.rsplit('+').next().unwrap_or_default();
    ending.eq_ignore_ascii_case("json")
}

/// The name of the header that carries an attribute in a record. The usual ones cost no allocation.
#[must_use]
pub fn kafka_header(attribute: &str) -> Cow<'static, str> {
    Cow::Borrowed(match attribute {
        "specversion" => "ce_specversion",
        "id" => "ce_id",
        "source" => "ce_source",
        "type" => "ce_type",
        "subject" => "ce_subject",
        "time" => "ce_time",
        "dataschema" => "ce_dataschema",
        "partitionkey" => "ce_partitionkey",
        "traceparent" => "ce_traceparent",
        "tracestate" => "ce_tracestate",
        other => return Cow::Owned(format!("{KAFKA_PREFIX}{other}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_tells_the_form() {
        for (content_type, expected) in [
            ("application/cloudevents+json", Some(Form::Structured)),
            (
                "Application/CloudEvents+JSON; charset=UTF-8",
                Some(Form::Structured),
            ),
            ("application/cloudevents-batch+json", Some(Form::Batch)),
            ("application/cloudevents+avro", Some(Form::Foreign)),
            ("application/cloudevents", Some(Form::Foreign)),
            ("application/json", None),
            ("application/cloud", None),
            ("", None),
        ] {
            assert_eq!(form(content_type.as_bytes()), expected, "{content_type}");
        }
        assert_eq!(form(STRUCTURED.as_bytes()), Some(Form::Structured));
    }

    #[test]
    fn json_is_told_by_the_subtype() {
        for json in ["application/json", "text/JSON;charset=utf-8", "a/b+json"] {
            assert!(is_json(json), "{json}");
        }
        for other in [
            "application/xml",
            "json",
            "application/jsonl",
            "",
            "a/json+xml",
        ] {
            assert!(!is_json(other), "{other}");
        }
    }

    #[test]
    fn headers_carry_the_prefix_of_kafka() {
        assert_eq!(kafka_header("id"), "ce_id");
        assert_eq!(kafka_header("myext1"), "ce_myext1");
    }
}
