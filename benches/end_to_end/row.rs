//! The rows of the end-to-end bench: who reads the topic. It must not know how.

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    Bare,
    Native,
    Millrace,
    NoDedup,
    TracedOne,
    TracedAll,
    FranzGo,
    Sarama,
    KafkaGo,
}

/// In the order in which they run.
pub(crate) const ROWS: [Row; 9] = [
    Row::Bare,
    Row::Native,
    Row::Millrace,
    Row::NoDedup,
    Row::TracedOne,
    Row::TracedAll,
    Row::FranzGo,
    Row::Sarama,
    Row::KafkaGo,
];

impl Row {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Native => "native",
            Self::Millrace => "millrace",
            Self::NoDedup => "no-dedup",
            Self::TracedOne => "traced-1",
            Self::TracedAll => "traced-100",
            Self::FranzGo => "franz-go",
            Self::Sarama => "sarama",
            Self::KafkaGo => "kafka-go",
        }
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Bare => "(a) bare `BaseConsumer` loop",
            Self::Native => "(b) the loop with the native handler, offsets stored",
            Self::Millrace => "(c) `millrace run`, everything on but tracing",
            Self::NoDedup => "(c2) the same without dedup",
            Self::TracedOne => "(c3) the same as (c) with tracing, 1 % sampled",
            Self::TracedAll => "(c4) with tracing, everything sampled",
            Self::FranzGo => "Go: franz-go, JSON parsed and counted, commits each second",
            Self::Sarama => "Go: sarama, the same",
            Self::KafkaGo => "Go: kafka-go, the same",
        }
    }

    /// The share of traces that is recorded; none where tracing is off.
    pub(crate) fn traced(self) -> Option<&'static str> {
        match self {
            Self::TracedOne => Some("0.01"),
            Self::TracedAll => Some("1"),
            _ => None,
        }
    }

    pub(crate) fn is_rival(self) -> bool {
        matches!(self, Self::FranzGo | Self::Sarama | Self::KafkaGo)
    }
}
