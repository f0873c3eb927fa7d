//! What was learned about topics, for a while.
//!
//! A publisher asks this before each event, so that an unknown topic is refused at once instead of
//! waiting in librdkafka's queue until its time is over. It must not talk to a broker itself.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::partitioner::Turns;

/// Clients choose the names they ask for, so what is remembered is bounded. Real clusters have fewer
/// topics than this; beyond it, everything is forgotten and learned again.
const TOPICS_MAX: usize = 10_000;

/// Long enough that a client in a loop does not become a metadata request each time, short enough
/// that a topic just created is found soon.
const ABSENCE: Duration = Duration::from_secs(2);

/// How long the number of partitions is believed where it decides where events go: partitions that are added later
/// get their share after it.
const COUNT: Duration = Duration::from_secs(30);

/// What is known of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Knowledge {
    /// It exists, with so many partitions.
    Exists(usize),
    /// It did not exist a moment ago.
    Absent,
    /// The broker did not say, a moment ago.
    NoAnswer,
}

#[derive(Debug)]
struct Known {
    knowledge: Knowledge,
    learned: Instant,
    turns: Arc<Turns>,
}

/// A bounded memory of topics.
#[derive(Debug)]
pub(super) struct KnownTopics {
    known: RwLock<HashMap<String, Known>>,
    /// Whether the number of partitions must be fresh.
    counts: bool,
}

impl KnownTopics {
    /// An empty memory; `counts` where the number of partitions must be fresh.
    pub(super) fn new(counts: bool) -> Self {
        Self {
            known: RwLock::default(),
            counts,
        }
    }

    /// What is known at `now`, if anything. An existing topic is known until it is forgotten.
    pub(super) fn get(&self, topic: &str, now: impl FnOnce() -> Instant) -> Option<Knowledge> {
        let all = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let known = all.get(topic)?;
        // Mostly nobody has to look at a clock.
        let age = || now().duration_since(known.learned);
        let fresh = match known.knowledge {
            Knowledge::Exists(_) => !self.counts || age() < COUNT,
            Knowledge::Absent | Knowledge::NoAnswer => age() < ABSENCE,
        };
        fresh.then_some(known.knowledge)
    }

    /// Whose turn it is among the partitions of a topic that exists.
    pub(super) fn turns(&self, topic: &str) -> Option<Arc<Turns>> {
        let all = self.known.read().unwrap_or_else(PoisonError::into_inner);
        all.get(topic).map(|known| Arc::clone(&known.turns))
    }

    /// Remembers what was learned at `now`.
    pub(super) fn learn(&self, topic: &str, knowledge: Knowledge, now: Instant) {
        let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= TOPICS_MAX && !all.contains_key(topic) {
            all.clear();
        }
        let known = all.entry(topic.to_owned()).or_insert_with(|| Known {
            knowledge,
            learned: now,
            turns: Arc::default(),
        });
        (known.knowledge, known.learned) = (knowledge, now);
        if let Knowledge::Exists(partitions) = knowledge {
            known.turns.set_partitions(partitions);
        }
    }

    /// Forgets a topic that the broker no longer knows.
    pub(super) fn forget(&self, topic: &str) {
        self.known
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
        let topics = KnownTopics::new(false);
        let start = Instant::now();
        topics.learn("here", Knowledge::Exists(1), start);
        topics.learn("gone", Knowledge::Absent, start);
        let later = start + ABSENCE;
        assert_eq!(topics.get("gone", || start), Some(Knowledge::Absent));
        assert_eq!(topics.get("gone", || later), None);
        assert_eq!(
            topics.get("here", || start + 2 * COUNT),
            Some(Knowledge::Exists(1))
        );
        topics.forget("here");
        assert_eq!(topics.get("here", || later), None);
    }

    #[test]
    fn a_number_of_partitions_that_matters_is_asked_for_again() {
        let topics = KnownTopics::new(true);
        let start = Instant::now();
        topics.learn("here", Knowledge::Exists(1), start);
        assert_eq!(topics.get("here", || start), Some(Knowledge::Exists(1)));
        assert_eq!(topics.get("here", || start + COUNT), None);
    }

    #[test]
    fn names_that_clients_invent_do_not_fill_the_memory() {
        let topics = KnownTopics::new(false);
        for n in 0..TOPICS_MAX + 5 {
            topics.learn(&n.to_string(), Knowledge::Absent, Instant::now());
        }
        assert!(topics.known.read().unwrap().len() <= TOPICS_MAX);
    }
}
