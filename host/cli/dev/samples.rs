//! Sample events that flow for as long as `millrace dev` runs, from a thread of their own.
//!
//! It must not know who reads them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;

use crate::config;
use crate::kafka::publisher::{Done, Outcome, Outgoing, PublishError, Publisher};
use crate::sample::{Kind, Sample, SampleSettings, Sampler};

/// Events are sent in groups this far apart: too short to be seen, and long enough for batches to form.
/// The embedded broker searches its batches from the oldest on at each fetch: when all its memory held
/// batches of one or two events, that took half a core.
const PULSE: Duration = Duration::from_millis(50);

/// When the queue is full there is a batch under way to the broker, which takes a millisecond or so.
const FULL_PAUSE: Duration = Duration::from_millis(1);

/// When the machine slept or the broker was slow, no more than this is caught up on. More would be a
/// flood that nobody asked for.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);

/// The broker is in this process and answers in milliseconds.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// What was sent so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Sent {
    /// All events.
    pub(super) total: u64,
    /// Well-formed ones, each id once.
    pub(super) good: u64,
    /// Exact repetitions of good ones.
    pub(super) duplicate: u64,
    /// Malformed ones.
    pub(super) bad: u64,
    /// Those that the broker has acknowledged.
    pub(super) acknowledged: u64,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    good: AtomicU64,
    duplicate: AtomicU64,
    bad: AtomicU64,
    acknowledged: AtomicU64,
    failure: OnceLock<String>,
}

/// Running sample events.
#[derive(Debug)]
pub(super) struct Samples {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl Samples {
    /// Begins to send `rate` events a second to a topic that exists.
    pub(super) fn start(
        kafka: &config::Kafka,
        topic: &str,
        rate: f64,
        settings: SampleSettings,
    ) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let sending = Sending {
            publisher: Publisher::new(kafka)?,
            topic: topic.to_owned(),
            sampler: Sampler::new(settings),
            shared: Arc::clone(&shared),
        };
        let thread = std::thread::Builder::new()
            .name("samples".to_owned())
            .spawn(move || sending.run(Budget::new(rate, Instant::now())))
            .context("no thread for the sample events")?;
        Ok(Self { shared, thread })
    }

    /// What was sent so far.
    pub(super) fn sent(&self) -> Sent {
        self.shared.sent()
    }

    /// Why the first event failed that did; none while all are acknowledged.
    pub(super) fn failure(&self) -> Option<&str> {
        self.shared.failure.get().map(String::as_str)
    }

    /// Sends no more, and waits until the broker has answered.
    pub(super) fn stop(self) -> Sent {
        self.shared.stop.store(true, Ordering::Relaxed);
        if self.thread.join().is_err() {
            tracing::error!("the sample events ended in a panic");
        }
        self.shared.sent()
    }
}

impl Shared {
    fn sent(&self) -> Sent {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (good, duplicate, bad) = (of(&self.good), of(&self.duplicate), of(&self.bad));
        Sent {
            total: good + duplicate + bad,
            good,
            duplicate,
            bad,
            acknowledged: of(&self.acknowledged),
        }
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

struct Sending {
    publisher: Publisher,
    topic: String,
    sampler: Sampler,
    shared: Arc<Shared>,
}

impl Sending {
    fn run(mut self, mut budget: Budget) {
        while !self.shared.is_stopping() {
            for _ in 0..budget.due(Instant::now()) {
                if !self.send() {
                    break;
                }
            }
            std::thread::sleep(PULSE);
        }
        // Whatever is not acknowledged by then shows in the counts.
        if let Err(error) = self.publisher.flush(FLUSH_TIMEOUT) {
            tracing::warn!(%error, "sample events were lost");
        }
    }

    /// Sends one event, and says whether another may follow.
    fn send(&mut self) -> bool {
        let sample = self.sampler.make();
        let Sample {
            kind, key, value, ..
        } = &sample;
        let event = Outgoing {
            topic: &self.topic,
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            ..Outgoing::default()
        };
        let mut done = self.answer();
        while let Err((error, returned)) = self.publisher.enqueue(&event, done) {
            if self.shared.is_stopping() {
                return false;
            }
            done = returned;
            if error != PublishError::Overloaded {
                done(Err(error));
                break;
            }
            std::thread::sleep(FULL_PAUSE);
        }
        let count = match kind {
            Kind::Good => &self.shared.good,
            Kind::Duplicate => &self.shared.duplicate,
            Kind::Bad(_) => &self.shared.bad,
        };
        count.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn answer(&self) -> Done {
        let shared = Arc::clone(&self.shared);
        Box::new(move |outcome: Outcome| match outcome {
            Ok(_) => {
                shared.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                shared.failure.get_or_init(|| error.to_string());
            }
        })
    }
}

/// How many events are due, at a steady rate.
struct Budget {
    rate: f64,
    since: Instant,
    taken: u64,
}

impl Budget {
    fn new(rate: f64, now: Instant) -> Self {
        Self {
            rate,
            since: now,
            taken: 0,
        }
    }

    /// Takes what is due by now.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "exact up to 9e15 events, and a float cast saturates"
    )]
    fn due(&mut self, now: Instant) -> u64 {
        let all = (now.duration_since(self.since).as_secs_f64() * self.rate) as u64;
        let due = all.saturating_sub(self.taken);
        let due_max = (CATCH_UP_MAX.as_secs_f64() * self.rate).max(1.0) as u64;
        self.taken = all;
        due.min(due_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_over_uneven_pulses_and_a_long_pause_is_not_caught_up_on() {
        let start = Instant::now();
        let mut budget = Budget::new(1_000.0, start);
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(budget.due(at(0)), 0);
        assert_eq!(budget.due(at(7)), 7);
        assert_eq!(budget.due(at(7)), 0);
        assert_eq!(budget.due(at(1_000)), 993);
        assert_eq!(budget.due(at(3_600_000)), 1_000);
        assert_eq!(budget.due(at(3_600_010)), 10);
    }

    #[test]
    fn a_rate_below_one_a_second_sends_too() {
        let start = Instant::now();
        let mut budget = Budget::new(0.5, start);
        let due = (0..=8).map(|second| budget.due(start + Duration::from_secs(second)));
        assert_eq!(due.sum::<u64>(), 4);
    }
}
