//! The rows of the settle store. Encoded as Protocol Buffers, so that a later version can add fields.

use prost::Message;

use crate::delivery::offsets::{Applied, Offset, OffsetRange};

/// What is known of one topic-partition.
#[derive(Clone, PartialEq, Message)]
pub struct PartitionRow {
    /// The last offset that the broker acknowledged as committed.
    #[prost(int64, optional, tag = "1")]
    pub acknowledged: Option<i64>,
    /// Everything below this offset is settled.
    #[prost(int64, optional, tag = "2")]
    pub settled_below: Option<i64>,
    /// First and last offset of each settled range above, in turn.
    #[prost(int64, repeated, tag = "3")]
    pub settled_ranges: Vec<i64>,
    /// The mark of the commit that the partition was taken up at, where an operator had set it.
    #[prost(uint64, optional, tag = "4")]
    pub taken_up_at_mark: Option<u64>,
}

impl PartitionRow {
    /// The row of a partition in this state.
    #[must_use]
    pub fn new(acknowledged: Option<Offset>, applied: &Applied) -> Self {
        Self {
            acknowledged: acknowledged.map(|offset| offset.0),
            settled_below: applied.below.map(|offset| offset.0),
            settled_ranges: applied
                .ranges
                .iter()
                .flat_map(|r| [r.first.0, r.last.0])
                .collect(),
            taken_up_at_mark: None,
        }
    }

    /// The same, of a partition that was taken up at a commit with this mark.
    #[must_use]
    pub fn taken_up_at(mut self, mark: Option<u64>) -> Self {
        self.taken_up_at_mark = mark;
        self
    }

    /// What was settled.
    #[must_use]
    pub fn applied(&self) -> Applied {
        Applied {
            below: self.settled_below.map(Offset),
            ranges: self
                .settled_ranges
                .chunks_exact(2)
                .map(|pair| OffsetRange {
                    first: Offset(pair[0]),
                    last: Offset(pair[1]),
                })
                .collect(),
        }
    }
}

/// A named sum of one plugin and topic-partition.
#[derive(Clone, PartialEq, Message)]
pub struct Sum {
    /// Name of the plugin.
    #[prost(string, tag = "1")]
    pub plugin: String,
    /// Name of the sum.
    #[prost(string, tag = "2")]
    pub name: String,
    /// 0 adds, 1 keeps the largest, 2 the smallest.
    #[prost(uint32, tag = "3")]
    pub operation: u32,
    /// The value.
    #[prost(sint64, tag = "4")]
    pub value: i64,
}

/// A record that a tick made, kept until the broker has acknowledged it and sent unchanged until then.
#[derive(Clone, PartialEq, Message)]
pub struct Emission {
    /// Number within the store; rises.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// The value of its `millrace.emission` header.
    #[prost(string, tag = "2")]
    pub id: String,
    /// Name of the plugin.
    #[prost(string, tag = "3")]
    pub plugin: String,
    /// Where it goes.
    #[prost(string, tag = "4")]
    pub topic: String,
    /// None lets the partitioner choose.
    #[prost(int32, optional, tag = "5")]
    pub partition: Option<i32>,
    /// The key.
    #[prost(bytes = "vec", optional, tag = "6")]
    pub key: Option<Vec<u8>>,
    /// The value.
    #[prost(bytes = "vec", optional, tag = "7")]
    pub value: Option<Vec<u8>>,
    /// Record time in milliseconds since the Unix epoch.
    #[prost(int64, optional, tag = "8")]
    pub timestamp_ms: Option<i64>,
    /// Headers of the plugin's own.
    #[prost(message, repeated, tag = "9")]
    pub headers: Vec<EmissionHeader>,
}

impl Emission {
    /// What its row takes, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.encoded_len()
    }
}

/// One header of an emission.
#[derive(Clone, PartialEq, Message)]
pub struct EmissionHeader {
    /// The name.
    #[prost(bytes = "vec", tag = "1")]
    pub name: Vec<u8>,
    /// The value; none is null.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub value: Option<Vec<u8>>,
}

/// How far a journal is vouched for.
#[derive(Clone, PartialEq, Message)]
pub(super) struct JournalRow {
    #[prost(uint64, tag = "1")]
    pub(super) segment: u64,
    #[prost(uint64, tag = "2")]
    pub(super) len_bytes: u64,
    #[prost(uint64, tag = "3")]
    pub(super) began_ms: u64,
}

/// One entry of plugin state.
#[derive(Clone, PartialEq, Message)]
pub(super) struct StateRow {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) value: Vec<u8>,
    #[prost(uint64, optional, tag = "2")]
    pub(super) expires_ms: Option<u64>,
}
