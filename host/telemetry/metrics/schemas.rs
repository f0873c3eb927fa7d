//! Figures of the schema registry.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{IntCounterVec, IntGaugeVec, Registry, Result};

use super::families::{counter, gauge};

/// Figures of the schema registry, shown when somebody asks for them.
#[derive(Debug, Clone)]
pub struct SchemaRegistryMetrics {
    /// Held while they are shown, so that two who ask at once count nothing twice.
    moment: Arc<Mutex<()>>,
    requests: IntCounterVec,
    schemas: IntGaugeVec,
}

impl SchemaRegistryMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        Ok(Self {
            moment: Arc::default(),
            requests: counter(
                registry,
                "millrace_schema_registry_requests_total",
                "Questions to the schema registry, by what came of them: ok, missing, unusable or failed.",
                &["result"],
            )?,
            schemas: gauge(
                registry,
                "millrace_schemas",
                "Schemas of the registry that are ready for use, and those that events wait for.",
                &["state"],
            )?,
        })
    }

    /// Shows how often questions have come to each result since the start, and how many schemas are ready and are
    /// waited for.
    pub fn show<'a>(
        &self,
        results: impl Iterator<Item = (&'a str, u64)>,
        (ready, waiting): (usize, usize),
    ) {
        let _moment = self.moment.lock().unwrap_or_else(PoisonError::into_inner);
        for (result, questions) in results {
            let counter = self.requests.with_label_values(&[result]);
            counter.inc_by(questions.saturating_sub(counter.get()));
        }
        for (state, schemas) in [("ready", ready), ("waiting", waiting)] {
            let gauge = self.schemas.with_label_values(&[state]);
            gauge.set(i64::try_from(schemas).unwrap_or(i64::MAX));
        }
    }
}
