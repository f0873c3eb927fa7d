//! Does what the value of an event asks for, so that one kit can judge the plugins of every language: the deed, and
//! after a colon what to do it with.

use millrace_sdk::{Event, Failure, Output, Reject, Success, config, log, metrics, state};

const OUT: &str = "conformance.out";
const MORE: &str = "conformance.more";

fn handle(event: &Event<'_>) -> Result<Success, Failure> {
    let Some(value) = event.value() else {
        return Ok(echo(event).into());
    };
    let text = std::str::from_utf8(value).map_err(|e| Reject::new("not-utf8", e))?;
    let (deed, with) = text.split_once(':').unwrap_or((text, ""));
    match deed {
        "echo" => Ok(echo(event).into()),
        "filter" => Ok(Success::Filtered),
        "reject" => Err(Reject::new(with, "asked to reject").into()),
        "retry" => until(event, number(with)?, None),
        "after" => until(event, 2, Some(number(with)?)),
        "busy" if config::get("busy").as_deref() == Some("yes") => {
            Err(Failure::overloaded("busy", "asked to be busy"))
        }
        "busy" => Ok(().into()),
        "output" => Ok(many(event, number(with)?).into()),
        "elsewhere" => Ok(Output::new("not.granted", value).into()),
        "state" => {
            let seen = state::get("seen").unwrap_or_default();
            let seen: u64 = if seen.is_empty() { 0 } else { number(std::str::from_utf8(&seen)?)? };
            let seen = (seen + 1).to_string();
            state::set("seen", seen.as_bytes(), None);
            Ok(answer(event, Some(seen.into_bytes())).into())
        }
        "forget" => {
            state::delete("seen");
            Ok(().into())
        }
        "metric" => {
            metrics::counter_add("deeds_total", &[("kind", with)], 1.0);
            metrics::gauge_set("last_offset", &[], event.offset() as f64);
            metrics::histogram_observe("value_bytes", &[], value.len() as f64);
            Ok(().into())
        }
        "config" => Ok(answer(event, config::get(with).map(String::into_bytes)).into()),
        "log" => {
            log::info(with);
            println!("{with}");
            Ok(().into())
        }
        "throw" => panic!("asked to throw"),
        _ => Err(Reject::new("unknown-deed", deed).into()),
    }
}

/// The event as it came, headers that repeat or are null included.
fn echo(event: &Event<'_>) -> Output {
    let mut output = answer(event, event.value().map(<[u8]>::to_vec));
    output.timestamp_ms = event.timestamp_ms();
    let headers = event.headers();
    output.headers = headers
        .map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)))
        .collect();
    output
}

fn answer(event: &Event<'_>, value: Option<Vec<u8>>) -> Output {
    Output {
        topic: OUT.to_owned(),
        key: event.key().map(<[u8]>::to_vec),
        value,
        ..Output::default()
    }
}

fn until(event: &Event<'_>, attempts: u64, after_ms: Option<u64>) -> Result<Success, Failure> {
    let attempt = event.attempt();
    if u64::from(attempt) >= attempts {
        return Ok(().into());
    }
    let failure = Failure::retry("again", format_args!("attempt {attempt} of {attempts}"));
    Err(match after_ms {
        Some(after_ms) => failure.after_ms(after_ms),
        None => failure,
    })
}

fn many(event: &Event<'_>, count: u64) -> Vec<Output> {
    let one = |n: u64| {
        let text = n.to_string();
        Output {
            topic: MORE.to_owned(),
            key: event.key().map(<[u8]>::to_vec),
            value: Some(text.clone().into_bytes()),
            headers: vec![("n".to_owned(), Some(text.into_bytes()))],
            ..Output::default()
        }
    };
    (0..count).map(one).collect()
}

fn number(text: &str) -> Result<u64, Reject> {
    text.parse().map_err(|e| Reject::new("no-number", e))
}

millrace_sdk::plugin!(handle: handle);
