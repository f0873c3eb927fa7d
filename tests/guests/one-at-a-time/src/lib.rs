//! The world `handler` without an SDK: each event is echoed to the topic `echo`, tallied, journalled, counted,
//! and remembered in the state of its key.
//!
//! The value says what else happens: `fail`, `reject` and `busy` answer so after the effects were made,
//! and `trap` ends in a panic.

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package guests:one-at-a-time;

        world plugin {
            include millrace:plugin/handler@0.1.0;
            include millrace:plugin/with-tally@0.1.0;
            include millrace:plugin/with-journal@0.1.0;
            include millrace:plugin/with-metrics@0.1.0;
            include millrace:plugin/with-state@0.1.0;
        }
    ",
    world: "guests:one-at-a-time/plugin",
    generate_all,
});

use exports::millrace::plugin::event_handler::{Event, Failure, Guest, Success};
use millrace::plugin::types::{Output, Problem};
use millrace::plugin::{journal, metrics, state, tally};

struct Plugin;

impl Guest for Plugin {
    fn handle(event: Event) -> Result<Success, Failure> {
        let value = event.value.as_deref().unwrap_or_default();
        tally::add("events", 1);
        tally::max("last-offset", event.offset);
        let before = state::get("last").unwrap_or_default();
        state::set("last", event.offset.to_string().as_bytes(), None);
        metrics::counter_add("seen_total", &[], 1.0);
        metrics::histogram_observe("offset", &[], event.offset as f64);
        journal::append(&[format!("{}:", event.offset).as_bytes(), &before].concat());
        let problem = || Problem {
            code: "asked-for".to_owned(),
            message: format!("the event at {} said so", event.offset),
            after_ms: Some(250),
        };
        match value {
            b"fail" => Err(Failure::Retry(problem())),
            b"reject" => Err(Failure::Reject(problem())),
            b"busy" => Err(Failure::Overloaded(problem())),
            b"skip" => Ok(Success::Filtered),
            b"trap" => panic!("the event said so"),
            _ => Ok(Success::Processed(vec![Output {
                topic: "echo".to_owned(),
                key: event.key,
                value: event.value,
                partition: Some(event.partition),
                timestamp_ms: event.timestamp_ms,
                headers: event.headers,
            }])),
        }
    }
}

export!(Plugin);
