//! Every limit of a call, in pairs: what stays within it passes, what goes past it ends with its name.

pub(super) mod logs;
mod making;

use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace::sandbox::{BatchAnswer, Fault, FaultKind, LoadedPlugin};

use super::{Event, instance, lines, load, run, run_rogue};

/// Short enough for a quick test, long enough for a busy machine.
const SHORT_DEADLINE: Duration = Duration::from_millis(200);

/// What a deadline may be late by while everything else runs on two cores.
const LATENESS_MAX: Duration = Duration::from_secs(5);

#[track_caller]
fn passes(answer: Result<BatchAnswer, Fault>) -> BatchAnswer {
    answer.unwrap_or_else(|fault| panic!("{fault:?}"))
}

#[track_caller]
fn ends(answer: Result<BatchAnswer, Fault>, kind: FaultKind, parts: &[&str]) {
    let fault = answer.expect_err("it went past its limit");
    assert_eq!(fault.kind, kind, "{fault:?}");
    let text = format!("{}: {}", fault.code, fault.message);
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    // Where a limit is named, it is named in full, as it is counted in the metrics.
    let place = |limit| format!("(plugins.rogue.limits.{limit})");
    assert_eq!(
        fault.limit.is_some(),
        fault
            .limit
            .is_some_and(|limit| text.contains(&place(limit))),
        "{fault:?}"
    );
    let asked = parts.iter().any(|part| part.contains("limits."));
    assert!(fault.limit.is_some() || !asked, "{fault:?}");
}

fn with_short_deadline() -> Arc<LoadedPlugin> {
    load("rogue", |limits| limits.deadline = SHORT_DEADLINE)
}

#[track_caller]
fn ends_at_the_deadline(value: &str) {
    let plugin = with_short_deadline();
    let mut instance = instance(&plugin);
    let began = Instant::now();
    let answer = run(&mut instance, &[Event::of_value(value)]);
    let took = began.elapsed();
    ends(
        answer,
        FaultKind::Deadline,
        &["deadline", "limits.deadline"],
    );
    assert!(took >= SHORT_DEADLINE, "it ended after {took:?}");
    assert!(
        took < SHORT_DEADLINE + LATENESS_MAX,
        "it ended after {took:?}"
    );
}

