//! Writes every event once more, with where it came from and who did it, unless the event asks for something
//! else: a trap, a retry, a rejection, a wait, a loop.
//!
//! Settings: `output`, the topic, with at least as many partitions as the source, because the copy keeps
//! its partition; `as_it_is`, with `true` for copies of key, value and headers, whatever they are; `host`, a name for the copies to carry; `wait_us`, how long every event takes; `down_ms`, two
//! times since 1970 in milliseconds, `FROM-UNTIL`, between which what it depends on is down.
//!
//! When a partition is given up in order, the last tick writes a record that closes it. A reader of the
//! output can then tell who owned the partition when.

use std::cell::LazyCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use millrace_sdk::{Event, Failure, Output, Reason, Reject, Tick, config};
use serde::{Deserialize, Serialize};

/// An event's value.
#[derive(Deserialize, Default)]
struct Order {
    #[serde(default)]
    id: u64,
    #[serde(default)]
    seq: u64,
    #[serde(rename = "do", default)]
    deed: Deed,
    /// How many attempts do the deed before one succeeds; without it all do.
    times: Option<u32>,
    /// How long a wait takes.
    #[serde(default)]
    ms: u64,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Deed {
    #[default]
    Copy,
    Trap,
    Retry,
    Reject,
    Wait,
    /// Never returns.
    Loop,
}

/// A copy's value.
#[derive(Serialize)]
struct Copied<'a> {
    id: u64,
    seq: u64,
    topic: &'a str,
    partition: i32,
    offset: i64,
    attempt: u32,
    host: &'a str,
}

/// The record that closes a partition.
#[derive(Serialize)]
struct Closed<'a> {
    closed: bool,
    topic: &'a str,
    partition: i32,
    host: &'a str,
}

struct Settings {
    output: String,
    host: String,
    as_it_is: bool,
    wait: Duration,
    down_ms: Option<(u128, u128)>,
}

impl Settings {
    fn is_down(&self) -> bool {
        self.down_ms.is_some_and(|(from_ms, until_ms)| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            (from_ms..until_ms).contains(&now.unwrap_or_default().as_millis())
        })
    }
}

fn two_times(text: &str) -> Option<(u128, u128)> {
    let (from, until) = text.split_once('-')?;
    Some((from.parse().ok()?, until.parse().ok()?))
}

thread_local! {
    static SETTINGS: LazyCell<Settings> = LazyCell::new(|| Settings {
        output: config::get("output").unwrap_or_default(),
        host: config::get("host").unwrap_or_default(),
        as_it_is: config::get("as_it_is").is_some_and(|said| said == "true"),
        wait: Duration::from_micros(
            config::get("wait_us").and_then(|us| us.parse().ok()).unwrap_or(0),
        ),
        down_ms: config::get("down_ms").and_then(|times| two_times(&times)),
    });
}

fn handle(event: &Event<'_>) -> Result<Output, Failure> {
    if SETTINGS.with(|settings| settings.as_it_is) {
        return Ok(SETTINGS.with(|settings| as_it_is(event, &settings.output)));
    }
    let value = event.value().unwrap_or_default();
    let order: Order = serde_json::from_slice(value).map_err(|e| Reject::new("malformed", e))?;
    let due = order.times.is_none_or(|times| event.attempt() <= times);
    match order.deed {
        Deed::Trap if due => panic!("the event said so"),
        Deed::Retry if due => return Err(Failure::retry("asked-for", "the event said so")),
        Deed::Reject => return Err(Reject::new("asked-for", "the event said so").into()),
        Deed::Wait if due => std::thread::sleep(Duration::from_millis(order.ms)),
        Deed::Loop if due => loop {
            std::hint::black_box(());
        },
        _ => {}
    }
    SETTINGS.with(|settings| {
        if settings.is_down() {
            return Err(Failure::retry("down", "what it depends on is down"));
        }
        if !settings.wait.is_zero() {
            std::thread::sleep(settings.wait);
        }
        let copied = Copied {
            id: order.id,
            seq: order.seq,
            topic: event.topic(),
            partition: event.partition(),
            offset: event.offset(),
            attempt: event.attempt(),
            host: &settings.host,
        };
        let mut output = Output::new(settings.output.as_str(), serde_json::to_vec(&copied)?);
        output.key = event.key().map(<[u8]>::to_vec);
        output.partition = Some(event.partition());
        Ok(output)
    })
}

fn as_it_is(event: &Event<'_>, output: &str) -> Output {
    let mut copy = Output::new(output, event.value().unwrap_or_default());
    if event.value().is_none() {
        copy.value = None;
    }
    copy.key = event.key().map(<[u8]>::to_vec);
    let headers = event.headers();
    copy.headers = headers
        .map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)))
        .collect();
    copy.partition = Some(event.partition());
    copy
}

fn on_tick(tick: &Tick<'_>) -> Result<Vec<Output>, Failure> {
    if tick.reason() == Reason::Interval {
        return Ok(Vec::new());
    }
    SETTINGS.with(|settings| {
        if settings.as_it_is {
            return Ok(Vec::new());
        }
        let closed = Closed {
            closed: true,
            topic: tick.topic(),
            partition: tick.partition(),
            host: &settings.host,
        };
        let mut output = Output::new(settings.output.as_str(), serde_json::to_vec(&closed)?);
        output.partition = Some(tick.partition());
        Ok(vec![output])
    })
}

millrace_sdk::plugin!(handle: handle, on_tick: on_tick);
