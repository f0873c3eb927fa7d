//! The packed side of the boundary bench.

use millrace_sdk::{Event, Failure, Reject};

fn handle(event: &Event<'_>) -> Result<(), Failure> {
    match event.value().is_some_and(parse::parses) {
        true => Ok(()),
        false => Err(Reject::new("malformed", "not an event").into()),
    }
}

millrace_sdk::plugin!(handle: handle);
