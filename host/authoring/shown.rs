//! What a plugin is shown of an event: decoded and checked as the routes of a configuration say, one event at a time and
//! waited for. It must not know where the event comes from.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::fixture::Fixture;
use crate::config::Config;
use crate::schema::confluent::SchemaRegistry;
use crate::schema::{Event, Flaw, Preparation, Prepared, RecordHeaders, Rules, SchemaError, View};

/// A schema registry that is up answers in milliseconds; a person waits for this.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is done with events before a plugin sees them.
#[derive(Debug)]
pub struct Shown {
    config: Config,
    rules: BTreeMap<String, Arc<Rules>>,
    registry: Option<Arc<SchemaRegistry>>,
}

/// What a configuration asks for cannot be done here.
#[derive(Debug, thiserror::Error)]
pub enum ShownError {
    /// A set of rules is wrong.
    #[error(transparent)]
    Rules(#[from] SchemaError),
    /// The schema registry cannot be asked as it is configured.
    #[error("the schema registry cannot be asked: {0}")]
    Registry(String),
}

/// Why a plugin is not shown an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotShown {
    /// It is not what it must be.
    Flawed(Flaw),
    /// What it was written by cannot be had now, and why.
    NotNow(String),
}

impl Shown {
    /// Reads the rules of a configuration, and begins to ask its schema registry.
    ///
    /// # Errors
    /// A set of rules is wrong, or the registry's settings are.
    pub fn of(config: &Config) -> Result<Self, ShownError> {
        let mut rules = BTreeMap::new();
        for (name, validation) in &config.validation {
            rules.insert(name.clone(), Arc::new(Rules::load(name, validation)?));
        }
        let registry = match &config.schema_registry {
            Some(settings) => {
                let registry = SchemaRegistry::start(settings).map_err(ShownError::Registry)?;
                Some(Arc::new(registry))
            }
            None => None,
        };
        Ok(Self {
            rules,
            registry,
            config: config.clone(),
        })
    }

    /// The event as the plugin of this group is shown it.
    ///
    /// # Errors
    /// It is not shown to it.
    pub fn event(&self, group: &str, event: Fixture) -> Result<Fixture, NotShown> {
        let Some(preparation) = self.preparation(group, &event) else {
            return Ok(event);
        };
        let record = Event {
            topic: event.topic.as_deref().unwrap_or_default(),
            key: event.key.as_deref(),
            value: event.value.as_deref(),
            headers: &RecordHeaders(&event.headers),
        };
        match preparation.prepare_within(&record, PATIENCE) {
            Prepared::Ready(None) => Ok(event),
            Prepared::Ready(Some(view)) => Ok(viewed(event, view)),
            Prepared::Flawed(flaw) => Err(NotShown::Flawed(flaw)),
            Prepared::NotNow { .. } => Err(NotShown::NotNow(self.trouble())),
        }
    }

    fn preparation(&self, group: &str, event: &Fixture) -> Option<Preparation> {
        let group = self.config.groups.iter().find(|it| it.id == group)?;
        let route = group.route_of(event.topic.as_deref()?)?;
        let rules = route
            .validate
            .as_ref()
            .and_then(|name| self.rules.get(name));
        Preparation::of(route, rules, self.registry.as_ref())
    }

    fn trouble(&self) -> String {
        let trouble = self
            .registry
            .as_ref()
            .and_then(|registry| registry.trouble());
        trouble.unwrap_or_else(|| "the schema registry has not answered".to_owned())
    }
}

fn viewed(mut event: Fixture, view: View) -> Fixture {
    event.headers.retain(|(name, _)| !view.replaces(name));
    event.headers.extend(view.headers);
    Fixture {
        value: view.value,
        ..event
    }
}
