//! One dead letter, told whole: the event that it was, why it was given up, and what its plugin logged. It must not know
//! who is told.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::letter::Letter;
use crate::delivery::dead_letter::{PREFIX, TRANSCRIPT, fact};

/// How JSON begins that a value is told as; of keys and headers only what nobody would write as a string.
const ANY: &str = "{[-0123456789tf";
const COMPOUND: &str = "{[";

impl Letter {
    /// For programs. `decoded` is the value as its plugin is shown it, where that is another one.
    #[must_use]
    pub fn to_json(&self, redriven: bool, decoded: Option<&[u8]>) -> Value {
        let record = &self.record;
        let facts = self.facts().into_iter();
        let facts = facts.map(|(name, text)| (name, Value::from(text)));
        let transcript = self.transcript();
        json!({
            "id": self.id().to_string(),
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp_ms": record.timestamp_ms,
            "dead_letter": facts.collect::<Map<_, _>>(),
            "event": self.event(),
            "summary": self.summary(),
            "redriven": redriven,
            "decoded": decoded.map(json_or_text),
            "log_lines": log_lines(&transcript),
            "transcript": transcript,
        })
    }

    /// What the host wrote on it, by name without the prefix.
    #[must_use]
    pub fn facts(&self) -> Vec<(String, String)> {
        let headers = &self.record.headers;
        let names = headers.iter().filter_map(|(name, _)| {
            // It is told by what it says.
            if name == TRANSCRIPT.as_bytes() {
                return None;
            }
            let name = name.strip_prefix(PREFIX.as_bytes())?;
            String::from_utf8(name.to_vec()).ok()
        });
        names
            .filter_map(|name| Some((name.clone(), fact(headers, &name)?)))
            .collect()
    }

    /// The event that it was, where it first came from and without what the host wrote on it.
    fn event(&self) -> Value {
        let record = &self.record;
        let told = |name: &str| fact(&record.headers, name);
        let number = |name: &str| told(name).and_then(|text| text.parse::<i64>().ok());
        let origin = told("origin.topic");
        let (partition, offset) = match origin {
            Some(_) => (number("origin.partition"), number("origin.offset")),
            None => (Some(i64::from(record.partition)), Some(record.offset)),
        };
        let mut event = Map::new();
        let topic = origin.unwrap_or_else(|| record.topic.clone());
        event.insert("topic".to_owned(), topic.into());
        event.insert("partition".to_owned(), partition.into());
        event.insert("offset".to_owned(), offset.into());
        let timestamp_ms = number("origin.timestamp").or(record.timestamp_ms);
        event.insert("timestamp_ms".to_owned(), timestamp_ms.into());
        insert(&mut event, "key", record.key.as_deref(), COMPOUND);
        insert(&mut event, "value", record.value.as_deref(), ANY);
        let headers = record.headers.iter();
        let own = headers.filter(|(name, _)| !name.starts_with(PREFIX.as_bytes()));
        let own = own.map(|(name, value)| {
            let mut header = Map::new();
            insert(&mut header, "name", Some(name), "");
            insert(&mut header, "value", value.as_deref(), COMPOUND);
            Value::Object(header)
        });
        event.insert("headers".to_owned(), own.collect());
        Value::Object(event)
    }

    /// What the host answered in the last attempt, where the letter carries it.
    fn transcript(&self) -> Value {
        let mut headers = self.record.headers.iter();
        let found = headers.find(|(name, _)| name == TRANSCRIPT.as_bytes());
        let bytes = found.and_then(|(_, value)| value.as_deref());
        bytes.map_or(Value::Null, |bytes| {
            serde_json::from_slice(bytes).unwrap_or_default()
        })
    }
}

/// The lines among what a transcript tells.
fn log_lines(transcript: &Value) -> Vec<&str> {
    let answers = transcript["answers"].as_array();
    let answers = answers.into_iter().flatten();
    answers
        .filter_map(|answer| answer["log"].as_str())
        .collect()
}

/// Under `NAME` as JSON where that says the very same, else as text, else under `NAME_base64`.
fn insert(object: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>, as_json: &str) {
    let value = match bytes.map(std::str::from_utf8) {
        None => Value::Null,
        Some(Ok(text)) => exactly(text, as_json).unwrap_or_else(|| text.into()),
        Some(Err(_)) => {
            let encoded = STANDARD.encode(bytes.unwrap_or_default());
            object.insert(format!("{name}_base64"), encoded.into());
            return;
        }
    };
    object.insert(name.to_owned(), value);
}

/// A text as JSON that has every digit of its numbers, and no space that gets lost.
fn exactly(text: &str, as_json: &str) -> Option<Value> {
    let first = text.chars().next()?;
    let value: Value = as_json
        .contains(first)
        .then(|| serde_json::from_str(text).ok())??;
    (value.to_string().len() == text.len()).then_some(value)
}

fn json_or_text(value: &[u8]) -> Value {
    serde_json::from_slice(value).unwrap_or_else(|_| String::from_utf8_lossy(value).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::reader::ReadRecord;

    fn told(key: &[u8], value: &[u8], headers: &[(&str, &str)]) -> Value {
        let header = |(name, value): &(&str, &str)| {
            let value = Some(value.as_bytes().to_vec());
            (name.as_bytes().to_vec(), value)
        };
        let letter = Letter::new(ReadRecord {
            topic: "orders.dlq".to_owned(),
            partition: 1,
            offset: 5,
            timestamp_ms: Some(10),
            key: Some(key.to_vec()),
            value: Some(value.to_vec()),
            headers: headers.iter().map(header).collect(),
        });
        letter.to_json(false, Some(b"{\"seen\":1}"))
    }

    #[test]
    fn a_letter_is_told_as_the_event_that_it_was_with_what_the_host_knows_of_it() {
        let transcript = r#"{"answers":[{"wall-clock":1},{"log":"info no price"}]}"#;
        let told = told(
            b"7",
            b"{\"id\":7}",
            &[
                ("trace", "x"),
                ("millrace.dlq.origin.topic", "orders"),
                ("millrace.dlq.origin.partition", "3"),
                ("millrace.dlq.origin.offset", "77"),
                ("millrace.dlq.cause", "reject"),
                (TRANSCRIPT, transcript),
            ],
        );
        let event = json!({ "topic": "orders", "partition": 3, "offset": 77, "timestamp_ms": 10, "key": "7",
            "value": { "id": 7 }, "headers": [{ "name": "trace", "value": "x" }] });
        assert_eq!(told["event"], event);
        assert_eq!(told["dead_letter"]["cause"], "reject");
        assert_eq!(told["dead_letter"]["transcript"], Value::Null);
        assert_eq!(told["log_lines"], json!(["info no price"]));
        assert_eq!(told["decoded"], json!({ "seen": 1 }));
    }

    #[test]
    fn what_json_would_change_stays_text_and_what_is_no_text_is_base64() {
        for value in [
            "{ \"id\": 7}",
            "12345678901234567890123",
            "\"quoted\"",
            "no",
        ] {
            assert_eq!(
                told(b"k", value.as_bytes(), &[])["event"]["value"],
                value,
                "{value}"
            );
        }
        let told = told(b"\xff", b"\xfe\xff", &[]);
        assert_eq!(told["event"]["key_base64"], "/w==");
        assert_eq!(told["event"]["value_base64"], "/v8=");
        assert_eq!(
            told["event"]["topic"], "orders.dlq",
            "it is where it lies from"
        );
    }
}
