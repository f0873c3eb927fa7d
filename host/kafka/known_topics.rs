//! What was learned about topics, for a while.
//!
//! A publisher asks this before each event, so that an unknown topic is refused at once instead of
//! waiting in librdkafka's queue until its time is over. It must not talk to a broker itself.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Clients choose the names they ask for, so what is remembered is bounded. Real clusters have fewer
/// topics than this; beyond it, everything is forgotten and learned again.
const TOPICS_MAX: usize = 10_000;

/// Long enough that a client in a loop does not become a metadata request each time, short enough
/// that a topic just created is found soon.
const ABSENCE: Duration = Duration::from_secs(2);

/// What is known of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Knowledge {
    /// It exists.
    Exists,
    /// It did not exist a moment ago.
    Absent,
    /// The broker did not say, a moment ago.
    NoAnswer,
}

/// A bounded memory of topics.
#[derive(Debug, Default)]
pub(super) struct KnownTopics(RwLock<HashMap<String, (Knowledge, Instant)>>);

impl KnownTopics {
    /// What is known at `now`, if anything. An existing topic is known until it is forgotten.
    pub(super) fn get(&self, topic: &str, now: Instant) -> Option<Knowledge> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (knowledge, learned) = known.get(topic)?;
        let fresh = *knowledge == Knowledge::Exists || now.duration_since(*learned) < ABSENCE;
        fresh.then_some(*knowledge)
    }

    /// Remembers what was learned at `now`.
    pub(super) fn learn(&self, topic: &str, knowledge: Knowledge, now: Instant) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= TOPICS_MAX && !known.contains_key(topic) {
            known.clear();
        }
        known.insert(topic.to_owned(), (knowledge, now));
    }

    /// Forgets a topic that the broker no longer knows.
    pub(super) fn forget(&self, topic: &str) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(topic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_topic_is_asked_for_again_after_a_while_and_an_existing_one_is_not() {
        let topics = KnownTopics::default();
        let start = Instant::now();
        topics.learn("here", Knowledge::Exists, start);
        topics.learn("gone", Knowledge::Absent, start);
        let later = start + ABSENCE;
        assert_eq!(topics.get("gone", start), Some(Knowledge::Absent));
        assert_eq!(topics.get("gone", later), None);
        assert_eq!(topics.get("here", later), Some(Knowledge::Exists));
        topics.forget("here");
        assert_eq!(topics.get("here", later), None);
    }

    #[test]
    fn names_that_clients_invent_do_not_fill_the_memory() {
        let topics = KnownTopics::default();
        for n in 0..TOPICS_MAX + 5 {
            topics.learn(&n.to_string(), Knowledge::Absent, Instant::now());
        }
        assert!(topics.0.read().unwrap().len() <= TOPICS_MAX);
    }
}
