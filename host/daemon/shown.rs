//! What a host shows of itself: the health of its parts, and figures that are read when somebody asks for them.

use std::sync::Arc;

use crate::admin::Health;
use crate::kafka::publisher::ProducerFigures;
use crate::pipeline::{GroupStatus, Versions};
use crate::schema::confluent::SchemaRegistry;
use crate::schema::{Place, Rules};
use crate::telemetry::metrics::{Metrics, ProducerMetrics};

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
