//! Effects of the current batch: merged in the guest, handed over in one call.
//!
//! Every function here writes to a buffer of this thread. An event's changes are undone when it fails.
//! This module must not know how the buffer reaches the host: a function that uses a capability leaves
//! its sink behind, so that a plugin imports only what it calls.

mod merged;

use std::cell::RefCell;
use std::fmt::Display;

use merged::Merged;

/// What a batch did, as it is handed to the host.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Effects {
    /// Merged changes of tallies.
    pub tallies: Vec<TallyChange>,
    /// Merged changes of metrics.
    pub metrics: Vec<MetricChange>,
    /// Journal lines one after the other.
    pub journal_bytes: Vec<u8>,
    /// Stride 2, then for each line the event index and its span; empty when there are none.
    pub journal_slots: Vec<u64>,
}

/// One change of a named sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TallyChange {
    /// An event of the batch with the topic-partition that the sum belongs to.
    pub event_index: u32,
    /// How the value joins the sum.
    pub operation: Operation,
    /// The name of the sum.
    pub name: String,
    /// The merged value.
    pub value: i64,
}

/// How a value joins a sum. The operations commute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// The sum of all values.
    Add,
    /// The largest value.
    Max,
    /// The smallest value.
    Min,
}

/// One change of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricChange {
    /// An event that made the change.
    pub event_index: u32,
    /// Counter, gauge or histogram.
    pub kind: MetricKind,
    /// Name without the plugin's prefix.
    pub name: String,
    /// Names and values of the labels.
    pub labels: Vec<(String, String)>,
    /// The merged value.
    pub value: f64,
}

/// The three kinds of metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Values add up.
    Counter,
    /// The last value stands.
    Gauge,
    /// Every value is observed.
    Histogram,
}

#[cfg(target_family = "wasm")]
type SendJournal = fn(&[u8], &[u64]);

/// How the parts of the buffer reach the host; absent for what the plugin does not use.
#[cfg(target_family = "wasm")]
#[derive(Default, Clone, Copy)]
pub(crate) struct Sinks {
    pub(crate) tallies: Option<fn(Vec<TallyChange>)>,
    pub(crate) metrics: Option<fn(Vec<MetricChange>)>,
    pub(crate) journal: Option<SendJournal>,
    /// Drops what the host holds of an event; set only while an event that wrote state is running.
    pub(crate) discard: Option<fn(u32)>,
}

#[derive(Default)]
struct Buffer {
    index: u32,
    place: u64,
    scratch: String,
    tallies: Merged<i64>,
    metrics: Merged<f64>,
    observations: Vec<MetricChange>,
    observations_kept: usize,
    journal_bytes: Vec<u8>,
    journal_slots: Vec<u64>,
    journal_kept: (usize, usize),
    #[cfg(target_family = "wasm")]
    sinks: Sinks,
}

thread_local! {
    static BUFFER: RefCell<Buffer> = RefCell::default();
}

fn with<T>(change: impl FnOnce(&mut Buffer) -> T) -> T {
    BUFFER.with(|buffer| change(&mut buffer.borrow_mut()))
}

/// The next effects belong to this event. `place` is the first word of its slot.
#[inline]
pub(crate) fn begin(index: u32, place: u64) {
    with(|b| (b.index, b.place) = (index, place));
}

/// The event of the last [`begin`].
#[cfg(target_family = "wasm")]
pub(crate) fn current_index() -> u32 {
    with(|b| b.index)
}

/// The running event writes state: should it fail, the host must forget it.
#[cfg(target_family = "wasm")]
pub(crate) fn discard_with(discard: fn(u32)) {
    with(|b| b.sinks.discard = Some(discard));
}

/// The event succeeded: its effects stand.
#[inline]
pub(crate) fn keep() {
    with(|b| {
        #[cfg(target_family = "wasm")]
        {
            b.sinks.discard = None;
        }
        b.tallies.keep();
        b.metrics.keep();
        b.observations_kept = b.observations.len();
        b.journal_kept = (b.journal_bytes.len(), b.journal_slots.len());
    });
}

/// The event failed: nothing of it stays.
pub(crate) fn undo() {
    with(|b| {
        b.tallies.undo();
        b.metrics.undo();
        b.observations.truncate(b.observations_kept);
        b.journal_bytes.truncate(b.journal_kept.0);
        b.journal_slots.truncate(b.journal_kept.1);
    });
    // State went to the host at once, where later events of the key would read it.
    #[cfg(target_family = "wasm")]
    if let (Some(discard), index) = with(|b| (b.sinks.discard.take(), b.index)) {
        discard(index);
    }
}

