//! The nested side of the boundary bench: one record a call, as in the world `handler`, and a list of
//! records, which the contract does not have and which shows what packing saves.

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package guests:parse-nested;

        interface nested-list {
            use millrace:plugin/types@0.1.0.{event};

            /// How many are well-formed.
            handle-list: func(events: list<event>) -> u32;
        }

        world plugin {
            include millrace:plugin/handler@0.1.0;
            export nested-list;
        }
    ",
    world: "guests:parse-nested/plugin",
    generate_all,
});

use exports::guests::parse_nested::nested_list;
use exports::millrace::plugin::event_handler::{self, Failure, Success};
use millrace::plugin::types::{Event, Problem};

struct Plugin;

fn parses(event: &Event) -> bool {
    event.value.as_deref().is_some_and(parse::parses)
}

impl event_handler::Guest for Plugin {
    fn handle(event: Event) -> Result<Success, Failure> {
        if parses(&event) {
            return Ok(Success::Processed(Vec::new()));
        }
        let (code, message) = ("malformed".to_owned(), "not an event".to_owned());
        Err(Failure::Reject(Problem {
            code,
            message,
            after_ms: None,
        }))
    }
}

impl nested_list::Guest for Plugin {
    fn handle_list(events: Vec<Event>) -> u32 {
        events.iter().map(|event| u32::from(parses(event))).sum()
    }
}

export!(Plugin);
