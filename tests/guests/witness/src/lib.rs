//! Does what its events say, and bears witness: one journal line for each event that succeeded, with every
//! attempt at it and the time between them, and the number of successes on each tick.
//!
//! Setting: `counts`, the topic that the ticks write to.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Instant;

use millrace_sdk::{Event, Failure, Output, Reject, Tick, config, journal, tally};
use serde::{Deserialize, Serialize};

/// One event's value.
#[derive(Deserialize)]
struct Order {
    #[serde(rename = "do", default)]
    deed: Deed,
    /// How many calls fail before one succeeds; without it all do.
    times: Option<usize>,
    #[serde(rename = "after-ms")]
    after_ms: Option<u64>,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Deed {
    #[default]
    Ok,
    Retry,
    Overload,
    /// Never returns.
    Loop,
    /// Allocates until it is stopped.
    EatMemory,
    Trap,
}

/// The line of one event.
#[derive(Serialize)]
struct Line<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    /// The attempt that each call was told, the last one being the success.
    attempts: Vec<u32>,
    /// Milliseconds between one call and the next.
    gaps_ms: Vec<f64>,
}

type Place = (String, i32, i64);

thread_local! {
    /// The failed calls for each event. It ends with the instance, that is with any trap.
    static FAILED: RefCell<BTreeMap<Place, Vec<(u32, Instant)>>> = const {
        RefCell::new(BTreeMap::new())
    };
}

fn handle(event: &Event<'_>) -> Result<(), Failure> {
    let value = event.value().unwrap_or_default();
    let order: Order = serde_json::from_slice(value).map_err(|e| Reject::new("malformed", e))?;
    // Made before the failure, so that there is something to leave behind.
    tally::add("done", 1);
    let now = Instant::now();
    let place = (event.topic().to_owned(), event.partition(), event.offset());
    let mut calls = FAILED.with_borrow_mut(|failed| failed.remove(&place).unwrap_or_default());
    let fails = order.times.is_none_or(|times| calls.len() < times);
    calls.push((event.attempt(), now));
    journal::append(line(event, &calls));
    let failure = match order.deed {
        Deed::Retry if fails => Failure::retry("asked-for", "the event said so"),
        Deed::Overload if fails => Failure::overloaded("asked-for", "the event said so"),
        Deed::Loop => loop {
            std::hint::black_box(());
        },
        Deed::EatMemory => eat_memory(),
        Deed::Trap => panic!("the event said so"),
        _ => return Ok(()),
    };
    FAILED.with_borrow_mut(|failed| failed.insert(place, calls));
    Err(match order.after_ms {
        Some(after_ms) => failure.after_ms(after_ms),
        None => failure,
    })
}

fn line(event: &Event<'_>, calls: &[(u32, Instant)]) -> Vec<u8> {
    let line = Line {
        topic: event.topic(),
        partition: event.partition(),
        offset: event.offset(),
        attempts: calls.iter().map(|(attempt, _)| *attempt).collect(),
        gaps_ms: calls
            .windows(2)
            .map(|pair| (pair[1].1 - pair[0].1).as_secs_f64() * 1_000.0)
            .collect(),
    };
    serde_json::to_vec(&line).unwrap_or_default()
}

fn eat_memory() -> ! {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        eaten.push(std::hint::black_box(vec![1; 1 << 20]));
    }
}

fn on_tick(tick: &Tick<'_>) -> Result<Vec<Output>, Failure> {
    let topic = config::get("counts").unwrap_or_default();
    let taken = tick.take("done").into_iter();
    Ok(taken
        .map(|(_, count)| Output::new(topic.as_str(), count.to_string()))
        .collect())
}

millrace_sdk::plugin!(handle: handle, on_tick: on_tick);
