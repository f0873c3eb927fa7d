//! Writes what it is shown of every event once more, unchanged, to each of the topics in the setting `outputs`, which
//! has spaces between them. So what a route made of an event can be seen, and what a topic makes of an output.

use millrace_sdk::{Event, Failure, Output, config};

fn handle(event: &Event<'_>) -> Result<Vec<Output>, Failure> {
    let outputs = config::get("outputs").unwrap_or_default();
    let output = |topic: &str| Output {
        topic: topic.to_owned(),
        key: event.key().map(<[u8]>::to_vec),
        value: event.value().map(<[u8]>::to_vec),
        ..Output::default()
    };
    Ok(outputs.split(' ').map(output).collect())
}

millrace_sdk::plugin!(handle: handle);
