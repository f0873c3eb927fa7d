//! What was put back already. Beside each dead-letter topic `T` stands the compacted topic `T.redriven`, with one
//! record a letter: its key is the letter's place, and its value says what lay there and where it went. So the
//! dead-letter topic itself stays what it was, for whoever reads it, and compaction keeps this one small.
//!
//! A letter is remembered after its event was acknowledged, so a process that is killed leaves some that are not. Where
//! each target ended before the first event went there is written down first, and taken back at the end. The next
//! redrive that finds such a beginning reads on from there, and remembers what it finds: each event names its letter.

use std::collections::{BTreeMap, HashMap};

use serde_json::json;

use super::DeadLettersError;
use super::id::LetterId;
use super::letter::Letter;
use crate::config::redriven_topic;
use crate::delivery::dead_letter::REDRIVE_OF;
use crate::kafka::KafkaError;
use crate::kafka::producer::OutgoingRecord;
use crate::kafka::reader::{Extent, ReadRecord, Reader, Scan};
use crate::kafka::topics::{TopicSpec, Topics};

/// The letters of one topic that were put back. An entry takes about 32 bytes: three megabytes for a hundred thousand.
#[derive(Debug, Default)]
pub struct Redriven {
    /// By partition and offset: what lay there.
    letters: HashMap<(i32, i64), u64>,
    /// Targets of redrives that have not ended, and where each partition ended when they began.
    begun: BTreeMap<String, BTreeMap<i32, i64>>,
}

/// What the keys of beginnings begin with; no partition is called so.
const BEGUN: &str = "begun/";

impl Redriven {
    /// Reads what was put back of a topic; nothing where nobody ever did.
    ///
    /// # Errors
    /// No broker answers, or the cluster refuses.
    pub fn load(reader: &Reader, letters_topic: &str) -> Result<Self, DeadLettersError> {
        let topic = redriven_topic(letters_topic);
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

    /// Takes up what redrives have left that did not end: letters whose events are in their topics and that are not
    /// remembered. Returns what is to be written so that they are.
    ///
    /// # Errors
    /// No broker answers, or the cluster refuses.
    pub(super) fn recover(
        &mut self,
        reader: &Reader,
        letters_topic: &str,
    ) -> Result<Vec<OutgoingRecord>, DeadLettersError> {
        let mut records = Vec::new();
        for (target, began_at) in std::mem::take(&mut self.begun) {
            let mut extents = reader.extents(&target)?.unwrap_or_default();
            for extent in &mut extents {
                let from = began_at.get(&extent.partition).copied();
                extent.from = from.unwrap_or(extent.from).max(extent.from);
            }
            reader.scan(&target, &extents, |record| {
                if let Some((place, what)) = put_back_from(&record, letters_topic)
                    && self.letters.insert(place, what) != Some(what)
                {
                    records.push(mark_of(letters_topic, place, what, &target));
                }
                Ok::<_, KafkaError>(Scan::Continue)
            })?;
            records.push(ended(letters_topic, &target));
        }
        Ok(records)
    }

    /// Records that no command has written are left alone.
    fn read(&mut self, record: &ReadRecord) {
        let text = |bytes: Option<&[u8]>| std::str::from_utf8(bytes?).ok().map(str::to_owned);
        let Some(key) = text(record.key.as_deref()) else {
            return;
        };
        let value = text(record.value.as_deref());
        if let Some(target) = key.strip_prefix(BEGUN) {
            match value.and_then(|value| serde_json::from_str(&value).ok()) {
                Some(ends) => self.begun.insert(target.to_owned(), ends),
                None => self.begun.remove(target),
            };
            return;
        }
        let Some(place) = place_of(&key) else { return };
        let Some(value) = value else {
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

fn place_of(text: &str) -> Option<(i32, i64)> {
    let (partition, offset) = text.split_once('/')?;
    Some((partition.parse().ok()?, offset.parse().ok()?))
}

/// What an event says of the letter that it was put back from: where that lies, and what it is.
#[must_use]
pub(super) fn redrive_of(letter: &Letter) -> String {
    format!("{} {:016x}", letter.id(), letter.fingerprint())
}

/// The letter of this topic that a record was put back from.
fn put_back_from(record: &ReadRecord, letters_topic: &str) -> Option<((i32, i64), u64)> {
    let mut headers = record.headers.iter();
    let (_, value) = headers.rfind(|(name, _)| name == REDRIVE_OF.as_bytes())?;
    let (id, what) = std::str::from_utf8(value.as_deref()?)
        .ok()?
        .split_once(' ')?;
    let id: LetterId = id.parse().ok()?;
    let what = u64::from_str_radix(what, 16).ok()?;
    (id.topic == letters_topic).then_some(((id.partition, id.offset), what))
}

/// The record that remembers that a letter was put back.
#[must_use]
pub(super) fn mark(letter: &Letter, to: &str) -> OutgoingRecord {
    let place = (letter.record.partition, letter.record.offset);
    mark_of(&letter.record.topic, place, letter.fingerprint(), to)
}

fn mark_of(letters_topic: &str, place: (i32, i64), what: u64, to: &str) -> OutgoingRecord {
    let value = json!({ "letter": format!("{what:016x}"), "to": to });
    OutgoingRecord {
        value: Some(value.to_string().into_bytes()),
        ..forgotten(letters_topic, place)
    }
}

/// The record that says where a topic ended before the first event went there.
#[must_use]
pub(super) fn begun(letters_topic: &str, target: &str, extents: &[Extent]) -> OutgoingRecord {
    let ends = extents.iter().map(|it| (it.partition, it.end));
    let ends: BTreeMap<i32, i64> = ends.collect();
    OutgoingRecord {
        value: Some(json!(ends).to_string().into_bytes()),
        ..ended(letters_topic, target)
    }
}

/// The record that takes that back.
#[must_use]
pub(super) fn ended(letters_topic: &str, target: &str) -> OutgoingRecord {
    OutgoingRecord {
        topic: redriven_topic(letters_topic),
        partition: Some(0),
        key: Some(format!("{BEGUN}{target}").into_bytes()),
        ..OutgoingRecord::default()
    }
}

/// The record that forgets a letter, because it is not there any more.
#[must_use]
pub(super) fn forgotten(letters_topic: &str, (partition, offset): (i32, i64)) -> OutgoingRecord {
    OutgoingRecord {
        topic: redriven_topic(letters_topic),
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
    let name = redriven_topic(letters_topic);
    if topics.describe(&name)?.is_some() {
        return Ok(());
    }
    // As safe as the letters are.
    let letters = topics.describe(letters_topic)?;
    let replication = letters.and_then(|it| u16::try_from(it.replication).ok());
    let spec = TopicSpec {
        name: name.clone(),
        partitions: 1,
        replication: replication.filter(|replicas| *replicas > 0),
        settings: vec![("cleanup.policy".to_owned(), "compact".to_owned())],
    };
    match topics.create(&spec) {
        Ok(()) | Err(KafkaError::TopicExists(_)) => Ok(()),
        Err(source) => Err(DeadLettersError::NoMarks { name, source }),
    }
}