/// Hands what has been kept to the sinks, and forgets it.
#[cfg(target_family = "wasm")]
pub(crate) fn flush() {
    let sinks = with(|b| b.sinks);
    let effects = take();
    if let (Some(send), false) = (sinks.tallies, effects.tallies.is_empty()) {
        send(effects.tallies);
    }
    if let (Some(send), false) = (sinks.metrics, effects.metrics.is_empty()) {
        send(effects.metrics);
    }
    if let (Some(send), false) = (sinks.journal, effects.journal_slots.is_empty()) {
        send(&effects.journal_bytes, &effects.journal_slots);
    }
}

/// What has been kept since the last call; the buffer is empty afterwards.
pub(crate) fn take() -> Effects {
    with(|b| {
        let tallies = b.tallies.drain(|entry| TallyChange {
            event_index: entry.event_index,
            operation: [Operation::Add, Operation::Max, Operation::Min]
                [entry.operation as usize % 3],
            name: match entry.window {
                Some(start) => format!("{start}/{}", entry.name),
                None => entry.name.to_string(),
            },
            value: entry.value,
        });
        let mut metrics = b.metrics.drain(|entry| {
            let kind = [MetricKind::Counter, MetricKind::Gauge][entry.operation as usize % 2];
            metric_change(entry.event_index, kind, &entry.name, entry.value)
        });
        metrics.append(&mut b.observations);
        b.observations_kept = 0;
        b.journal_kept = (0, 0);
        Effects {
            tallies,
            metrics,
            journal_bytes: std::mem::take(&mut b.journal_bytes),
            journal_slots: std::mem::take(&mut b.journal_slots),
        }
    })
}

/// Names and labels share one string in the merge table, with this between them; it is legal in neither.
const SEPARATOR: char = '\u{1f}';

fn metric_change(event_index: u32, kind: MetricKind, joined: &str, value: f64) -> MetricChange {
    let mut parts = joined.split(SEPARATOR);
    let name = parts.next().unwrap_or_default().to_owned();
    let mut labels = Vec::new();
    while let (Some(label), Some(value)) = (parts.next(), parts.next()) {
        labels.push((label.to_owned(), value.to_owned()));
    }
    MetricChange {
        event_index,
        kind,
        name,
        labels,
        value,
    }
}

/// Named sums for each topic-partition, taken by `on_tick`. Needs the grant `tally`.
///
/// They settle together with the offsets of their events, so summed over distinct emissions they are exact. A sum
/// stays at the largest or the smallest `i64` instead of overflowing. A name is used with one operation only, and
/// `limits.tallies` (20 000) names may wait for a tick in each topic-partition.
///
/// ```
/// use millrace_sdk::{Event, Failure, tally, testing};
///
/// fn handle(event: &Event<'_>) -> Result<(), Failure> {
///     let bytes = event.value().unwrap_or_default().len() as i64;
///     tally::add(format_args!("bytes/{}", event.topic()), bytes);
///     tally::max("largest", bytes);
///     Ok(())
/// }
///
/// let (_, effects) = testing::run(&Event::of_value(b"four"), handle);
/// assert_eq!((effects.tallies[0].name.as_str(), effects.tallies[0].value), ("bytes/test", 4));
/// ```
pub mod tally {
    use std::fmt::Write as _;

    use super::{Buffer, Display, Operation, with};

    /// Adds to a sum. `name` may be `format_args!`, which allocates nothing.
    #[inline]
    pub fn add(name: impl Display, value: i64) {
        change(name, Operation::Add, value, |old| old.saturating_add(value));
    }

    /// Keeps the largest value.
    pub fn max(name: impl Display, value: i64) {
        change(name, Operation::Max, value, |old| old.max(value));
    }

    /// Keeps the smallest value.
    pub fn min(name: impl Display, value: i64) {
        change(name, Operation::Min, value, |old| old.min(value));
    }

    /// Adds to the sum named `START/NAME`. The name is written out once a batch and not for each event,
    /// which makes this the quickest way to count in windows.
    #[inline]
    pub fn add_in_window(window_start_ms: i64, name: &str, value: i64) {
        with(|b| {
            let key = (Operation::Add as u8, Some(window_start_ms));
            let join = |old: i64| old.saturating_add(value);
            b.tallies.change(b.place, key, name, b.index, value, join);
            register(b);
        });
    }

