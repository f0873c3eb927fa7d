//! The rules that events have to keep to be let in, by their topic. It must not know which gateway they come through.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use super::reception::Received;
use super::refusal::Refusal;
use crate::config;
use crate::schema::{Event, HeaderList, Place, Rules};

/// Topics whose rules are kept at hand where patterns say them: as many as one host would be sent. Those of further ones
/// are found out each time.
const FOUND_MAX: usize = 1_000;

/// The rules of topics; empty where none are configured.
#[derive(Debug, Default)]
pub struct TopicRules {
    topics: config::TopicRules,
    rules: BTreeMap<String, Arc<Rules>>,
    /// What the patterns say of topics that were seen.
    found: RwLock<HashMap<String, Option<Arc<Rules>>>>,
}

impl TopicRules {
    /// What the configuration says, with the rules that it names.
    #[must_use]
    pub fn new(topics: &config::TopicRules, rules: &BTreeMap<String, Arc<Rules>>) -> Self {
        Self {
            topics: topics.clone(),
            rules: rules.clone(),
            found: RwLock::default(),
        }
    }

    /// Checks an event by the rules of its topic, where it has any.
    pub(super) fn check(&self, event: &Received<'_>) -> Result<(), Refusal> {
        let Some(rules) = self.of(event.topic) else {
            return Ok(());
        };
        let checked = rules.check(
            Place::Ingest,
            &Event {
                topic: event.topic,
                key: event.key,
                value: event.value,
                headers: &HeaderList(&event.headers),
            },
        );
        checked.map_err(Refusal::from)
    }

    fn of(&self, topic: &str) -> Option<Arc<Rules>> {
        if let Some(name) = self.topics.by_name.get(topic) {
            return self.rules.get(name).cloned();
        }
        if self.topics.by_pattern.is_empty() {
            return None;
        }
        let found = self.found.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(rules) = found.get(topic) {
            return rules.clone();
        }
        drop(found);
        let name = self.topics.of(topic);
        let rules = name.and_then(|name| self.rules.get(name)).cloned();
        let mut found = self.found.write().unwrap_or_else(PoisonError::into_inner);
        if found.len() < FOUND_MAX {
            found.insert(topic.to_owned(), rules.clone());
        }
        rules
    }
}
