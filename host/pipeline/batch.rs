//! A packed batch: events in the form that a plugin takes, with what the host knows of each beside it.

mod shown;

use std::sync::Arc;

use self::shown::Packed;
use super::assignment::Assignment;
use super::identity::id_of;
use crate::config::IdSource;
use crate::delivery::dedup::EventId;
use crate::delivery::lanes::OrderGroup;
use crate::delivery::offsets::Offset;
use crate::sandbox::{SLOT_WORDS, Span};

/// Words before the first slot: the stride, and the span of the topic table.
const HEADER_WORDS: usize = 2;

/// What the host knows of one event of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventMeta {
    /// Place in the batch's list of assignments.
    pub(crate) assignment: u32,
    pub(crate) kind: EventKind,
    /// Number within the assignment; nothing for what is only seen.
    pub(crate) seq: u64,
    /// Where its record stands in the assignment's own topic; a retry copy shows its origin in its slot.
    pub(crate) offset: Offset,
    pub(crate) group: OrderGroup,
    /// Its id, where deduplication is on and it has one.
    pub(crate) id: Option<EventId>,
}

/// Why an event is in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// To be handled.
    New,
    /// Handled and committed long ago; deduplication learns its id.
    Seen,
    /// Settled before a crash; deduplication learns its id, and it is settled again.
    Recovered,
}

/// What goes into a slot besides the spans.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) topic_index: u32,
    pub(crate) partition: i32,
    pub(crate) offset: Offset,
    pub(crate) timestamp_ms: Option<i64>,
    pub(crate) attempt: u32,
}

/// An event that came back from a retry topic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ComeBack {
    /// Place in the batch's list of assignments.
    pub(crate) assignment: u32,
    pub(crate) seq: u64,
    /// Milliseconds since the Unix epoch.
    pub(crate) due_ms: u64,
    pub(crate) first_failed_ms: u64,
}

/// Events for one lane, in log order for every order group.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) slots: Vec<u64>,
    pub(crate) events: Vec<EventMeta>,
    pub(crate) assignments: Vec<Arc<Assignment>>,
    /// Of the events that came back from a retry topic, what their slots do not say.
    pub(crate) come_back: Vec<ComeBack>,
    /// The events as the plugin is shown them; no slots where that is as they were read.
    shown: Packed,
}

impl Batch {
    /// An empty batch with this topic table.
    pub(crate) fn new(topic_table: &[u8]) -> Self {
        let mut batch = Self::default();
        batch.begin(topic_table);
        batch
    }

    /// Empties the batch and keeps its memory.
    pub(crate) fn begin(&mut self, topic_table: &[u8]) {
        self.bytes.clear();
        self.slots.clear();
        self.events.clear();
        self.assignments.clear();
        self.come_back.clear();
        self.shown.clear();
        self.bytes.extend_from_slice(topic_table);
        self.slots
            .extend([SLOT_WORDS as u64, Span::new(0, topic_table.len()).0]);
    }

    /// Whether its topic table has this many bytes. Tables only grow, so that two of a group with as many are the same.
    pub(crate) fn has_topics_of(&self, table_len: usize) -> bool {
        (self.slots[1] >> 32) as usize == table_len
    }

