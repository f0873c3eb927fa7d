//! What `millrace produce` has sent: counted, printed, and recorded line by line.
//!
//! It must not know how events are sent.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::Acknowledged;
use crate::sample::{Kind, Sample};

/// Counts of what was sent.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Everything.
    pub(super) total: u64,
    /// Well-formed events by type, each id once.
    by_type: BTreeMap<&'static str, u64>,
    duplicates: u64,
    malformed: u64,
}

impl Report {
    pub(super) fn count(&mut self, sample: &Sample) {
        self.total += 1;
        match sample.kind {
            Kind::Good => *self.by_type.entry(sample.event_type).or_default() += 1,
            Kind::Duplicate => self.duplicates += 1,
            Kind::Bad(_) => self.malformed += 1,
        }
    }

    pub(super) fn json(&self, seed: u64, seen: &Acknowledged, took: Duration) -> Value {
        json!({
            "total": self.total,
            "unique": self.by_type.values().sum::<u64>(),
            "by_event_type": self.by_type,
            "duplicates": self.duplicates,
            "malformed": self.malformed,
            "acknowledged": seen.events,
            "failed": self.total - seen.events,
            "failed_by_cause": seen.causes,
            "seed": seed,
            "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        })
    }

    pub(super) fn text(&self, seed: u64, seen: &Acknowledged, took: Duration) -> String {
        let acknowledged = seen.events;
        let mut rows = vec![
            ("sent", self.total),
            ("acknowledged", acknowledged),
            ("failed", self.total - acknowledged),
        ];
        let causes = seen.causes.iter();
        let causes: Vec<_> = causes
            .map(|(cause, n)| (format!("  {cause}"), *n))
            .collect();
        rows.extend(causes.iter().map(|(name, n)| (name.as_str(), *n)));
        rows.extend([
            ("duplicates", self.duplicates),
            ("malformed", self.malformed),
            ("unique, well-formed", self.by_type.values().sum()),
        ]);
        let types: Vec<_> = self
            .by_type
            .iter()
            .map(|(name, n)| (format!("  {name}"), *n))
            .collect();
        rows.extend(types.iter().map(|(name, n)| (name.as_str(), *n)));
        let mut text = String::new();
        for (name, count) in rows {
            // Writing to a string cannot fail.
            writeln!(text, "{name:<20} {count:>12}").unwrap_or_default();
        }
        #[allow(clippy::cast_precision_loss, reason = "a rate to look at")]
        let rate = acknowledged as f64 / took.as_secs_f64().max(1e-9);
        write!(
            text,
            "in {:.1} s, {rate:.0} a second, seed {seed}",
            took.as_secs_f64()
        )
        .unwrap_or_default();
        text
    }
}

/// Writes every event sent as a line of JSON, when a file was asked for.
pub(super) struct Recorder(Option<BufWriter<File>>);

impl Recorder {
    pub(super) fn new(file: Option<BufWriter<File>>) -> Self {
        Self(file)
    }

    pub(super) fn record(&mut self, sample: &Sample) -> anyhow::Result<()> {
        let Some(file) = &mut self.0 else {
            return Ok(());
        };
        serde_json::to_writer(
            &mut *file,
            &json!({
                "id": sample.id,
                "event_type": sample.event_type,
                "timestamp": sample.timestamp_ms,
                "kind": sample.kind.name(),
                "key": sample.key,
                "value": sample.value,
            }),
        )
        .and_then(|()| file.write_all(b"\n").map_err(serde_json::Error::io))
        .context("the record of sent events could not be written")
    }

    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        match &mut self.0 {
            Some(file) => file
                .flush()
                .context("the record of sent events could not be written"),
            None => Ok(()),
        }
    }
}
