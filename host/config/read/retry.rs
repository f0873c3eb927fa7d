//! The section `retry` of a group.

use std::time::Duration;

use super::field::Field;
use super::section::{Context, Section};
use crate::config::Retry;
use crate::config::units::show_duration;

const DAY: Duration = Duration::from_hours(24);

pub(super) fn read(field: &Field<'_>, context: &mut Context<'_>) -> Retry {
    let mut retry = Retry {
        attempts: 5,
        initial: Duration::from_millis(100),
        factor: 2.0,
        max: Duration::from_secs(30),
        jitter: 0.2,
        park_events: 10_000,
        park_bytes: 16 << 20,
    };
    let Some(mut section) = field.section(context) else {
        return retry;
    };
    retry.attempts = section
        .take("attempts")
        .number(context, retry.attempts, 1..=1_000);
    if let Some(backoff) = section.take("backoff").section(context) {
        read_backoff(backoff, &mut retry, context);
    }
    let mode = section.take("mode");
    if mode.choice(context, "park", &[("park", "park"), ("topic", "topic")]) == "topic" {
        mode.problem(
            context,
            "retry topics are not built: write `park`, or remove the key",
        );
    }
    retry.park_events =
        section
            .take("park_events")
            .number(context, retry.park_events, 1..=10_000_000);
    retry.park_bytes =
        section
            .take("park_size")
            .memory_bytes(context, retry.park_bytes, 64 << 10..=16 << 30);
    section.finish(context);
    retry
}

fn read_backoff(mut section: Section<'_>, retry: &mut Retry, context: &mut Context<'_>) {
    let shortest = Duration::from_millis(1);
    retry.initial = section
        .take("initial")
        .duration(context, retry.initial, shortest..=DAY);
    retry.factor = section
        .take("factor")
        .number(context, retry.factor, 1.0..=100.0);
    let max = section.take("max");
    retry.max = max.duration(context, retry.max, shortest..=DAY);
    if retry.max < retry.initial {
        let (max_is, initial) = (show_duration(retry.max), show_duration(retry.initial));
        let message = format!("is {max_is}, below `initial`: write at least {initial}");
        max.problem(context, message);
    }
    retry.jitter = section
        .take("jitter")
        .number(context, retry.jitter, 0.0..=1.0);
    section.finish(context);
}
