//! Attacks of `init` and of `on-tick`, which run beside the path of the events and have the same limits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace::sandbox::{Fault, FaultKind, Instance, LoadedPlugin, TickAnswer, TickReason};

use crate::sandbox::{everything_granted, guest, sandbox};

/// Long enough to eat all memory on a busy machine.
const DEADLINE: Duration = Duration::from_secs(2);

/// What a deadline may be late by while everything else runs on two cores.
const LATENESS_MAX: Duration = Duration::from_secs(10);

/// What a message may have at most; it ends in a log and on a screen.
const MESSAGE_BYTES_MAX: usize = 2_000;

/// The guest with these settings.
fn hostile(settings: &[(&str, &str)]) -> Arc<LoadedPlugin> {
    let mut config = everything_granted(guest("hostile"));
    config.limits.deadline = DEADLINE;
    let all = [("output", "outputs")]
        .into_iter()
        .chain(settings.iter().copied());
    config.settings = all
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let loaded = LoadedPlugin::load(sandbox(), "hostile", &config);
    Arc::new(loaded.unwrap_or_else(|error| panic!("{error}")))
}

fn tick(plugin: &Arc<LoadedPlugin>, sums: Vec<(String, i64)>) -> Result<TickAnswer, Fault> {
    let mut instance = Instance::new(plugin).unwrap_or_else(|error| panic!("{error}"));
    instance.tick("topic", 0, 1_700_000_000_000, TickReason::Interval, sums)
}

#[test]
fn an_init_that_attacks_is_refused_in_time_and_in_few_words() {
    for (deed, part) in [
        ("loop", "limits.deadline"),
        ("sleep", "limits.deadline"),
        ("trap", "unreachable"),
        ("exit", "exit"),
        ("eat-memory", "limits.memory"),
        ("deep", "stack"),
        ("flood-log", "limits.host_calls"),
        ("leak-pollables", "handles"),
        ("huge-line", "limits.event_hostcall"),
        ("huge-refusal", "no[2J"),
    ] {
        let plugin = hostile(&[("init", deed)]);
        let began = Instant::now();
        let refusal = Instance::new(&plugin).expect_err(deed).to_string();
        let took = began.elapsed();
        assert!(
            refusal.contains(part),
            "{deed}: {part:?} is not in: {refusal}"
        );
        assert!(
            refusal.len() < MESSAGE_BYTES_MAX,
            "{deed}: {} bytes",
            refusal.len()
        );
        assert!(!refusal.contains(char::is_control), "{deed}: {refusal:?}");
        assert!(took < DEADLINE + LATENESS_MAX, "{deed}: {took:?}");
    }
}

#[test]
fn a_tick_that_attacks_ends_with_the_limit_that_it_hits() {
    for (deed, kind, part) in [
        ("loop", FaultKind::Deadline, "limits.deadline"),
        ("sleep", FaultKind::Deadline, "limits.deadline"),
        ("trap", FaultKind::Trap, "unreachable"),
        ("eat-memory", FaultKind::Memory, "limits.memory"),
        ("flood-metrics", FaultKind::Fuel, "limits.host_calls"),
        ("leak-pollables", FaultKind::Fuel, "handles"),
        ("output-flood", FaultKind::Fuel, "limits.event_hostcall"),
        ("output-huge", FaultKind::Fuel, "limits.event_hostcall"),
        (
            "output-forbidden",
            FaultKind::Capability,
            "nobody-granted-this",
        ),
    ] {
        let fault = tick(&hostile(&[("tick", deed)]), Vec::new()).expect_err(deed);
        let said = format!("{}: {}", fault.code, fault.message);
        assert_eq!(fault.kind, kind, "{deed}: {said}");
        assert!(said.contains(part), "{deed}: {part:?} is not in: {said}");
    }
}

#[test]
fn what_a_tick_says_of_its_failure_is_cut() {
    let fault = tick(&hostile(&[("tick", "huge-message")]), Vec::new()).expect_err("it fails");
    assert_eq!((fault.code.len(), fault.message.len()), (1_024, 1_024));
}

#[test]
fn a_tick_that_takes_more_sums_than_it_has_room_for_leaves_them_all() {
    let sums: Vec<(String, i64)> = (0..200_000)
        .map(|i| (format!("{i} {}", "x".repeat(240)), 1))
        .collect();
    let fault = tick(&hostile(&[]), sums).expect_err("it has no room");
    assert!(
        matches!(
            fault.kind,
            FaultKind::Memory | FaultKind::Fuel | FaultKind::Output | FaultKind::Deadline
        ),
        "{fault:?}"
    );
}
