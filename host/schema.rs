//! What an event must be before anybody handles it: decoding it into the view that its plugin is shown, and checking
//! that against rules. Bytes and headers go in, a judgement comes out. It must not know Kafka, plugins, lanes, or who
//! asks.
//!
//! A group prepares each event of a route that asks for it ([`Preparation`]); a gateway checks what it is about to
//! take in ([`Checker`]). Another way to decode is another [`Decoder`].

mod avro;
mod cloudevents;
pub mod confluent;
mod decode;
mod flaw;
mod json;
mod load;
mod preparation;
mod protobuf;
mod rule_set;
mod rules;
mod unfit;

pub use cloudevents::CloudEvents;
pub use confluent::{Unanswered, ask_registry};
pub use decode::{Decoded, Decoder, View};
pub use flaw::{Flaw, Stage};
pub use load::SchemaError;
pub use preparation::{Preparation, Prepared};
pub use rule_set::RuleSet;
pub use rules::{Checker, Place, Reloaded, Rules};

/// An event as it was read, or as it is about to be written.
#[derive(Clone, Copy)]
pub struct Event<'a> {
    /// The topic that it belongs to; of a copy in a retry topic, the topic that it came from.
    pub topic: &'a str,
    /// None is a null key.
    pub key: Option<&'a [u8]>,
    /// None is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: &'a dyn Headers,
}

impl std::fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let len = |bytes: Option<&[u8]>| bytes.map(<[u8]>::len);
        f.debug_struct("Event")
            .field("topic", &self.topic)
            .field("key_bytes", &len(self.key))
            .field("value_bytes", &len(self.value))
            .finish_non_exhaustive()
    }
}

/// The headers of an event, wherever they stand.
pub trait Headers {
    /// The value of the last header of this name that has one. Names are bytes, and case matters, as in Kafka.
    fn last(&self, name: &[u8]) -> Option<&[u8]>;
}

/// Headers in a list, as they lie in a record that was read.
#[derive(Debug, Clone, Copy)]
pub struct RecordHeaders<'a>(pub &'a [(Vec<u8>, Option<Vec<u8>>)]);

impl Headers for RecordHeaders<'_> {
    fn last(&self, wanted: &[u8]) -> Option<&[u8]> {
        let mut named = self.0.iter().rev();
        named.find_map(|(name, value)| value.as_deref().filter(|_| name == wanted))
    }
}

/// Headers as a gateway has them.
#[derive(Debug, Clone, Copy)]
pub struct HeaderList<'a>(pub &'a [(&'a str, Option<&'a [u8]>)]);

impl Headers for HeaderList<'_> {
    fn last(&self, wanted: &[u8]) -> Option<&[u8]> {
        let mut named = self.0.iter().rev();
        named.find_map(|(name, value)| value.filter(|_| name.as_bytes() == wanted))
    }
}

#[cfg(test)]
mod tests;
