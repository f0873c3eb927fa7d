//! What a host shows of itself: the health of its parts, and figures that are read when somebody asks for them.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::ready::Ready;
use crate::admin::Health;
use crate::kafka::publisher::ProducerFigures;
use crate::pipeline::{GroupStatus, Versions};
use crate::schema::confluent::SchemaRegistry;
use crate::schema::{Place, Rules};
use crate::telemetry::metrics::{Metrics, ProducerMetrics};

/// What others see of the parts that another configuration replaces while the host runs.
#[derive(Debug, Default)]
pub(super) struct Shown {
    groups: Mutex<Vec<(String, Arc<GroupStatus>)>>,
    refused: Mutex<Option<String>>,
    explained: Mutex<Option<Value>>,
    ready: Mutex<Option<Arc<Ready>>>,
}

/// Where a group sends its dead letters, and which plugins give events up.
#[derive(Debug)]
pub(super) struct LettersOf {
    /// The group.
    pub(super) id: String,
    pub(super) topic: String,
    pub(super) plugins: Vec<String>,
}

impl Shown {
    /// These groups run.
    pub(super) fn groups(&self, groups: Vec<(String, Arc<GroupStatus>)>) {
        *self.groups.lock().unwrap_or_else(PoisonError::into_inner) = groups;
    }

    /// The groups that run, by id.
    pub(super) fn running(&self) -> Vec<(String, Arc<GroupStatus>)> {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.clone()
    }

    /// The configuration that was to be taken up last is refused for this; none where it was taken up.
    pub(super) fn refused(&self, reason: Option<String>) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// This configuration serves.
    pub(super) fn serves(&self, ready: Arc<Ready>) {
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = Some(ready);
    }

    /// The configuration that serves, and what its groups run with.
    pub(super) fn ready(&self) -> Option<Arc<Ready>> {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.clone()
    }

    /// Where each group of the configuration that serves sends its dead letters.
    pub(super) fn dead_letters(&self) -> Vec<LettersOf> {
        let ready = self.ready();
        let groups = ready.iter().flat_map(|ready| &ready.config.groups);
        let letters = groups.map(|group| LettersOf {
            id: group.id.clone(),
            topic: group.dead_letter.topic.clone(),
            plugins: group.plugins().into_iter().map(str::to_owned).collect(),
        });
        letters.collect()
    }

    /// The configuration that serves is explained so.
    pub(super) fn explained(&self, explained: Value) {
        let mut last = self
            .explained
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *last = Some(explained);
    }

    /// How the configuration that serves is explained; none where nobody has.
    pub(super) fn configuration(&self) -> Option<Value> {
        let explained = self.explained.lock();
        explained.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The health of each group. A configuration that is refused is told too, and is no reason to restart the host:
    /// the one before serves.
    pub(super) fn health(&self) -> Vec<Health> {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let mut parts: Vec<_> = groups
            .iter()
            .map(|(group, status)| health_of(group, status))
            .collect();
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        parts.extend(refused.iter().map(|reason| Health {
            part: "configuration".to_owned(),
            state: format!("a new one is refused, the one before serves: {reason}"),
            ready: true,
        }));
        parts
    }
}

/// Ready means that the group has joined, has not stopped and can settle. A broker that is away later does not
/// change that: restarting the host would not bring it back. A full disk does: another host has room.
pub(super) fn health_of(group: &str, status: &GroupStatus) -> Health {
    let (ready, state) = match (status.failure(), status.joined(), status.trouble()) {
        (Some(failure), _, _) => (false, format!("stopped: {failure}")),
        (None, false, _) => (false, "joining".to_owned()),
        (None, true, Some(trouble)) => (!status.unable(), format!("joined, waiting: {trouble}")),
        (None, true, None) => (true, "joined".to_owned()),
    };
    let state = status
        .notes()
        .into_iter()
        .fold(state, |state, note| format!("{state}; {note}"));
    Health {
        part: format!("group {group}"),
        state,
        ready,
    }
}

pub(super) fn show_versions(metrics: &Metrics, versions: &Versions) {
    let published = versions.published();
    let candidate = versions
        .trial()
        .map(|trial| Arc::clone(&trial.round().version));
    let others: Vec<_> = published.previous.into_iter().chain(candidate).collect();
    let others: Vec<_> = others.iter().map(|version| version.labels()).collect();
    metrics.plugin_serves(versions.plugin(), published.current.labels(), &others);
    metrics.trial_runs(
        versions.plugin(),
        versions.trial().map(|trial| trial.round().end().is_none()),
    );
}

pub(super) fn show_rules(metrics: &Metrics, rules: &Rules) {
    for place in Place::ALL {
        for (stage, events) in rules.refused(place) {
            metrics.validation_refused(rules.name(), place.word(), stage.word(), events);
        }
    }
    let (taken, refused) = rules.reloads();
    metrics.schema_reloads(rules.name(), taken, refused);
}

pub(super) fn show_schema_registry(metrics: &Metrics, registry: &SchemaRegistry) {
    metrics
        .schema_registry()
        .show(registry.answers(), registry.schemas());
}

pub(super) fn show_producer(metrics: &Metrics, figures: &ProducerFigures) {
    metrics.producer(&ProducerMetrics {
        queue: (figures.queue_events, figures.queue_bytes),
        sent: (figures.sent_events, figures.sent_bytes),
        batch: (figures.batch_events, figures.batch_bytes),
        retries: figures.retries,
        round_trips: &figures.round_trips,
    });
}
