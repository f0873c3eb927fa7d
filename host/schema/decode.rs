//! What a decoder is: it shows a plugin another view of an event than the bytes that were read.

use std::fmt::Debug;

use super::{Event, Flaw};

/// The largest view of one event, in bytes of its value and headers. A few bytes can say a great deal in some formats,
/// and this is several times what a record may have.
pub(super) const VIEW_BYTES_MAX: usize = 16 << 20;

/// Turns events of a route into the view that its plugin is shown. One decoder serves every lane of its route at once.
///
/// A lane calls it for each event, between two events of other keys, each time that the event is about to run: after a
/// retry again. What goes to retry and dead-letter topics is always the record as it was read, so a decoder never has
/// to undo anything.
///
/// It must answer at once, because a lane does nothing else meanwhile: microseconds for what it knows, and never a wait
/// for a network, a disk or a lock that is held across one. Where it lacks something that has to be fetched, it has
/// that done by a thread of its own and answers [`Decoded::NotNow`] until it is there.
pub trait Decoder: Debug + Send + Sync {
    /// Decodes one event. A tombstone comes here too; mostly it is to be shown [`Decoded::AsIs`].
    fn decode(&self, event: &Event<'_>) -> Decoded;
}

/// What a decoder made of an event.
#[derive(Debug)]
pub enum Decoded {
    /// Its plugin is shown the record itself, at no cost.
    AsIs,
    /// Its plugin is shown this instead.
    View(View),
    /// It can never be decoded, now or later, here or elsewhere: it goes to the dead letters as it was read, at once.
    Invalid(Flaw),
    /// It cannot be decoded yet, for a reason outside of it. Its key waits so many milliseconds (10 to an hour), in log
    /// order with everything behind it, and is asked again for as long as it takes. This counts as no attempt, and is
    /// never a reason to give the event up.
    NotNow {
        /// How long to wait, in milliseconds. While a server is away, a growing wait is kind to it.
        after_ms: u64,
    },
}

/// What a plugin is shown in place of a record's value and headers. Key, timestamp and place stay the record's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// In place of the value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Added to the record's headers. All of the record's own that have one of these names are left out.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl View {
    /// Value and headers together, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| name.len() + len(value));
        len(&self.value) + headers.sum::<usize>()
    }

    /// The value of its last header of this name that has one.
    #[must_use]
    pub fn last(&self, name: &[u8]) -> Option<&[u8]> {
        let mut headers = self.headers.iter().rev();
        headers.find_map(|(own, value)| value.as_deref().filter(|_| own == name))
    }

    /// Whether it has a header of this name, which the record's own then make room for.
    #[must_use]
    pub fn replaces(&self, name: &[u8]) -> bool {
        self.headers.iter().any(|(own, _)| own == name)
    }
}
