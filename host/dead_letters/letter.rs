//! A dead letter: a record, and what it says of itself.

use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::Xxh3;

use super::id::LetterId;
use super::signature::signature_of;
use crate::delivery::dead_letter::Account;
use crate::kafka::reader::ReadRecord;

/// A record of a dead-letter topic.
#[derive(Debug, Clone)]
pub struct Letter {
    /// As it lies there.
    pub record: ReadRecord,
    /// What it says of itself; none where nobody gave it up who is known.
    pub account: Option<Account>,
}

impl Letter {
    /// Reads what a record says of itself.
    #[must_use]
    pub fn new(record: ReadRecord) -> Self {
        let account = Account::read(&record.headers);
        Self { record, account }
    }

    /// Where it lies.
    #[must_use]
    pub fn id(&self) -> LetterId {
        LetterId {
            topic: self.record.topic.clone(),
            partition: self.record.partition,
            offset: self.record.offset,
        }
    }

    /// When it was given up, in milliseconds since the Unix epoch; the time of its record where it does not say.
    #[must_use]
    pub fn failed_at_ms(&self) -> Option<i64> {
        let told = self.account.as_ref().and_then(|it| it.failed_at_ms.1);
        told.or(self.record.timestamp_ms)
    }

    /// What it shares with failures of the same reason; none where it says nothing of itself.
    #[must_use]
    pub fn signature(&self) -> Option<String> {
        self.account.as_ref().map(signature_of)
    }

    /// Tells it from another letter that lay at the same place before the topic was made anew.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let record = &self.record;
        let mut hash = Xxh3::new();
        let mut part = |bytes: Option<&[u8]>| {
            let len = bytes.map_or(-1, |bytes| bytes.len() as i64);
            hash.update(&len.to_le_bytes());
            hash.update(bytes.unwrap_or_default());
        };
        part(record.key.as_deref());
        part(record.value.as_deref());
        for (name, value) in &record.headers {
            part(Some(name));
            part(value.as_deref());
        }
        hash.digest()
    }

    /// What is told of it in a list: everything but its value and its own headers.
    #[must_use]
    pub fn summary(&self) -> Value {
        let mut told = json!({
            "id": self.id().to_string(),
            "timestamp_ms": self.record.timestamp_ms,
            "failed_at_ms": self.failed_at_ms(),
            "key": self.record.key.as_deref().map(String::from_utf8_lossy),
            "signature": self.signature(),
        });
        if let (Some(account), Some(told)) = (&self.account, told.as_object_mut()) {
            told.extend(account_in_json(account));
        }
        told
    }

    /// The record as one line of JSON that `millrace dlq import` writes back byte for byte: texts as they are, and
    /// anything else in base64.
    #[must_use]
    pub fn line(&self) -> String {
        let record = &self.record;
        let mut line = Map::new();
        line.insert("topic".to_owned(), record.topic.as_str().into());
        line.insert("partition".to_owned(), record.partition.into());
        line.insert("offset".to_owned(), record.offset.into());
        if let Some(timestamp_ms) = record.timestamp_ms {
            line.insert("timestamp_ms".to_owned(), timestamp_ms.into());
        }
        insert_bytes(&mut line, "key", record.key.as_deref());
        insert_bytes(&mut line, "value", record.value.as_deref());
        let header = |(name, value): &(Vec<u8>, Option<Vec<u8>>)| {
            let mut header = Map::new();
            insert_bytes(&mut header, "name", Some(name));
            insert_bytes(&mut header, "value", value.as_deref());
            Value::Object(header)
        };
        line.insert(
            "headers".to_owned(),
            record.headers.iter().map(header).collect(),
        );
        Value::Object(line).to_string()
    }
}

fn account_in_json(account: &Account) -> Map<String, Value> {
    let origin = account.origin.as_ref();
    let origin = origin.map(|(topic, partition, offset)| {
        json!({ "topic": topic, "partition": partition, "offset": offset })
    });
    let told = json!({
        "cause": account.cause,
        "code": account.code,
        "message": account.message,
        "group": account.group,
        "plugin": account.plugin,
        "origin": origin,
        "attempts": account.attempts,
        "first_failed_at_ms": account.failed_at_ms.0,
        "redrives": account.redrives,
    });
    match told {
        Value::Object(told) => told,
        _ => Map::new(),
    }
}

/// Under `NAME` as text, or under `NAME_base64`.
fn insert_bytes(object: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let (name, value) = match bytes.map(std::str::from_utf8) {
        None => (name.to_owned(), Value::Null),
        Some(Ok(text)) => (name.to_owned(), text.into()),
        Some(Err(_)) => {
            let encoded = STANDARD.encode(bytes.unwrap_or_default());
            (format!("{name}_base64"), encoded.into())
        }
    };
    object.insert(name, value);
}