    #[inline]
    fn change(name: impl Display, operation: Operation, first: i64, join: impl FnOnce(i64) -> i64) {
        with(|b| {
            b.scratch.clear();
            // Writing to a String cannot fail; a Display that does is the caller's own bug.
            let _written = write!(b.scratch, "{name}");
            let key = (operation as u8, None);
            b.tallies
                .change(b.place, key, &b.scratch, b.index, first, join);
            register(b);
        });
    }

    #[inline]
    fn register(b: &mut Buffer) {
        #[cfg(target_family = "wasm")]
        {
            b.sinks.tallies = Some(crate::guest::send_tallies);
        }
        #[cfg(not(target_family = "wasm"))]
        let _ = b;
    }
}

/// Counters, gauges and histograms, exported by the host under the plugin's name. Needs the grant `metrics`.
///
/// A change counts when its event succeeds. `limits.series` (1 000) combinations of label values are kept; further
/// ones are counted and dropped. Use base units: seconds, bytes.
///
/// ```
/// use millrace_sdk::{Event, Failure, metrics, testing};
///
/// fn handle(event: &Event<'_>) -> Result<(), Failure> {
///     metrics::counter_add("events_total", &[("topic", event.topic())], 1.0);
///     metrics::histogram_observe("value_bytes", &[], event.value().unwrap_or_default().len() as f64);
///     Ok(())
/// }
///
/// let (_, effects) = testing::run(&Event::of_value(b"four"), handle);
/// assert_eq!(effects.metrics[1].value, 4.0);
/// ```
pub mod metrics {
    use super::{Buffer, MetricKind, SEPARATOR, metric_change, with};

    /// Adds to a counter. Names and label values follow Prometheus' rules.
    #[inline]
    pub fn counter_add(name: &str, labels: &[(&str, &str)], value: f64) {
        merge(MetricKind::Counter, name, labels, value, |old| old + value);
    }

    /// Sets a gauge.
    pub fn gauge_set(name: &str, labels: &[(&str, &str)], value: f64) {
        merge(MetricKind::Gauge, name, labels, value, |_| value);
    }

    /// Observes one value.
    pub fn histogram_observe(name: &str, labels: &[(&str, &str)], value: f64) {
        with(|b| {
            join(b, name, labels);
            let change = metric_change(b.index, MetricKind::Histogram, &b.scratch, value);
            b.observations.push(change);
            register(b);
        });
    }

    #[inline]
    fn merge(
        kind: MetricKind,
        name: &str,
        labels: &[(&str, &str)],
        first: f64,
        change: impl FnOnce(f64) -> f64,
    ) {
        with(|b| {
            join(b, name, labels);
            b.metrics
                .change(0, (kind as u8, None), &b.scratch, b.index, first, change);
            register(b);
        });
    }

    #[inline]
    fn join(b: &mut Buffer, name: &str, labels: &[(&str, &str)]) {
        b.scratch.clear();
        b.scratch.push_str(name);
        for (label, value) in labels {
            b.scratch.push(SEPARATOR);
            b.scratch.push_str(label);
            b.scratch.push(SEPARATOR);
            b.scratch.push_str(value);
        }
    }

    #[inline]
    fn register(b: &mut Buffer) {
        #[cfg(target_family = "wasm")]
        {
            b.sinks.metrics = Some(crate::guest::send_metrics);
        }
        #[cfg(not(target_family = "wasm"))]
        let _ = b;
    }
}

/// A file that the host owns, rotates and syncs: one line an event or more, exactly once, across a kill -9. Needs
/// the grant `journal`.
///
/// ```
/// use millrace_sdk::{Event, Failure, journal, testing};
///
/// fn handle(event: &Event<'_>) -> Result<(), Failure> {
///     journal::append(event.value().unwrap_or_default());
///     Ok(())
/// }
///
/// let (_, effects) = testing::run(&Event::of_value(b"paid 12"), handle);
/// assert_eq!(effects.journal_bytes, b"paid 12");
/// ```
pub mod journal {
    use super::with;

    const STRIDE: u64 = 2;

    /// Appends one line. A line break inside ends the plugin's call with an error, because one append is
    /// one line.
    pub fn append(line: impl AsRef<[u8]>) {
        let line = line.as_ref();
        with(|b| {
            if b.journal_slots.is_empty() {
                b.journal_slots.push(STRIDE);
            }
            let span = b.journal_bytes.len() as u64 | (line.len() as u64) << 32;
            b.journal_slots.extend([u64::from(b.index), span]);
            b.journal_bytes.extend_from_slice(line);
            #[cfg(target_family = "wasm")]
            {
                b.sinks.journal = Some(crate::guest::send_journal);
            }
        });
    }
}
