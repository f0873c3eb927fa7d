//! Refuses to start: what a plugin with a bad configuration does.

use millrace_sdk::{Event, Failure};

fn handle(_: &Event<'_>) -> Result<(), Failure> {
    Ok(())
}

fn init() -> Result<(), String> {
    Err("the setting `window` is missing".to_owned())
}

millrace_sdk::plugin!(handle: handle, init: init);
