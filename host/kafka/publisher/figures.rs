//! The figures of the producer itself, taken from librdkafka's statistics at an interval.
//!
//! It must not know how figures are exported.

use rdkafka::Statistics;

/// Brokers that figures are kept of. Larger clusters exist, and a host writes to a part of them.
const BROKERS_MAX: usize = 64;

/// What the producer is doing, as of the last interval.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProducerFigures {
    /// Events that it holds.
    pub queue_events: u64,
    /// Bytes of them.
    pub queue_bytes: u64,
    /// Events sent since it was started.
    pub sent_events: u64,
    /// Bytes of them.
    pub sent_bytes: u64,
    /// Requests that were sent again.
    pub retries: u64,
    /// Events of a batch, on average over the topics that were written to.
    pub batch_events: f64,
    /// Bytes of a batch, the same.
    pub batch_bytes: f64,
    /// Brokers by number, and the seconds that their answers took: on average, and 99 of 100.
    pub round_trips: Vec<(i32, f64, f64)>,
}

impl From<Statistics> for ProducerFigures {
    fn from(read: Statistics) -> Self {
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        let seconds = |microseconds: i64| microseconds.max(0) as f64 / 1e6;
        let mean = |windows: &mut dyn Iterator<Item = (i64, i64)>| {
            let (sum, batches) = windows.fold((0, 0), |(sum, n), (s, c)| (sum + s, n + c));
            if batches > 0 {
                sum as f64 / batches as f64
            } else {
                0.0
            }
        };
        let topics = || read.topics.values();
        let mut round_trips: Vec<_> = read
            .brokers
            .values()
            .filter(|broker| broker.nodeid >= 0)
            .filter_map(|broker| {
                let rtt = broker.rtt.as_ref().filter(|rtt| rtt.cnt > 0)?;
                Some((broker.nodeid, seconds(rtt.avg), seconds(rtt.p99)))
            })
            .collect();
        round_trips.sort_by_key(|(broker, ..)| *broker);
        round_trips.truncate(BROKERS_MAX);
        Self {
            queue_events: read.msg_cnt,
            queue_bytes: read.msg_size,
            sent_events: count(read.txmsgs),
            sent_bytes: count(read.txmsg_bytes),
            retries: read.brokers.values().map(|broker| broker.txretries).sum(),
            batch_events: mean(&mut topics().map(|topic| (topic.batchcnt.sum, topic.batchcnt.cnt))),
            batch_bytes: mean(
                &mut topics().map(|topic| (topic.batchsize.sum, topic.batchsize.cnt)),
            ),
            round_trips,
        }
    }
}
