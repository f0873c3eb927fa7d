//! How events from outside are written: the producer that the gateways and `millrace produce` share.
//!
//! It must not know how a client is made of this.

use std::time::Duration;

/// The producer of the gateways. The default keeps what they promise: an event is answered OK once every in-sync
/// replica has it, and is written once and in order whatever is sent again on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Producing {
    /// Who must have an event before it counts as acknowledged.
    pub acks: Acks,
    /// Whether the broker recognises what the producer sends again; only with [`Acks::All`].
    pub idempotence: bool,
    /// The most events of one request to one partition.
    pub batch_events: u32,
    /// The most bytes of them.
    pub batch_bytes: u32,
    /// How long an event may wait for others to go with it.
    pub linger: Duration,
    /// How batches are compressed.
    pub compression: Compression,
    /// Which partition an event goes to that names none.
    pub partitioning: Partitioning,
    /// How long an event may wait for its acknowledgement.
    pub delivery_timeout: Duration,
    /// The most events that the producer holds.
    pub queue_events: u32,
    /// The most bytes of them.
    pub queue_bytes: u64,
    /// How often the producer's own figures are taken; none takes none.
    pub statistics: Option<Duration>,
}

impl Default for Producing {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            idempotence: true,
            batch_events: 10_000,
            batch_bytes: 1_000_000,
            // Enough for a batch to form under load, and not felt by a lone publisher.
            linger: Duration::from_millis(2),
            compression: Compression::None,
            partitioning: Partitioning::Key,
            // A partition leader fails over in a few seconds; a single broker that was killed is let in again by its
            // controller after 9 s and was seen to take 15 s in all. Events survive both.
            delivery_timeout: Duration::from_secs(30),
            queue_events: 100_000,
            // Bounds the memory of everything unacknowledged.
            queue_bytes: 64 << 20,
            statistics: None,
        }
    }
}

/// Who must have an event before it counts as acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// All in-sync replicas.
    All,
    /// The leader of the partition; what it has not handed on is lost with it.
    Leader,
    /// Nobody: that it was sent is all that is known.
    Nobody,
}

impl Acks {
    /// As Kafka writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Leader => "1",
            Self::Nobody => "0",
        }
    }
}

/// How batches are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// As Kafka writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// Which partition an event goes to that names none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Partitioning {
    /// By the murmur2 hash of its key, as Java clients do; without a key one after the other, a batch at a time.
    Key,
    /// One after the other, event by event, whatever its key.
    RoundRobin,
    /// One partition until a batch is full or its time is over, whatever its key.
    Sticky,
    /// Every event must name its own.
    Explicit,
    /// By the murmur2 hash of a field of its value: a JSON pointer (RFC 6901), split at its slashes and unescaped.
    Field(Vec<String>),
}
