//! The events of a batch as the plugin is shown them, where that is not as they were read. The batch keeps both: what
//! is sent to a retry or dead-letter topic is what was read.

use super::{Batch, EventView, HEADER_WORDS, pack_header, split_header};
use crate::sandbox::{SLOT_WORDS, Span};
use crate::schema::View;

/// Events in the form that a plugin takes.
#[derive(Debug, Default)]
pub(super) struct Packed {
    bytes: Vec<u8>,
    slots: Vec<u64>,
}

impl Packed {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.slots.clear();
    }

    fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn append(&mut self, part: Option<&[u8]>) -> Span {
        part.map_or(Span::NULL, |part| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(part);
            Span::new(start, part.len())
        })
    }

    /// Adds an event whose first words, up to the key, are these.
    fn push(
        &mut self,
        words: &[u64],
        (key, value): (Option<&[u8]>, Option<&[u8]>),
        headers: impl FnOnce(&mut Vec<u8>),
    ) {
        let (key, value) = (self.append(key), self.append(value));
        let start = self.bytes.len();
        headers(&mut self.bytes);
        let headers = match self.bytes.len() - start {
            0 => Span::NULL,
            len => Span::new(start, len),
        };
        self.slots.extend_from_slice(words);
        self.slots.extend([key.0, value.0, headers.0]);
    }
}

/// Words of a slot before its three spans.
const PLACE_WORDS: usize = SLOT_WORDS - 3;

impl Batch {
    /// Bytes and slots as the plugin is shown them.
    pub(crate) fn shown(&self) -> (&[u8], &[u64]) {
        if self.shown.is_empty() {
            (&self.bytes, &self.slots)
        } else {
            (&self.shown.bytes, &self.shown.slots)
        }
    }

    /// Shows these views of the events to the plugin, one place for each event; none is the record itself. Nothing may
    /// be added to the batch or dropped from it after this.
    pub(crate) fn show(&mut self, views: &[Option<View>]) {
        self.begin_showing();
        for (index, view) in views.iter().enumerate() {
            let event = event_in(&self.bytes, &self.slots, index);
            let words = &event.slot[..PLACE_WORDS];
            match view {
                None => self
                    .shown
                    .push(words, (event.key(), event.value()), |bytes| {
                        bytes.extend_from_slice(event.headers());
                    }),
                Some(view) => {
                    self.shown
                        .push(words, (event.key(), view.value.as_deref()), |bytes| {
                            pack_view_headers(bytes, event, view);
                        })
                }
            }
        }
    }

    /// Appends an event of another batch, with what the plugin is shown of it. All events of a batch come from batches
    /// of one kind: those that show something, or those that do not.
    pub(crate) fn push_from(&mut self, other: &Self, index: usize) {
        self.push_owned(&other.take_out(index, other.view(index).attempt()));
        if other.shown.is_empty() {
            return;
        }
        if self.shown.is_empty() {
            self.begin_showing();
        }
        let shown = event_in(&other.shown.bytes, &other.shown.slots, index);
        let words = &shown.slot[..PLACE_WORDS];
        self.shown
            .push(words, (shown.key(), shown.value()), |bytes| {
                bytes.extend_from_slice(shown.headers());
            });
    }

    fn begin_showing(&mut self) {
        let table = Span(self.slots[1]).of(&self.bytes).unwrap_or_default();
        self.shown.clear();
        self.shown.bytes.extend_from_slice(table);
        // A batch that took a longer table after it had begun has it elsewhere.
        let table = Span::new(0, table.len());
        self.shown.slots.extend([self.slots[0], table.0]);
    }
}

/// The record's headers without those that the view replaces, and then the view's.
fn pack_view_headers(bytes: &mut Vec<u8>, event: EventView<'_>, view: &View) {
    let mut rest = event.headers();
    while let Some((name, value, after)) = split_header(rest) {
        if !view.replaces(name) {
            pack_header(bytes, name, value);
        }
        rest = after;
    }
    for (name, value) in &view.headers {
        pack_header(bytes, name, value.as_deref());
    }
}

fn event_in<'a>(bytes: &'a [u8], slots: &'a [u64], index: usize) -> EventView<'a> {
    let start = HEADER_WORDS + index * SLOT_WORDS;
    EventView {
        bytes,
        slot: &slots[start..start + SLOT_WORDS],
    }
}