    /// Gives it a topic table with further topics, whatever it holds.
    pub(crate) fn renew_topics(&mut self, topic_table: &[u8]) {
        if self.is_empty() {
            self.begin(topic_table);
            return;
        }
        self.slots[1] = Span::new(self.bytes.len(), topic_table.len()).0;
        self.bytes.extend_from_slice(topic_table);
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Appends an event, copying its bytes once. `headers` writes them in the packed form and says
    /// whether there were any.
    #[inline]
    pub(crate) fn push(
        &mut self,
        assignment: &Arc<Assignment>,
        (kind, seq, offset, group): (EventKind, u64, Offset, OrderGroup),
        place: Place,
        (key, value): (Option<&[u8]>, Option<&[u8]>),
        headers: impl FnOnce(&mut Vec<u8>),
    ) {
        let assignment_at = self.assignment_at(assignment);
        let key = self.append(key);
        let value = self.append(value);
        let start = self.bytes.len();
        headers(&mut self.bytes);
        let len = self.bytes.len() - start;
        let headers = if len == 0 {
            Span::NULL
        } else {
            Span::new(start, len)
        };
        self.slots.extend_from_slice(&[
            u64::from(place.topic_index) | u64::from(place.partition as u32) << 32,
            place.offset.0 as u64,
            place.timestamp_ms.unwrap_or(i64::MIN) as u64,
            u64::from(place.attempt) | u64::from(group.in_batch()) << 32,
            key.0,
            value.0,
            headers.0,
        ]);
        self.events.push(EventMeta {
            assignment: assignment_at,
            kind,
            seq,
            offset,
            group,
            id: None,
        });
    }

    /// Finds the id of the event that was pushed last, while its bytes are still near.
    #[inline]
    pub(crate) fn identify_last(&mut self, source: &IdSource) {
        let Some(last) = self.events.len().checked_sub(1) else {
            return;
        };
        let id = id_of(source, &self.view(last), self.events[last].group);
        self.events[last].id = id;
    }

    /// Appends an event that had been taken out of a batch.
    pub(crate) fn push_owned(&mut self, event: &OwnedEvent) {
        let (at, meta) = (event.view(), event.meta);
        self.push(
            &event.assignment,
            (meta.kind, meta.seq, meta.offset, meta.group),
            Place {
                topic_index: at.topic_index(),
                partition: at.partition(),
                offset: at.offset(),
                timestamp_ms: at.timestamp_ms(),
                attempt: at.attempt(),
            },
            (at.key(), at.value()),
            |bytes| bytes.extend_from_slice(at.headers()),
        );
        self.set_last_id(meta.id);
    }

    /// Sets the id of the event that was pushed last.
    pub(crate) fn set_last_id(&mut self, id: Option<EventId>) {
        if let Some(last) = self.events.last_mut() {
            last.id = id;
        }
    }

    /// Notes that the event that was pushed last came back from a retry topic.
    pub(crate) fn last_came_back(&mut self, due_ms: u64, first_failed_ms: u64) {
        if let Some(last) = self.events.last() {
            self.come_back.push(ComeBack {
                assignment: last.assignment,
                seq: last.seq,
                due_ms,
                first_failed_ms,
            });
        }
    }

    pub(crate) fn assignment_of(&self, meta: EventMeta) -> &Arc<Assignment> {
        &self.assignments[meta.assignment as usize]
    }

    pub(crate) fn view(&self, index: usize) -> EventView<'_> {
        let start = HEADER_WORDS + index * SLOT_WORDS;
        EventView {
            bytes: &self.bytes,
            slot: &self.slots[start..start + SLOT_WORDS],
        }
    }

    /// The record time of one event in milliseconds, 0 where it has none.
    pub(crate) fn record_ms(&self, index: usize) -> i64 {
        self.view(index).timestamp_ms().unwrap_or(0)
    }

    /// Takes a copy of one event out, with the given attempt.
    pub(crate) fn take_out(&self, index: usize, attempt: u32) -> OwnedEvent {
        let view = self.view(index);
        let mut event = OwnedEvent {
            assignment: Arc::clone(self.assignment_of(self.events[index])),
            meta: self.events[index],
            bytes: Vec::new(),
            slot: [0; SLOT_WORDS],
        };
        event.slot.copy_from_slice(view.slot);
        event.slot[3] = u64::from(attempt) | (view.slot[3] >> 32) << 32;
        let spans = [
            (4, view.key()),
            (5, view.value()),
            (6, view.packed_headers()),
        ];
        for (word, part) in spans {
            event.slot[word] = part
                .map_or(Span::NULL, |part| {
                    let start = event.bytes.len();
                    event.bytes.extend_from_slice(part);
                    Span::new(start, part.len())
                })
                .0;
        }
        event
    }

    /// Keeps the events for which `keep` says so, in their order.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Self, usize) -> bool) {
        let mut kept = 0;
        for index in 0..self.events.len() {
            if keep(self, index) {
                if kept != index {
                    let (from, to) = (
                        HEADER_WORDS + index * SLOT_WORDS,
                        HEADER_WORDS + kept * SLOT_WORDS,
                    );
                    self.slots.copy_within(from..from + SLOT_WORDS, to);
                    self.events[kept] = self.events[index];
                }
                kept += 1;
            }
        }
        self.events.truncate(kept);
        self.slots.truncate(HEADER_WORDS + kept * SLOT_WORDS);
    }

    fn append(&mut self, part: Option<&[u8]>) -> Span {
        part.map_or(Span::NULL, |part| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(part);
            Span::new(start, part.len())
        })
    }

    /// Records of one partition come in long runs, so the last one is nearly always right.
    fn assignment_at(&mut self, assignment: &Arc<Assignment>) -> u32 {
        let same = |known: &Arc<Assignment>| Arc::ptr_eq(known, assignment);
        if let Some(last) = self.events.last()
            && same(&self.assignments[last.assignment as usize])
        {
            return last.assignment;
        }
        let known = self.assignments.iter().position(same);
        known.unwrap_or_else(|| {
            self.assignments.push(Arc::clone(assignment));
            self.assignments.len() - 1
        }) as u32
    }
}

/// Reads one event in place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventView<'a> {
    bytes: &'a [u8],
    slot: &'a [u64],
}

