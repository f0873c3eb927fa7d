//! Answers the admin server's questions about dead letters. It knows which topics the groups that run have, and which
//! of them is looked at.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::shown::Shown;
use crate::admin::dead_letters::Letters;
use crate::admin::plugins::Refused;
use crate::config;
use crate::dead_letters::Board;

/// The dead letters of this host, as the admin server sees them.
pub(super) struct HostLetters {
    shown: Arc<Shown>,
    kafka: config::Kafka,
    /// Those that were ever looked at, by topic.
    boards: Mutex<BTreeMap<String, Arc<Board>>>,
}

impl HostLetters {
    pub(super) fn new(shown: Arc<Shown>, kafka: config::Kafka) -> Self {
        Self {
            shown,
            kafka,
            boards: Mutex::default(),
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
        let known = self.shown.dead_letters();
        if !known.iter().any(|known| known.topic == topic) {
            let known: Vec<&str> = known.iter().map(|known| known.topic.as_str()).collect();
            return Err(Refused::Unknown(format!(
                "no group sends its dead letters to {topic}; there are {}",
                known.join(", ")
            )));
        }
        let mut boards = self.boards.lock().unwrap_or_else(PoisonError::into_inner);
        let board = boards
            .entry(topic.to_owned())
            .or_insert_with(|| Arc::new(Board::new(&self.kafka, topic)));
        Ok(Value::clone(&board.look()))
    }
}
