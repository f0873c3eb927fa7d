//! What `on_tick` sees: one topic-partition, the time, and its settled sums.

/// One call of `on_tick`: each `tick` of the configuration, for each partition that this host has, and once more
/// when the partition is given up.
///
/// ```
/// use millrace_sdk::{Failure, Output, Reason, Tick, testing};
///
/// fn on_tick(tick: &Tick<'_>) -> Result<Vec<Output>, Failure> {
///     let counts = tick.take("orders/").into_iter();
///     Ok(counts.map(|(name, n)| Output::new("order.counts", format!("{name} {n}"))).collect())
/// }
///
/// let sums = vec![("orders/NO".to_owned(), 2), ("other".to_owned(), 1)];
/// let (outputs, left) = testing::tick(sums, Reason::Interval, on_tick).unwrap();
/// assert_eq!(outputs[0].value.as_deref(), Some(&b"orders/NO 2"[..]));
/// assert_eq!(left, [("other".to_owned(), 1)]);
/// ```
#[derive(Debug)]
pub struct Tick<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) now_ms: i64,
    pub(crate) reason: Reason,
    pub(crate) take: fn(&str) -> Vec<(String, i64)>,
}

/// Why `on_tick` is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The configured interval has passed.
    Interval,
    /// The partition is given up in a rebalance.
    Revoked,
    /// The host shuts down.
    Shutdown,
}

impl Tick<'_> {
    /// The topic whose sums these are.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.topic
    }

    /// The partition whose sums these are.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The host's clock, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Why this call is made.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Moves every settled sum whose name starts with `prefix` to the caller. They become part of what
    /// this call returns: durable with its outputs, or still there when it fails.
    #[must_use]
    pub fn take(&self, prefix: &str) -> Vec<(String, i64)> {
        (self.take)(prefix)
    }
}
