//! Outputs to topics whose records are written by a registered schema: from the JSON that the plugin made to the bytes
//! that leave. While the schema of a topic that the plugin may write to is not there, its events wait, instead of
//! running in vain. It must not know what a schema is.

use std::sync::Arc;

use super::super::batch::Batch;
use super::super::messages::Settlement;
use super::{Lane, LaneSettings, check};
use crate::delivery::park::Allowance;
use crate::sandbox::{Fault, FaultKind, Output};
use crate::schema::confluent::{Encoder, Encoders, Ready};

/// How events of one plugin are written to the topics that ask for it.
#[derive(Debug, Default)]
pub(crate) struct Encoding(Vec<Encoded>);

/// A topic whose records are written by a schema.
#[derive(Debug)]
struct Encoded {
    topic: String,
    encoder: Encoder,
    /// Whether events wait for its schema; no event of a plugin does that may not write to the topic.
    granted: bool,
    ready: Option<Arc<Ready>>,
}

impl Encoding {
    /// Of a plugin that may write to these topics.
    pub(crate) fn new(encoders: &Encoders, granted: &[String]) -> Self {
        let encoded = encoders.iter().map(|(topic, encoder)| Encoded {
            topic: topic.clone(),
            encoder: encoder.clone(),
            granted: granted.contains(topic),
            ready: None,
        });
        Self(encoded.collect())
    }

    /// Takes up the schemas as they are now, between two batches. Says how many milliseconds to wait where one is
    /// missing.
    fn take_up(&mut self) -> Option<u64> {
        let mut wait_ms = None;
        for encoded in &mut self.0 {
            match encoded.encoder.ready() {
                Ok(ready) => encoded.ready = Some(ready),
                Err(after_ms) if encoded.granted => {
                    wait_ms = wait_ms.max(Some(after_ms));
                }
                Err(_) => {}
            }
        }
        wait_ms
    }

    /// Writes the values of outputs as their topics ask for it. A tombstone stays one.
    fn encode(&self, outputs: &mut [Output]) -> Result<(), Fault> {
        if self.0.is_empty() {
            return Ok(());
        }
        for output in outputs {
            let mut asking = self.0.iter();
            let Some(encoded) = asking.find(|encoded| encoded.topic == output.topic) else {
                continue;
            };
            let Some(value) = &output.value else {
                continue;
            };
            let Some(ready) = &encoded.ready else {
                return Err(not_there());
            };
            let written = ready.encode(value).map_err(|unfit| {
                let message = format!(
                    "an output to topic {} does not fit {ready}: {unfit}",
                    output.topic
                );
                check::fault("output-schema", message)
            })?;
            output.value = Some(written);
        }
        Ok(())
    }
}

/// What an event or a tick is told whose outputs cannot be written yet.
fn not_there() -> Fault {
    Fault {
        kind: FaultKind::Host,
        ..check::fault(
            "schema",
            "the schema that its outputs are written by is not there".to_owned(),
        )
    }
}

/// Writes outputs as they leave, and says what no broker would take of them.
pub(super) fn made_ready(
    settings: &LaneSettings,
    outputs: &mut [Output],
    now_ms: u64,
) -> Option<Fault> {
    if let Err(fault) = settings.encoding.encode(outputs) {
        return Some(fault);
    }
    check::bad_output(settings, outputs, now_ms)
}

impl Lane {
    /// Lets the events of a batch wait where a schema is missing that their outputs would be written by. Says whether
    /// they wait.
    pub(super) fn waits_for_schemas(&mut self, batch: &Batch, settlement: &mut Settlement) -> bool {
        let Some(after_ms) = self.settings.encoding.take_up() else {
            return false;
        };
        let due = self.clock.now().after(after_ms + 1);
        for index in 0..batch.len() {
            let group = batch.events[index].group;
            if !self.park.holds(group) {
                self.park.park(group, due, Allowance::ALL);
            }
            self.hold(batch, index, settlement);
        }
        true
    }

    /// Whether a tick has to wait for a schema that its outputs would be written by.
    pub(super) fn tick_waits_for_schemas(&mut self) -> Option<Fault> {
        self.settings.encoding.take_up().map(|_| not_there())
    }
}
