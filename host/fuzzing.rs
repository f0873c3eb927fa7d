//! Doors for the fuzz targets in `fuzz/`: each takes bytes that somebody else could have made, and checks that what is
//! read of them holds together. Only in builds with the feature `fuzzing`.

#![allow(
    clippy::missing_panics_doc,
    reason = "a panic is what a fuzz target is for"
)]

use std::path::Path;

use crate::config::{self, Dialect};
use crate::delivery::commit_map as map;
use crate::delivery::dead_letter::{self, Cause, Facts, Header};
use crate::delivery::offsets::{Offset, OffsetRange};
use crate::delivery::retry_copy::RetryCopy;

/// Everything that a plugin returns in the packed form.
pub fn packed(data: &[u8]) {
    let [events, outcomes, rest @ ..] = data else {
        return;
    };
    let words_max = rest.len() / 8;
    let (outcomes, events) = ((*outcomes as usize).min(words_max), *events as usize);
    let (words, bytes) = rest.split_at(words_max / 2 * 8);
    let words: Vec<u64> = words
        .chunks_exact(8)
        .filter_map(|word| Some(u64::from_le_bytes(word.try_into().ok()?)))
        .collect();
    let (outcomes, outputs) = words.split_at(outcomes.min(words.len()));
    crate::sandbox::fuzz_results(outcomes, outputs, bytes, events);
}

/// The headers of a record, and a batch of events with them.
pub fn batch(data: &[u8]) {
    crate::pipeline::fuzz_batch(data);
}

/// The text of a configuration.
pub fn config(text: &str) {
    let env = [("NAME".to_owned(), "value".to_owned())].into_iter();
    let read = config::parse(text, "fuzz.yaml", Path::new("/nowhere"), env, &[]);
    if let Err(error) = read {
        assert!(!error.to_string().is_empty(), "a refusal says something");
    }
}

/// The headers of dead letters and of retry copies.
pub fn headers(data: &[u8]) {
    let headers = header_list(data);
    if let Some(copy) = RetryCopy::read(&headers) {
        let again = copy.headers(headers.clone());
        assert_eq!(
            RetryCopy::read(&again),
            Some(copy),
            "what is written is read"
        );
    }
    let text = String::from_utf8_lossy(data);
    let facts = Facts {
        origin: ("topic", 1, Offset(2)),
        timestamp_ms: Some(3),
        group: "group",
        plugin: "plugin",
        version: &text,
        digest: &text,
        cause: Cause::Trap,
        code: &text,
        message: &text,
        frames: &[text.clone().into_owned()],
        attempts: 1,
        failed_at_ms: (4, 5),
        transcript: None,
    };
    for dialect in [
        Dialect::Millrace,
        Dialect::Spring,
        Dialect::Connect,
        Dialect::Streams,
    ] {
        let once = dead_letter::headers(headers.clone(), &facts, dialect);
        let own = |headers: &[Header]| {
            let own = headers
                .iter()
                .filter(|(name, _)| name.starts_with(b"millrace.dlq."));
            own.count()
        };
        let twice = dead_letter::headers(once.clone(), &facts, dialect);
        assert_eq!(own(&once), own(&twice), "the host's own are replaced");
    }
}

/// The value of a record that was written by a registered schema: Avro, Protobuf or JSON.
pub fn schemas(data: &[u8]) {
    crate::schema::confluent::fuzz_values(data);
}

/// The metadata of a commit.
pub fn commit_map(data: &[u8]) {
    let Some((first, rest)) = data.split_first_chunk::<8>() else {
        return;
    };
    // Offsets of Kafka are not negative.
    let committed = Offset(i64::from_le_bytes(*first) & i64::MAX);
    check_ranges(committed, &map::decode(committed, rest));
    for body in map::fuzz_bodies(committed, rest) {
        check_ranges(committed, &body);
        let claimed = joined(&body);
        let again = map::decode(committed, map::encode(committed, &body).as_bytes());
        for range in &again {
            let within =
                |known: &OffsetRange| known.first <= range.first && range.last <= known.last;
            assert!(claimed.iter().any(within), "{range:?} was never claimed");
        }
    }
}

fn check_ranges(committed: Offset, ranges: &[OffsetRange]) {
    let mut next = committed;
    for range in ranges {
        assert!(
            next <= range.first && range.first <= range.last,
            "{committed:?}: {ranges:?}"
        );
        next = Offset(range.last.0.saturating_add(1));
    }
}

/// Ranges that touch are one.
fn joined(ranges: &[OffsetRange]) -> Vec<OffsetRange> {
    let mut joined: Vec<OffsetRange> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.last.0.checked_add(1) == Some(range.first.0) => {
                last.last = range.last
            }
            _ => joined.push(*range),
        }
    }
    joined
}

/// Headers as a record could have them: a name from a few that matter or any other, and a value.
fn header_list(data: &[u8]) -> Vec<Header> {
    const NAMES: [&[u8]; 10] = [
        b"millrace.retry.origin.topic",
        b"millrace.retry.origin.partition",
        b"millrace.retry.origin.offset",
        b"millrace.retry.origin.timestamp",
        b"millrace.retry.attempt",
        b"millrace.retry.due-at",
        b"millrace.retry.first-failed-at",
        b"millrace.dlq.origin.topic",
        b"millrace.dlq.redrives",
        b"kafka_dlt-original-topic",
    ];
    let parts = data.split(|byte| *byte == b'\n');
    let header = |part: &[u8]| {
        let (which, value) = part.split_first()?;
        let name = match NAMES.get((*which).wrapping_sub(b'0') as usize) {
            Some(name) => name.to_vec(),
            None => part.to_vec(),
        };
        Some((name, (!value.is_empty()).then(|| value.to_vec())))
    };
    parts.filter_map(header).collect()
}
