//! The section `ingest.http`.

use std::time::Duration;

use super::field::Field;
use super::gateways::{IN_FLIGHT_DEFAULT, event_max};
use super::section::Context;
use crate::config::units::show_bytes;
use crate::config::{CloudEventsIngest, CloudEventsMode, HttpIngest};

/// A request always has room for four events of the largest size, and a batch of ordinary ones.
const REQUEST_MIN_BYTES: usize = 4 << 20;

/// As many as gRPC takes at once. Events of 400 bytes fill a request of the usual size with that.
const BATCH_DEFAULT: usize = 10_000;

/// A connection of HTTP/1.1 has one request at a time, so this is what all connections can ask at once.
const REQUESTS_DEFAULT: usize = 512;

/// 4 MiB take so long at 1 Mbit/s.
const BODY_TIMEOUT_DEFAULT: Duration = Duration::from_secs(35);

pub(super) fn read(
    field: &Field<'_>,
    message_max_bytes: usize,
    context: &mut Context<'_>,
) -> Option<HttpIngest> {
    let mut section = field.section(context)?;
    let listen = section
        .require("listen", "127.0.0.1:8080", context)
        .address(context);
    let event_max_bytes = event_max(&section.take("event_max"), message_max_bytes, context);
    let request_max = section.take("request_max");
    let default = REQUEST_MIN_BYTES.max(event_max_bytes.saturating_mul(4));
    let request_max_bytes = request_max.memory_bytes(context, default, 1..=1_000_000_000);
    if request_max_bytes < event_max_bytes && !request_max.is_absent() {
        let message = format!(
            "an event may have {}, and a request has to hold one: write at least that, or lower `event_max`",
            show_bytes(event_max_bytes as u64)
        );
        request_max.problem(context, message);
    }
    let batch_max = section
        .take("batch_max")
        .number(context, BATCH_DEFAULT, 1..=100_000);
    let in_flight_max =
        section
            .take("in_flight_max")
            .number(context, IN_FLIGHT_DEFAULT, 1..=1_000_000);
    let requests_max = section
        .take("requests_max")
        .number(context, REQUESTS_DEFAULT, 1..=100_000);
    let times = Duration::from_millis(100)..=Duration::from_mins(10);
    let body_timeout = section.take("body_timeout");
    let body_timeout = body_timeout.duration(context, BODY_TIMEOUT_DEFAULT, times);
    let cloudevents = cloudevents(&section.take("cloudevents"), context);
    section.finish(context);
    Some(HttpIngest {
        listen: listen?,
        event_max_bytes,
        request_max_bytes,
        batch_max,
        in_flight_max,
        requests_max,
        body_timeout,
        cloudevents,
    })
}

fn cloudevents(field: &Field<'_>, context: &mut Context<'_>) -> CloudEventsIngest {
    let mut found = CloudEventsIngest::default();
    let Some(mut section) = field.section(context) else {
        return found;
    };
    let modes = [
        ("binary", CloudEventsMode::Binary),
        ("structured", CloudEventsMode::Structured),
    ];
    found.mode = section
        .take("mode")
        .choice(context, CloudEventsMode::Binary, &modes);
    let key = section.take("key");
    found.key = key.text(context).map(str::to_owned);
    let fits = |name: &String| {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        !name.is_empty() && name.bytes().all(fits)
    };
    if !found.key.as_ref().is_none_or(fits) {
        let message = "no attribute can have this name: write `partitionkey`, or another attribute";
        key.problem(context, message);
    }
    section.finish(context);
    found
}
