//! Attacks the host: each event names one way, as `{"do": "loop"}`. What it attempts is in the modules; what must
//! come of it is in the tests.
//!
//! Settings: `output`, a topic that is granted; `init` and `tick`, what to do there, by the same names.

mod calls;
mod memory;
mod outputs;

use millrace_sdk::{Event, Failure, Output, Reject, Success, Tick, config};
use serde::Deserialize;

/// One event's value.
#[derive(Deserialize)]
struct Order {
    #[serde(rename = "do", default)]
    deed: String,
    /// How often, how long in milliseconds, or how large in bytes; each deed has its own default.
    n: Option<u64>,
}

fn handle(event: &Event<'_>) -> Result<Success, Failure> {
    let value = event.value().unwrap_or_default();
    let order: Order = serde_json::from_slice(value).map_err(|e| Reject::new("malformed", e))?;
    if let Some(outputs) = outputs::of(&order.deed, order.n) {
        return Ok(Success::Processed(outputs));
    }
    if order.deed == "huge-problem" {
        let text = "p\u{0}\n".repeat(300_000);
        return Err(Reject::new(text.clone(), text).into());
    }
    if order.deed == "come-back-never" {
        return Err(Failure::retry("later", "much later").after_ms(u64::MAX - 1));
    }
    attack(&order.deed, order.n);
    Ok(().into())
}

fn attack(deed: &str, n: Option<u64>) {
    if !(memory::attack(deed, n) || calls::attack(deed, n)) {
        assert!(deed.is_empty() || deed == "ok", "there is no attack {deed}");
    }
}

fn on_tick(tick: &Tick<'_>) -> Result<Vec<Output>, Failure> {
    let deed = config::get("tick").unwrap_or_default();
    let taken = tick.take("");
    if deed == "huge-message" {
        return Err(Failure::retry("x".repeat(1 << 20), "y".repeat(1 << 20)));
    }
    if let Some(outputs) = outputs::of(&deed, None) {
        return Ok(outputs);
    }
    attack(&deed, None);
    let output = config::get("output").unwrap_or_default();
    Ok(taken
        .into_iter()
        .map(|(name, sum)| Output::new(output.as_str(), format!("{name}: {sum}")))
        .collect())
}

fn init() -> Result<(), String> {
    let deed = config::get("init").unwrap_or_default();
    if deed == "huge-refusal" {
        return Err("no\u{1b}[2J\n".repeat(1 << 18));
    }
    attack(&deed, None);
    Ok(())
}

millrace_sdk::plugin!(handle: handle, on_tick: on_tick, init: init);
