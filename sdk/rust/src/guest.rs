//! The component side: bindings to the contract, and the way from them to the native types.
//!
//! Each world is bound apart, so that a component exports and imports only what its plugin names.

#![allow(
    missing_docs,
    reason = "generated from the WIT files, which document every item"
)]
#![allow(
    unsafe_code,
    reason = "the generated bindings are the component's C-level boundary"
)]

pub mod bindings_capabilities {
    wit_bindgen::generate!({
        path: "wit",
        world: "millrace:plugin/capabilities",
        generate_all,
    });
}

pub mod bindings_batch {
    wit_bindgen::generate!({
        path: "wit",
        world: "millrace:plugin/batch-handler",
        pub_export_macro: true,
        export_macro_name: "export_batch",
        with: {
            "millrace:plugin/effects@0.1.0":
                crate::guest::bindings_capabilities::millrace::plugin::effects,
        },
    });
}

pub mod bindings_timer {
    wit_bindgen::generate!({
        path: "wit",
        world: "millrace:plugin/with-timer",
        pub_export_macro: true,
        export_macro_name: "export_timer",
        generate_all,
    });
}

pub mod bindings_lifecycle {
    wit_bindgen::generate!({
        path: "wit",
        world: "millrace:plugin/with-lifecycle",
        pub_export_macro: true,
        export_macro_name: "export_lifecycle",
    });
}

pub use bindings_batch::exports::millrace::plugin::batch_event_handler as batch;
pub use bindings_lifecycle::exports::millrace::plugin::lifecycle;
pub use bindings_timer::exports::millrace::plugin::timer;

use bindings_capabilities::millrace::plugin as host;
use bindings_timer::millrace::plugin::types;

use crate::effects::{self, MetricChange, MetricKind, Operation, TallyChange};
use crate::event::Event;
use crate::outcome::{Failure, FailureKind, Output, Success};
use crate::timer::Tick;

/// Runs a packed batch and hands its effects over in one call each.
pub fn run_batch<S: Into<Success>>(
    events: &batch::PackedEvents,
    handle: impl FnMut(&Event<'_>) -> Result<S, Failure>,
) -> batch::PackedResults {
    let results = crate::packed::run(&events.bytes, &events.slots, handle);
    effects::flush();
    batch::PackedResults {
        bytes: results.bytes,
        outcomes: results.outcomes,
        outputs: results.outputs,
    }
}

/// Runs one tick.
///
/// # Errors
/// Returns the plugin's own failure in the contract's form.
pub fn run_tick(
    topic: &str,
    partition: i32,
    now_ms: i64,
    reason: timer::Reason,
    on_tick: impl FnOnce(&Tick<'_>) -> Result<Vec<Output>, Failure>,
) -> Result<Vec<types::Output>, types::Failure> {
    let reason = match reason {
        timer::Reason::Interval => crate::Reason::Interval,
        timer::Reason::Revoked => crate::Reason::Revoked,
        timer::Reason::Shutdown => crate::Reason::Shutdown,
    };
    let tick = Tick {
        topic,
        partition,
        now_ms,
        reason,
        take: |prefix| host::tally::take(prefix),
    };
    match on_tick(&tick) {
        Ok(outputs) => Ok(outputs.into_iter().map(wit_output).collect()),
        Err(failure) => Err(wit_failure(failure)),
    }
}

fn wit_output(output: Output) -> types::Output {
    types::Output {
        topic: output.topic,
        key: output.key,
        value: output.value,
        partition: output.partition,
        timestamp_ms: output.timestamp_ms,
        headers: output
            .headers
            .into_iter()
            .map(|(name, value)| types::Header { name, value })
            .collect(),
    }
}

fn wit_failure(failure: Failure) -> types::Failure {
    let problem = types::Problem {
        code: failure.code,
        message: failure.message,
        after_ms: failure.after_ms,
    };
    match failure.kind {
        FailureKind::Retry => types::Failure::Retry(problem),
        FailureKind::Reject => types::Failure::Reject(problem),
        FailureKind::Overloaded => types::Failure::Overloaded(problem),
    }
}

pub(crate) fn send_tallies(changes: Vec<TallyChange>) {
    let changes: Vec<_> = changes
        .into_iter()
        .map(|change| host::tally::Change {
            event_index: change.event_index,
            operation: match change.operation {
                Operation::Add => host::tally::Operation::Add,
                Operation::Max => host::tally::Operation::Max,
                Operation::Min => host::tally::Operation::Min,
            },
            name: change.name,
            value: change.value,
        })
        .collect();
    host::tally::merge(&changes);
}

pub(crate) fn send_metrics(changes: Vec<MetricChange>) {
    let changes: Vec<_> = changes
        .into_iter()
        .map(|change| host::metrics::Change {
            event_index: change.event_index,
            kind: match change.kind {
                MetricKind::Counter => host::metrics::Kind::Counter,
                MetricKind::Gauge => host::metrics::Kind::Gauge,
                MetricKind::Histogram => host::metrics::Kind::Histogram,
            },
            name: change.name,
            labels: change
                .labels
                .into_iter()
                .map(|(name, value)| host::metrics::Label { name, value })
                .collect(),
            value: change.value,
        })
        .collect();
    host::metrics::merge(&changes);
}

pub(crate) fn send_journal(bytes: &[u8], slots: &[u64]) {
    host::journal::append_many(bytes, slots);
}

/// What the host answers while an event runs.
pub(crate) mod host_answers {
    pub(crate) use super::bindings_capabilities::wasi::logging::logging::Level;

    use super::bindings_capabilities::wasi::{config::store, logging::logging};
    use super::host;
    use crate::effects;

    pub(crate) fn state_get(name: &str) -> Option<Vec<u8>> {
        host::effects::begin(effects::current_index());
        host::state::get(name)
    }

    pub(crate) fn state_set(name: &str, value: &[u8], ttl_ms: Option<u64>) {
        begin_write();
        host::state::set(name, value, ttl_ms);
    }

    pub(crate) fn state_delete(name: &str) {
        begin_write();
        host::state::delete(name);
    }

    fn begin_write() {
        host::effects::begin(effects::current_index());
        effects::discard_with(host::effects::discard);
    }

    pub(crate) fn log(level: Level, message: &str) {
        logging::log(level, "", message);
    }

    pub(crate) fn config_get(key: &str) -> Option<String> {
        store::get(key).ok().flatten()
    }
}
