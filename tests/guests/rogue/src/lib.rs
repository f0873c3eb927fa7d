//! Does whatever its events say, good or bad: `{"do": "ok"}` and everything else that [`Deed`] names.
//!
//! Every event is first tallied and journalled, so that a failure has effects to leave behind.

use std::time::Duration;

use millrace_sdk::guest::bindings_capabilities::millrace::plugin as host;
use millrace_sdk::{Event, Failure, Output, Reject, Success, journal, tally};
use serde::Deserialize;

/// One event's value.
#[derive(Deserialize)]
struct Order {
    #[serde(rename = "do", default)]
    deed: Deed,
    /// How often, how long in milliseconds, or how large in bytes; each deed has its own default.
    n: Option<u64>,
    /// Where outputs go.
    to: Option<String>,
    #[serde(rename = "retry-until")]
    retry_until: Option<u32>,
    #[serde(rename = "after-ms")]
    after_ms: Option<u64>,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Deed {
    #[default]
    Ok,
    Filter,
    Retry,
    Reject,
    Overload,
    /// Never returns.
    Loop,
    /// Allocates until it is stopped.
    EatMemory,
    Trap,
    /// Calls itself until the stack ends.
    Stack,
    /// Waits for `n` ms, a minute by default.
    Sleep,
    /// One output to `to`.
    Output,
    /// One output of `n` bytes.
    HugeOutput,
    /// One output to a topic that nobody grants.
    ForbiddenOutput,
    /// `n` small outputs, 100 000 by default.
    Flood,
    /// `n` calls of a host function, a million by default.
    HostCalls,
    /// One journal line of `n` bytes.
    HugeLine,
    /// Journal lines of `n` bytes by one call each, without end.
    ManyLines,
    /// One journal line with a line break inside.
    BrokenLine,
    /// An effect that claims to be of event `n`.
    WrongIndex,
    /// Effects of event `n` from now on.
    WrongBegin,
    /// `n` journal lines that are all the same kilobyte.
    SameBytes,
    /// `n` lines on standard output, of which the last has no end.
    Print,
    /// One line of `n` bytes on standard error.
    PrintLong,
    /// A tally is taken outside of a tick.
    Take,
    /// `n` handles of the host at once, a million by default.
    Hold,
}

fn handle(event: &Event<'_>) -> Result<Success, Failure> {
    let value = event.value().unwrap_or_default();
    let order: Order = serde_json::from_slice(value).map_err(|e| Reject::new("malformed", e))?;
    tally::add("events", 1);
    tally::max("last-offset", event.offset());
    journal::append(event.offset().to_string());
    let problem = "the event said so";
    if order
        .retry_until
        .is_some_and(|attempt| event.attempt() < attempt)
    {
        return Err(later(Failure::retry("asked-for", problem), &order));
    }
    match order.deed {
        Deed::Ok => {}
        Deed::Filter => return Ok(Success::Filtered),
        Deed::Retry => return Err(later(Failure::retry("asked-for", problem), &order)),
        Deed::Reject => return Err(Reject::new("asked-for", problem).into()),
        Deed::Overload => return Err(later(Failure::overloaded("asked-for", problem), &order)),
        Deed::Output | Deed::HugeOutput | Deed::ForbiddenOutput | Deed::Flood => {
            return Ok(outputs(event, &order));
        }
        _ => misbehave(&order),
    }
    Ok(().into())
}

fn later(failure: Failure, order: &Order) -> Failure {
    match order.after_ms {
        Some(after_ms) => failure.after_ms(after_ms),
        None => failure,
    }
}

fn outputs(event: &Event<'_>, order: &Order) -> Success {
    let topic = match order.deed {
        Deed::ForbiddenOutput => "nobody-granted-this",
        _ => order.to.as_deref().unwrap_or("outputs"),
    };
    let n = order.n.unwrap_or(100_000) as usize;
    let output = match order.deed {
        Deed::HugeOutput => Output::new(topic, vec![b'x'; n]),
        _ => Output::new(topic, event.offset().to_string()),
    };
    let output = Output {
        key: event.key().map(<[u8]>::to_vec),
        ..output
    };
    Success::Processed(vec![
        output;
        if matches!(order.deed, Deed::Flood) {
            n
        } else {
            1
        }
    ])
}

fn misbehave(order: &Order) {
    let n = order.n;
    let large = n.unwrap_or(1 << 20) as usize;
    match order.deed {
        Deed::Loop => loop {
            std::hint::black_box(());
        },
        Deed::EatMemory => eat_memory(),
        Deed::Trap => panic!("the event said so"),
        Deed::Stack => {
            std::hint::black_box(descend(n.unwrap_or(u64::MAX)));
        }
        Deed::Sleep => std::thread::sleep(Duration::from_millis(n.unwrap_or(60_000))),
        Deed::HostCalls => (0..n.unwrap_or(1_000_000)).for_each(|_| host::effects::begin(0)),
        Deed::HugeLine => journal::append(vec![b'x'; large]),
        Deed::ManyLines => loop {
            host::journal::append(&vec![b'x'; large]);
        },
        Deed::BrokenLine => journal::append("two\nlines"),
        Deed::WrongIndex => host::tally::merge(&[host::tally::Change {
            event_index: n.unwrap_or(1_000_000) as u32,
            operation: host::tally::Operation::Add,
            name: "stray".to_owned(),
            value: 1,
        }]),
        Deed::WrongBegin => host::effects::begin(n.unwrap_or(1_000_000) as u32),
        Deed::SameBytes => {
            let same = [0_u64, 1024 << 32];
            let slots: Vec<u64> = std::iter::once(2).chain(same.repeat(large)).collect();
            host::journal::append_many(&[b'x'; 1024], &slots);
        }
        Deed::Print => {
            (1..n.unwrap_or(3)).for_each(|line| println!("line {line}"));
            print!("without end");
        }
        Deed::PrintLong => eprintln!("{}", "x".repeat(large)),
        Deed::Take => drop(host::tally::take("")),
        Deed::Hold => hold(n.unwrap_or(1_000_000)),
        _ => {}
    }
}

fn hold(handles: u64) {
    let timer = |_| wasip2::clocks::monotonic_clock::subscribe_duration(1);
    std::hint::black_box((0..handles).map(timer).collect::<Vec<_>>());
}

fn eat_memory() {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        eaten.push(std::hint::black_box(vec![1; 1 << 20]));
    }
}

/// Its frame holds nothing in linear memory, so that the host's stack is what ends.
fn descend(levels: u64) -> u64 {
    if levels == 0 {
        1
    } else {
        descend(levels - 1).wrapping_mul(31).wrapping_add(levels)
    }
}

millrace_sdk::plugin!(handle: handle);
