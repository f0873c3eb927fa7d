//! The section `breaker` of a group.

use std::time::Duration;

use super::field::Field;
use super::section::{Context, Section};
use crate::config::Breaker;
use crate::config::units::show_duration;

const SHORTEST_PROBE: Duration = Duration::from_millis(10);

const LONGEST_PROBE: Duration = Duration::from_hours(1);

pub(super) fn read(field: &Field<'_>, context: &mut Context<'_>) -> Option<Breaker> {
    let mut breaker = Breaker {
        threshold: 0.5,
        min_keys: 10,
        window: Duration::from_secs(10),
        probe_initial: Duration::from_secs(1),
        probe_max: Duration::from_secs(30),
    };
    let Some(mut section) = field.section(context) else {
        return Some(breaker);
    };
    let enabled = section.take("enabled").flag(context, true);
    // Below a twentieth, the usual single bad events would count as an outage.
    breaker.threshold = section
        .take("threshold")
        .number(context, breaker.threshold, 0.05..=1.0);
    // One key alone is a bad event; the keys counted are held in memory.
    breaker.min_keys = section
        .take("min_keys")
        .number(context, breaker.min_keys, 2..=10_000);
    breaker.window = section.take("window").duration(
        context,
        breaker.window,
        Duration::from_secs(1)..=Duration::from_mins(10),
    );
    if let Some(probe) = section.take("probe").section(context) {
        read_probe(probe, &mut breaker, context);
    }
    section.finish(context);
    enabled.then_some(breaker)
}

fn read_probe(mut section: Section<'_>, breaker: &mut Breaker, context: &mut Context<'_>) {
    let range = SHORTEST_PROBE..=LONGEST_PROBE;
    breaker.probe_initial =
        section
            .take("initial")
            .duration(context, breaker.probe_initial, range.clone());
    let max = section.take("max");
    breaker.probe_max = max.duration(context, breaker.probe_max, range);
    if breaker.probe_max < breaker.probe_initial {
        let (is, initial) = (
            show_duration(breaker.probe_max),
            show_duration(breaker.probe_initial),
        );
        let message = format!("is {is}, below `initial`: write at least {initial}");
        max.problem(context, message);
    }
    section.finish(context);
}
