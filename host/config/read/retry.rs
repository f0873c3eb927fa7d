//! The section `retry` of a group.

use std::collections::BTreeMap;
use std::time::Duration;

use super::field::{Field, is_topic, not_a_topic};
use super::section::{Context, Section};
use crate::config::units::show_duration;
use crate::config::{Retry, RetryMode, Routes};

const DAY: Duration = Duration::from_hours(24);

/// Names the source and the group, so that no two retry topics of a cluster meet by chance.
const TOPIC_DEFAULT: &str = "{topic}.{group}.retry";

/// What the retry topics are named after.
pub(super) struct Owner<'a> {
    pub(super) group: &'a str,
    pub(super) routes: &'a Routes,
    /// How many routes are patterns.
    pub(super) patterns: usize,
}

/// Also returns the field that a problem of a retry topic's name belongs to.
pub(super) fn read<'t>(
    field: &Field<'t>,
    owner: &Owner<'_>,
    context: &mut Context<'_>,
) -> (Retry, Option<Field<'t>>) {
    let mut retry = Retry {
        attempts: 5,
        initial: Duration::from_millis(100),
        factor: 2.0,
        max: Duration::from_secs(30),
        jitter: 0.2,
        mode: RetryMode::Park,
        topics: BTreeMap::new(),
        topic_name: None,
        retention: 7 * DAY,
        max_age: DAY,
        max_park: Duration::from_mins(15),
        park_events: 100_000,
        park_bytes: 32 << 20,
    };
    let Some(mut section) = field.section(context) else {
        return (retry, None);
    };
    retry.attempts = section
        .take("attempts")
        .number(context, retry.attempts, 1..=1_000);
    if let Some(backoff) = section.take("backoff").section(context) {
        read_backoff(backoff, &mut retry, context);
    }
    retry.mode = section.take("mode").choice(
        context,
        RetryMode::Park,
        &[("park", RetryMode::Park), ("topic", RetryMode::Topic)],
    );
    let topic = section.take("topic");
    (retry.topics, retry.topic_name) = topics(&topic, retry.mode, owner, context);
    // Tests and urgent events measure both in seconds; nobody waits for an event longer than a year.
    retry.max_age = section.take("max_age").duration(
        context,
        retry.max_age,
        Duration::from_secs(1)..=365 * DAY,
    );
    retry.max_park = section.take("max_park").duration(
        context,
        retry.max_park,
        Duration::from_millis(100)..=DAY,
    );
    let retention = section.take("retention");
    retry.retention = retention.duration(
        context,
        retry.retention,
        Duration::from_mins(1)..=3650 * DAY,
    );
    // Without a retry topic the key has no meaning, and its default must not get into the way.
    if retry.retention < retry.max_age && retry.topic_name.is_some() {
        let (is, max_age) = (show_duration(retry.retention), show_duration(retry.max_age));
        let message = format!(
            "is {is}, below `max_age`, so that events would be lost: write at least {max_age}"
        );
        retention.problem(context, message);
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
    (retry, Some(topic))
}

/// The retry topic of each source, and how they are named; none where there are none. Reports what is wrong with a
/// name by itself.
fn topics(
    field: &Field<'_>,
    mode: RetryMode,
    owner: &Owner<'_>,
    context: &mut Context<'_>,
) -> (BTreeMap<String, String>, Option<String>) {
    let none = || (BTreeMap::new(), None);
    let pattern = match (field.is_absent(), mode) {
        (true, RetryMode::Park) => return none(),
        (true, RetryMode::Topic) => TOPIC_DEFAULT,
        (false, _) => match field.name(context) {
            Some(pattern) => pattern,
            None => return none(),
        },
    };
    if !pattern.contains("{topic}") {
        let many = match (owner.routes.len(), owner.patterns) {
            (0 | 1, 0) => None,
            (routes, 0) => Some(format!("the group has {routes} routes")),
            (..) => {
                Some("a pattern in the group's routes stands for any number of topics".to_owned())
            }
        };
        if let Some(many) = many {
            let message = format!(
                "{many}, and each needs a retry topic of its own: write `{{topic}}` into it, such as \
                 `{TOPIC_DEFAULT}`"
            );
            field.problem(context, message);
            return none();
        }
    }
    let mut topics = BTreeMap::new();
    for source in owner.routes.keys() {
        let name = pattern
            .replace("{topic}", source)
            .replace("{group}", owner.group);
        if is_topic(&name) {
            topics.insert(source.clone(), name);
        } else if name.contains(['{', '}']) {
            let message = format!(
                "`{pattern}` has a placeholder that is unknown: use `{{topic}}` and `{{group}}`"
            );
            field.problem(context, message);
            break;
        } else {
            field.problem(context, not_a_topic(&name));
        }
    }
    (topics, Some(pattern.to_owned()))
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
