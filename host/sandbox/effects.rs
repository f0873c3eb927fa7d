//! What a call did besides answering, held until the outcome of its event is known.

/// Effects of one call, in the order they were made.
#[derive(Debug, Default)]
pub struct Effects {
    /// Changes of named sums.
    pub tallies: Vec<TallyChange>,
    /// Changes of metrics.
    pub metrics: Vec<MetricChange>,
    /// Lines for the journal; they lie in `journal_bytes`.
    pub journal: Vec<JournalLine>,
    /// The text of the lines, without line breaks.
    pub journal_bytes: Vec<u8>,
    /// Changes of state.
    pub state: Vec<StateWrite>,
}

impl Effects {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.tallies.clear();
        self.metrics.clear();
        self.journal.clear();
        self.journal_bytes.clear();
        self.state.clear();
    }

    /// Whether nothing was done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tallies.is_empty()
            && self.metrics.is_empty()
            && self.journal.is_empty()
            && self.state.is_empty()
    }

    /// Drops the effects of the events that `keep` refuses.
    pub fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        self.tallies.retain(|change| keep(change.event_index));
        self.metrics.retain(|change| keep(change.event_index));
        self.journal.retain(|line| keep(line.event_index));
        self.state.retain(|write| keep(write.event_index));
    }
}

/// One change of a named sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TallyChange {
    /// The event of the batch that it belongs to.
    pub event_index: u32,
    /// How the value joins the sum.
    pub op: TallyOp,
    /// The name of the sum.
    pub name: String,
    /// The value.
    pub value: i64,
}

/// How a value joins a sum. The operations commute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TallyOp {
    /// The sum of all.
    Add,
    /// The largest.
    Max,
    /// The smallest.
    Min,
}

impl TallyOp {
    /// Joins two values.
    #[must_use]
    pub fn join(self, a: i64, b: i64) -> i64 {
        match self {
            Self::Add => a.saturating_add(b),
            Self::Max => a.max(b),
            Self::Min => a.min(b),
        }
    }
}

/// One change of a metric of the plugin's own.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricChange {
    /// The event of the batch that it belongs to.
    pub event_index: u32,
    /// Counter, gauge or histogram.
    pub kind: MetricKind,
    /// Name without the plugin's prefix.
    pub name: String,
    /// Names and values of the labels.
    pub labels: Vec<(String, String)>,
    /// The value.
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

/// One line for the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalLine {
    /// The event of the batch that it belongs to.
    pub event_index: u32,
    /// Where the line starts in the bytes of the effects.
    pub start: usize,
    /// Its length in bytes.
    pub len: usize,
}

/// One change of state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateWrite {
    /// The event of the batch that it belongs to.
    pub event_index: u32,
    /// The full key, as the state source made it.
    pub key: Vec<u8>,
    /// The new value; none deletes.
    pub value: Option<Vec<u8>>,
    /// When the value runs out, in milliseconds since the Unix epoch; none is never.
    pub expires_ms: Option<u64>,
}

impl StateWrite {
    /// Key and value together, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Vec::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_stay_at_their_ends() {
        assert_eq!(TallyOp::Add.join(i64::MAX - 1, 5), i64::MAX);
        assert_eq!(TallyOp::Add.join(i64::MIN, -1), i64::MIN);
        assert_eq!(TallyOp::Add.join(i64::MAX, i64::MIN), -1);
        assert_eq!(TallyOp::Max.join(i64::MIN, i64::MAX), i64::MAX);
        assert_eq!(TallyOp::Min.join(i64::MIN, i64::MAX), i64::MIN);
    }
}