impl<'a> EventView<'a> {
    pub(crate) fn topic_index(&self) -> u32 {
        self.slot[0] as u32
    }

    pub(crate) fn partition(&self) -> i32 {
        (self.slot[0] >> 32) as u32 as i32
    }

    pub(crate) fn offset(&self) -> Offset {
        Offset(self.slot[1] as i64)
    }

    pub(crate) fn timestamp_ms(&self) -> Option<i64> {
        Some(self.slot[2] as i64).filter(|timestamp| *timestamp != i64::MIN)
    }

    pub(crate) fn attempt(&self) -> u32 {
        self.slot[3] as u32
    }

    pub(crate) fn key(&self) -> Option<&'a [u8]> {
        Span(self.slot[4]).of(self.bytes)
    }

    pub(crate) fn value(&self) -> Option<&'a [u8]> {
        Span(self.slot[5]).of(self.bytes)
    }

    /// Headers in the packed form; empty when there are none.
    pub(crate) fn headers(&self) -> &'a [u8] {
        self.packed_headers().unwrap_or_default()
    }

    fn packed_headers(&self) -> Option<&'a [u8]> {
        Span(self.slot[6]).of(self.bytes)
    }

    /// Headers one by one, in place.
    pub(crate) fn each_header(
        &self,
    ) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let mut rest = self.headers();
        std::iter::from_fn(move || {
            let (name, value, after) = split_header(rest)?;
            rest = after;
            Some((name, value))
        })
    }

    /// Headers one by one.
    pub(crate) fn header_list(&self) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let own =
            |(name, value): (&[u8], Option<&[u8]>)| (name.to_vec(), value.map(<[u8]>::to_vec));
        self.each_header().map(own).collect()
    }

    /// The last header of that name with a value.
    pub(crate) fn header(&self, wanted: &[u8]) -> Option<&'a [u8]> {
        let of_name = self.each_header().filter(|(name, _)| *name == wanted);
        of_name.fold(None, |found, (_, value)| value.or(found))
    }
}

/// Writes one header in the packed form.
pub(crate) fn pack_header(bytes: &mut Vec<u8>, name: &[u8], value: Option<&[u8]>) {
    bytes.extend_from_slice(&(name.len() as u32).to_le_bytes());
    bytes.extend_from_slice(
        &value
            .map_or(u32::MAX, |value| value.len() as u32)
            .to_le_bytes(),
    );
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(value.unwrap_or_default());
}

type HeaderAndRest<'a> = (&'a [u8], Option<&'a [u8]>, &'a [u8]);

fn split_header(packed: &[u8]) -> Option<HeaderAndRest<'_>> {
    let (name_len, rest) = packed.split_first_chunk::<4>()?;
    let (value_len, rest) = rest.split_first_chunk::<4>()?;
    let (name, rest) = rest.split_at_checked(u32::from_le_bytes(*name_len) as usize)?;
    match u32::from_le_bytes(*value_len) {
        u32::MAX => Some((name, None, rest)),
        len => {
            let (value, rest) = rest.split_at_checked(len as usize)?;
            Some((name, Some(value), rest))
        }
    }
}

/// An event with its own bytes, held back for a retry.
#[derive(Debug)]
pub(crate) struct OwnedEvent {
    pub(crate) assignment: Arc<Assignment>,
    pub(crate) meta: EventMeta,
    bytes: Vec<u8>,
    slot: [u64; SLOT_WORDS],
}

impl OwnedEvent {
    pub(crate) fn view(&self) -> EventView<'_> {
        EventView {
            bytes: &self.bytes,
            slot: &self.slot,
        }
    }

    /// What it takes in memory, roughly.
    pub(crate) fn size_bytes(&self) -> usize {
        self.bytes.len() + size_of::<Self>()
    }
}

/// Takes headers apart that any bytes could be, and puts them together again.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_batch(data: &[u8]) {
    let span = Span::new(0, data.len());
    let slot = [0, 0, i64::MIN as u64, 1, span.0, Span::NULL.0, span.0];
    let event = EventView {
        bytes: data,
        slot: &slot,
    };
    let list = event.header_list();
    let mut packed = Vec::new();
    for (name, value) in &list {
        pack_header(&mut packed, name, value.as_deref());
        assert!(value.is_none() || event.header(name).is_some());
    }
    assert!(
        data.starts_with(&packed),
        "headers are read as they were written"
    );
    let words: Vec<u64> = data
        .chunks_exact(8)
        .filter_map(|word| Some(u64::from_le_bytes(word.try_into().ok()?)))
        .collect();
    for slot in words.chunks_exact(SLOT_WORDS) {
        let event = EventView { bytes: data, slot };
        let _read = (
            event.key(),
            event.value(),
            event.header_list(),
            event.timestamp_ms(),
        );
    }
}

#[cfg(test)]
mod tests;
