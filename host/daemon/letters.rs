//! Answers the admin server's questions about dead letters. It knows which topics the groups that run have, which of them
//! is looked at, and what is done with their letters.

mod decoded;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use self::decoded::decoded;
use super::shown::Shown;
use crate::admin::dead_letters::{Letters, Words, Work};
use crate::admin::plugins::Refused;
use crate::config;
use crate::dead_letters::{
    self, Board, Bound, DeadLetters, DeadLettersError, LetterId, Task, Wish,
};
use crate::schema::confluent::SchemaRegistry;

/// How long the cluster has for each of the questions that one letter takes: a person waits.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// The dead letters of this host, as the admin server sees them.
pub(super) struct HostLetters {
    shown: Arc<Shown>,
    kafka: config::Kafka,
    schema_registry: Option<Arc<SchemaRegistry>>,
    /// Those that were ever looked at, by topic.
    boards: Mutex<BTreeMap<String, Arc<Board>>>,
    /// By topic.
    works: Mutex<BTreeMap<String, Works>>,
}

/// What was done with the letters of a topic last. One runs at a time: two would not see what the other does.
#[derive(Debug, Default)]
struct Works {
    redrive: Option<dead_letters::Work>,
    purge: Option<dead_letters::Work>,
}

impl HostLetters {
    pub(super) fn new(
        shown: Arc<Shown>,
        kafka: config::Kafka,
        schema_registry: Option<Arc<SchemaRegistry>>,
    ) -> Self {
        Self {
            shown,
            kafka,
            schema_registry,
            boards: Mutex::default(),
            works: Mutex::default(),
        }
    }

    /// Any other topic is none of the admin interface's.
    fn is_known(&self, topic: &str) -> Result<(), Refused> {
        let known = self.shown.dead_letters();
        if known.iter().any(|known| known.topic == topic) {
            return Ok(());
        }
        let known: Vec<&str> = known.iter().map(|known| known.topic.as_str()).collect();
        Err(Refused::Unknown(format!(
            "no group sends its dead letters to {topic}; there are {}",
            known.join(", ")
        )))
    }

    fn works(&self) -> MutexGuard<'_, BTreeMap<String, Works>> {
        self.works.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Works {
    fn running(&self) -> Option<&'static str> {
        let runs = |work: &Option<dead_letters::Work>| work.as_ref().is_some_and(|it| it.runs());
        let kinds = [("redrive", &self.redrive), ("purge", &self.purge)];
        kinds
            .into_iter()
            .find_map(|(kind, work)| runs(work).then_some(kind))
    }

    fn of(&mut self, work: Work) -> &mut Option<dead_letters::Work> {
        match work {
            Work::Redrive => &mut self.redrive,
            Work::Purge => &mut self.purge,
        }
    }
}

impl Letters for HostLetters {
    fn topics(&self) -> Value {
        let mut topics: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for group in self.shown.dead_letters() {
            topics.entry(group.topic).or_default().push(group.id);
        }
        let told = topics.into_iter();
        told.map(|(topic, groups)| json!({ "topic": topic, "groups": groups }))
            .collect()
    }

    fn of(&self, topic: &str) -> Result<Value, Refused> {
        self.is_known(topic)?;
        let mut boards = self.boards.lock().unwrap_or_else(PoisonError::into_inner);
        let board = boards
            .entry(topic.to_owned())
            .or_insert_with(|| Arc::new(Board::new(&self.kafka, topic)));
        Ok(Value::clone(&board.look()))
    }

    fn one(&self, topic: &str, (partition, offset): (i32, i64)) -> Result<Value, Refused> {
        self.is_known(topic)?;
        let letters = DeadLetters::within(&self.kafka, topic, LOOK_TIMEOUT).map_err(refused)?;
        let id = LetterId {
            topic: topic.to_owned(),
            partition,
            offset,
        };
        let letter = letters.letter(&id).map_err(refused)?;
        let redriven = letters.redriven().map_err(refused)?.has(&letter);
        let ready = self.shown.ready();
        let decoded =
            ready.and_then(|ready| decoded(&letter, &ready, self.schema_registry.as_ref()));
        Ok(letter.to_json(redriven, decoded.as_deref()))
    }

    fn begin(&self, topic: &str, work: Work, words: &Words) -> Result<Value, Refused> {
        self.is_known(topic)?;
        let task = match work {
            Work::Redrive => Wish::asked(topic, words).map(|wish| Task::Redrive(Box::new(wish))),
            Work::Purge => {
                Bound::asked(words).map(|(bound, dry_run)| Task::Purge { bound, dry_run })
            }
        };
        let task = task.map_err(Refused::Malformed)?;
        let mut works = self.works();
        let of_topic = works.entry(topic.to_owned()).or_default();
        if let Some(running) = of_topic.running() {
            return Err(Refused::Conflict(format!(
                "a {running} of {topic} runs; wait for its end, or stop it where it is a redrive"
            )));
        }
        // Not the filter: a key may be personal.
        tracing::warn!(topic, work = ?work, dry_run = task.is_dry_run(), "an operator begins work with dead letters");
        let begun = dead_letters::Work::begin(&self.kafka, topic, task);
        let begun = begun.map_err(|error| Refused::NotNow(error.to_string()))?;
        Ok(of_topic.of(work).insert(begun).to_json())
    }

    fn stands(&self, topic: &str, work: Work) -> Result<Value, Refused> {
        self.is_known(topic)?;
        let mut works = self.works();
        let last = works
            .get_mut(topic)
            .and_then(|works| works.of(work).as_ref());
        Ok(last.map_or(Value::Null, dead_letters::Work::to_json))
    }

    fn stop(&self, topic: &str) -> Result<Value, Refused> {
        self.is_known(topic)?;
        let works = self.works();
        let redrive = works.get(topic).and_then(|works| works.redrive.as_ref());
        let running = redrive.filter(|redrive| redrive.runs()).ok_or_else(|| {
            Refused::Conflict(format!("nothing was stopped: no redrive of {topic} runs"))
        })?;
        running.stop();
        tracing::warn!(topic, "an operator stops a redrive");
        Ok(running.to_json())
    }
}

fn refused(error: DeadLettersError) -> Refused {
    match error {
        error @ (DeadLettersError::NoTopic(_) | DeadLettersError::NoLetter(_)) => {
            Refused::Unknown(error.to_string())
        }
        error => Refused::NotNow(error.to_string()),
    }
}
