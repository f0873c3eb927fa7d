//! What was put back already. Beside each dead-letter topic `T` stands the compacted topic `T.redriven`, with one
//! record a letter: its key is the letter's place, and its value says what lay there and where it went. So the
//! dead-letter topic itself stays what it was, for whoever reads it, and compaction keeps this one small.

use std::collections::HashMap;

use serde_json::json;

use super::DeadLettersError;
use super::letter::Letter;
use crate::kafka::KafkaError;
use crate::kafka::producer::OutgoingRecord;
use crate::kafka::reader::{ReadRecord, Reader, Scan};
use crate::kafka::topics::{TopicSpec, Topics};

/// The letters of one topic that were put back. An entry takes about 32 bytes: three megabytes for a hundred thousand.
#[derive(Debug, Default)]
pub struct Redriven {
    /// By partition and offset: what lay there.
    letters: HashMap<(i32, i64), u64>,
}

/// Where it is remembered which letters of a topic were put back.
#[must_use]
pub fn marks_topic(letters_topic: &str) -> String {
    format!("{letters_topic}.redriven")
}

impl Redriven {
    /// Reads what was put back of a topic; nothing where nobody ever did.
    ///
    /// # Errors
    /// No broker answers, or the cluster refuses.
    pub fn load(reader: &Reader, letters_topic: &str) -> Result<Self, DeadLettersError> {
        let topic = marks_topic(letters_topic);
        let mut marks = Self::default();
        let Some(extents) = reader.extents(&topic)? else {
            return Ok(marks);
        };
        reader.scan(&topic, &extents, |record| {
            marks.read(&record);
            Ok::<_, KafkaError>(Scan::Continue)
        })?;
        Ok(marks)
    }

    /// Whether this very letter was put back.
    #[must_use]
    pub fn has(&self, letter: &Letter) -> bool {
        let place = (letter.record.partition, letter.record.offset);
        let what = self.letters.get(&place);
        what.is_some_and(|what| *what == letter.fingerprint())
    }

    /// The places that were put back, in no order.
    pub fn places(&self) -> impl Iterator<Item = (i32, i64)> {
        self.letters.keys().copied()
    }

    /// Records that no command has written are left alone.
    fn read(&mut self, record: &ReadRecord) {
        let text = |bytes: Option<&[u8]>| std::str::from_utf8(bytes?).ok().map(str::to_owned);
        let place = text(record.key.as_deref()).and_then(|key| {
            let (partition, offset) = key.split_once('/')?;
            Some((partition.parse().ok()?, offset.parse().ok()?))
        });
        let Some(place) = place else { return };
        let Some(value) = text(record.value.as_deref()) else {
            self.letters.remove(&place);
            return;
        };
        let value: serde_json::Value = serde_json::from_str(&value).unwrap_or_default();
        let letter = value["letter"].as_str();
        if let Some(what) = letter.and_then(|text| u64::from_str_radix(text, 16).ok()) {
            self.letters.insert(place, what);
        }
    }
}

/// The record that remembers that a letter was put back.
#[must_use]
pub(super) fn mark(letter: &Letter, to: &str, now_ms: u64) -> OutgoingRecord {
    let value = json!({
        "letter": format!("{:016x}", letter.fingerprint()),
        "to": to,
        "at_ms": now_ms,
    });
    OutgoingRecord {
        value: Some(value.to_string().into_bytes()),
        ..forgotten(
            &letter.record.topic,
            (letter.record.partition, letter.record.offset),
        )
    }
}

/// The record that forgets a letter, because it is not there any more.
#[must_use]
pub(super) fn forgotten(letters_topic: &str, (partition, offset): (i32, i64)) -> OutgoingRecord {
    OutgoingRecord {
        topic: marks_topic(letters_topic),
        partition: Some(0),
        key: Some(format!("{partition}/{offset}").into_bytes()),
        ..OutgoingRecord::default()
    }
}

/// Makes the topic that remembers, where it is missing.
///
/// # Errors
/// The cluster does not let this client make it; the message says which command does.
pub(super) fn ensure_marks_topic(
    topics: &Topics,
    letters_topic: &str,
) -> Result<(), DeadLettersError> {
    let name = marks_topic(letters_topic);
    if topics.describe(&name)?.is_some() {
        return Ok(());
    }
    let spec = TopicSpec {
        name: name.clone(),
        partitions: 1,
        replication: None,
        settings: vec![("cleanup.policy".to_owned(), "compact".to_owned())],
    };
    match topics.create(&spec) {
        Ok(()) | Err(KafkaError::TopicExists(_)) => Ok(()),
        Err(source) => Err(DeadLettersError::NoMarks { name, source }),
    }
}
