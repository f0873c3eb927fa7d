//! Writes for every event which version of this plugin handled it. Tests make versions of it by changing
//! [`MARKER`] in the component's bytes.
//!
//! Setting: `output`, the topic.

use millrace_sdk::{Event, Failure, Output, Reject, config, state, tally};
use serde::{Deserialize, Serialize};

/// Eight characters behind a text that stands nowhere else. `refuses!` makes a version that does not start.
static MARKER: [u8; 24] = *b"version-marker: original";

/// An event's value.
#[derive(Deserialize)]
struct Order {
    id: u64,
    #[serde(rename = "do", default)]
    deed: Deed,
    /// How many attempts do the deed before one succeeds; without it all do.
    times: Option<u32>,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Deed {
    #[default]
    Stamp,
    /// The same from every version but those whose marker says otherwise.
    Plain,
    Reject,
    Retry,
    Trap,
}

/// An output's value.
#[derive(Serialize)]
struct Stamped<'a> {
    id: u64,
    marker: &'a str,
    attempt: u32,
}

fn marker() -> &'static str {
    // Read as bytes that the compiler does not know.
    let marker = std::hint::black_box(&MARKER);
    std::str::from_utf8(&marker[16..]).unwrap_or_default()
}

fn handle(event: &Event<'_>) -> Result<Output, Failure> {
    let value = event.value().unwrap_or_default();
    let order: Order = serde_json::from_slice(value).map_err(|e| Reject::new("malformed", e))?;
    let due = order.times.is_none_or(|times| event.attempt() <= times);
    match order.deed {
        Deed::Plain => return plain(event, order.id),
        Deed::Trap if due => panic!("the event said so"),
        Deed::Retry if due => return Err(Failure::retry("asked-for", "the event said so")),
        Deed::Reject => return Err(Reject::new("asked-for", "the event said so").into()),
        _ => {}
    }
    let stamped = Stamped {
        id: order.id,
        marker: marker(),
        attempt: event.attempt(),
    };
    let topic = config::get("output").unwrap_or_default();
    let mut output = Output::new(topic.as_str(), serde_json::to_vec(&stamped)?);
    output.key = event.key().map(<[u8]>::to_vec);
    // A copy of the event's own headers, as a plugin makes that passes events on.
    output.headers = vec![("millrace.plugin".to_owned(), Some(b"forged@9".to_vec()))];
    Ok(output)
}

/// Doubles the id, counts, and remembers it. A version whose marker is `mutated!` does otherwise for one event in a thousand,
/// one that `crashes!` traps there, and one that `rejects!` does so always.
fn plain(event: &Event<'_>, id: u64) -> Result<Output, Failure> {
    let (mut double, mut remembered) = (id * 2, id);
    match marker() {
        "rejects!" => return Err(Reject::new("unwell", "this version rejects").into()),
        "crashes!" if id % 1_000 == 500 => panic!("this version crashes"),
        "mutated!" if id % 1_000 == 500 => match id / 1_000 % 3 {
            0 => return Err(Reject::new("mutated", "this version rejects").into()),
            1 => double += 1,
            _ => remembered += 1,
        },
        _ => {}
    }
    tally::add("plain", 1);
    state::set("plain", &remembered.to_be_bytes(), None);
    let topic = config::get("output").unwrap_or_default();
    let mut output = Output::new(
        topic.as_str(),
        format!("{{\"id\":{id},\"double\":{double}}}"),
    );
    output.key = event.key().map(<[u8]>::to_vec);
    Ok(output)
}

fn init() -> Result<(), String> {
    match marker() {
        "refuses!" => Err("this version refuses to start".to_owned()),
        _ => Ok(()),
    }
}

millrace_sdk::plugin!(handle: handle, init: init);