#[test]
fn deadline_obeyed() {
    let plugin = load("rogue", |limits| limits.deadline = Duration::from_secs(30));
    passes(run_rogue(&plugin, r#"{"do":"sleep","n":50}"#));
}

#[test]
fn deadline_violated() {
    ends_at_the_deadline(r#"{"do":"loop"}"#);
}

#[test]
fn a_blocking_wait_ends_at_the_deadline() {
    ends_at_the_deadline(r#"{"do":"sleep","n":3600000}"#);
}

/// Some thousand calls in the guest, and none of the host.
const WORK: &str = r#"{"do":"stack","n":2000}"#;

fn with_fuel(fuel: u64) -> Arc<LoadedPlugin> {
    load("rogue", |limits| {
        limits.fuel = Some(fuel);
        // A violation must come from the fuel.
        limits.deadline = Duration::from_secs(60);
    })
}

/// The least fuel that is enough for the work, in an instance of its own.
fn least_fuel() -> u64 {
    let (mut too_little, mut enough) = (1_000, 10_000_000);
    while enough - too_little > 1 {
        let fuel = u64::midpoint(too_little, enough);
        match run_rogue(&with_fuel(fuel), WORK) {
            Ok(_) => enough = fuel,
            Err(_) => too_little = fuel,
        }
    }
    enough
}

#[test]
fn fuel_obeyed() {
    let plugin = with_fuel(least_fuel());
    let mut instance = instance(&plugin);
    // Each event brings its own, in a batch too.
    for events in [1, 1, 20] {
        passes(run(&mut instance, &vec![Event::of_value(WORK); events]));
    }
}

#[test]
fn fuel_violated() {
    let fuel = least_fuel() - 1;
    let parts = &[
        "fuel",
        &format!("{fuel} units of fuel"),
        "plugins.rogue.limits.fuel",
    ];
    // At the same place each time, which a deadline does not promise.
    for _ in 0..3 {
        ends(run_rogue(&with_fuel(fuel), WORK), FaultKind::Fuel, parts);
    }
    let endless = run_rogue(&with_fuel(fuel), r#"{"do":"loop"}"#);
    ends(endless, FaultKind::Fuel, parts);
}

#[test]
fn resources_obeyed() {
    let plugin = load("rogue", |limits| limits.resources = 100);
    let mut instance = instance(&plugin);
    for _ in 0..3 {
        passes(run(
            &mut instance,
            &[Event::of_value(r#"{"do":"hold","n":40}"#)],
        ));
    }
}

#[test]
fn resources_violated() {
    let plugin = load("rogue", |limits| limits.resources = 100);
    ends(
        run_rogue(&plugin, r#"{"do":"hold","n":101}"#),
        FaultKind::Fuel,
        &[
            "resources",
            "more than 100 handles",
            "plugins.rogue.limits.resources",
        ],
    );
}

#[test]
fn memory_obeyed() {
    let plugin = load("rogue", |limits| limits.memory_bytes = 8 << 20);
    passes(run_rogue(&plugin, r#"{"do":"huge-output","n":3000000}"#));
}

#[test]
fn memory_violated() {
    let plugin = load("rogue", |limits| limits.memory_bytes = 8 << 20);
    ends(
        run_rogue(&plugin, r#"{"do":"eat-memory"}"#),
        FaultKind::Memory,
        &["8388608 bytes", "limits.memory"],
    );
}

#[test]
fn hostcall_bytes_obeyed() {
    let plugin = load("rogue", |limits| limits.event_hostcall_bytes = 100_000);
    passes(run_rogue(&plugin, r#"{"do":"huge-line","n":99000}"#));
}

#[test]
fn hostcall_bytes_violated() {
    let plugin = load("rogue", |limits| limits.event_hostcall_bytes = 100_000);
    let parts = &["hostcall", "limits.event_hostcall"];
    ends(
        run_rogue(&plugin, r#"{"do":"huge-line","n":101000}"#),
        FaultKind::Fuel,
        parts,
    );
    ends(
        run_rogue(&plugin, r#"{"do":"huge-output","n":101000}"#),
        FaultKind::Fuel,
        parts,
    );
}

#[test]
fn batch_hostcall_bytes_bound_the_whole_batch() {
    let plugin = load("rogue", |limits| {
        (limits.event_hostcall_bytes, limits.batch_hostcall_bytes) = (100_000, 250_000);
    });
    let event = Event::of_value(r#"{"do":"huge-line","n":90000}"#);
    passes(run(&mut instance(&plugin), &vec![event.clone(); 2]));
    let answer = run(&mut instance(&plugin), &vec![event; 3]);
    ends(answer, FaultKind::Fuel, &["limits.batch_hostcall"]);
}

#[test]
fn effect_bytes_obeyed() {
    let plugin = load("rogue", |limits| limits.event_hostcall_bytes = 1_000_000);
    passes(run_rogue(&plugin, r#"{"do":"same-bytes","n":900}"#));
}

#[test]
fn effect_bytes_violated() {
    let plugin = load("rogue", |limits| limits.event_hostcall_bytes = 1_000_000);
    let parts = &["effect-bytes", "1000000 bytes"];
    ends(
        run_rogue(&plugin, r#"{"do":"many-lines","n":10000}"#),
        FaultKind::Fuel,
        parts,
    );
    // A kilobyte that is named a thousand times counts a thousand times.
    ends(
        run_rogue(&plugin, r#"{"do":"same-bytes","n":1000}"#),
        FaultKind::Fuel,
        parts,
    );
}

#[test]
fn host_calls_obeyed() {
    let plugin = load("rogue", |limits| limits.host_calls = 1_000);
    // Two more hand over the tallies and the journal.
    passes(run_rogue(&plugin, r#"{"do":"host-calls","n":998}"#));
}

#[test]
fn host_calls_violated() {
    let plugin = load("rogue", |limits| limits.host_calls = 1_000);
    let answer = run_rogue(&plugin, r#"{"do":"host-calls","n":999}"#);
    ends(
        answer,
        FaultKind::Fuel,
        &["more than 1000 calls", "limits.host_calls"],
    );
}

#[test]
fn outputs_obeyed() {
    let plugin = load("rogue", |limits| limits.outputs = 20);
    let flood = Event::of_value(r#"{"do":"flood","n":20}"#);
    let answer = passes(run(&mut instance(&plugin), &vec![flood; 3]));
    assert_eq!(answer.outputs.len(), 60);
}

#[test]
fn outputs_violated() {
    let plugin = load("rogue", |limits| limits.outputs = 20);
    let answer = run_rogue(&plugin, r#"{"do":"flood","n":21}"#);
    ends(
        answer,
        FaultKind::Output,
        &["more than 20 outputs", "limits.outputs"],
    );
}

#[test]
fn output_size_obeyed() {
    let plugin = load("rogue", |limits| limits.output_bytes = 1_000);
    let answer = passes(run_rogue(&plugin, r#"{"do":"huge-output","n":1000}"#));
    assert_eq!(answer.outputs[0].value.as_ref().map(Vec::len), Some(1_000));
}

#[test]
fn output_size_violated() {
    let plugin = load("rogue", |limits| limits.output_bytes = 1_000);
    let answer = run_rogue(&plugin, r#"{"do":"huge-output","n":1001}"#);
    ends(
        answer,
        FaultKind::Output,
        &["1000 bytes", "limits.output_size"],
    );
}

#[test]
fn output_topic_obeyed() {
    let plugin = load("rogue", |_| {});
    let answer = passes(run_rogue(&plugin, r#"{"do":"output","to":"echo"}"#));
    assert_eq!(answer.outputs[0].topic, "echo");
}

#[test]
fn output_topic_violated() {
    let plugin = load("rogue", |_| {});
    let answer = run_rogue(&plugin, r#"{"do":"forbidden-output"}"#);
    ends(
        answer,
        FaultKind::Capability,
        &["nobody-granted-this", "`output:nobody-granted-this`"],
    );
}

#[test]
fn effect_index_obeyed() {
    let plugin = load("rogue", |_| {});
    passes(run_rogue(&plugin, r#"{"do":"wrong-index","n":0}"#));
    passes(run_rogue(&plugin, r#"{"do":"wrong-begin","n":0}"#));
}

#[test]
fn effect_index_violated() {
    let plugin = load("rogue", |_| {});
    for deed in ["wrong-index", "wrong-begin"] {
        let answer = run_rogue(&plugin, &format!(r#"{{"do":"{deed}","n":1}}"#));
        ends(
            answer,
            FaultKind::Output,
            &["effect-index", "event 1, but the call has 1"],
        );
    }
}

#[test]
fn a_journal_line_with_a_line_break_ends_the_call() {
    let plugin = load("rogue", |_| {});
    let answer = run_rogue(&plugin, r#"{"do":"broken-line"}"#);
    ends(answer, FaultKind::Output, &["journal", "line break"]);
}

#[test]
fn sums_can_be_taken_in_a_tick_only() {
    let plugin = load("rogue", |_| {});
    let answer = run_rogue(&plugin, r#"{"do":"take"}"#);
    ends(
        answer,
        FaultKind::Capability,
        &["tally.take outside of on-tick"],
    );
}

#[test]
fn traps_are_told_by_their_kind() {
    let plugin = load("rogue", |_| {});
    let trap = run_rogue(&plugin, r#"{"do":"trap"}"#);
    let said = "the event said so";
    ends(
        trap,
        FaultKind::Trap,
        &["UnreachableCodeReached", "panicked at", said],
    );
    let stack = run_rogue(&plugin, r#"{"do":"stack"}"#);
    ends(stack, FaultKind::Trap, &["StackOverflow"]);
    passes(run_rogue(&plugin, r#"{"do":"stack","n":100}"#));
}

#[test]
fn a_trap_of_one_instance_is_nothing_to_the_next() {
    let plugin = load("rogue", |_| {});
    for _ in 0..200 {
        assert!(run_rogue(&plugin, r#"{"do":"trap"}"#).is_err());
    }
    let mut instance = instance(&plugin);
    passes(run(&mut instance, &[Event::of_value("{}")]));
    assert_eq!(lines(instance.effects()), ["0"]);
}
