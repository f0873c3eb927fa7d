//! Only events that succeed leave effects, whatever fails around them, and order groups keep their order.

use std::collections::{BTreeMap, BTreeSet};

use millrace::sandbox::{
    Answer, BatchAnswer, Effects, Instance, MetricKind, StateSource, StateWrite, TallyOp,
    TickReason,
};

use super::{Event, instance, lines, load, run};

/// Events of one random batch, and how many batches each guest must get right.
const EVENTS_MAX: usize = 40;
const ROUNDS: u64 = 150;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Succeeds,
    Filtered,
    Retry,
    Reject,
    Overload,
}

const FATES: [Fate; 7] = [
    // Successes are what most events do, and what failures must not touch.
    Fate::Succeeds,
    Fate::Succeeds,
    Fate::Succeeds,
    Fate::Filtered,
    Fate::Retry,
    Fate::Reject,
    Fate::Overload,
];

/// The effects that a caller keeps: those of the events that succeeded.
fn keep_what_stands(instance: &mut Instance, answer: &BatchAnswer) {
    let fails = |answer: &Answer| !matches!(answer, Answer::Processed | Answer::Filtered);
    let failed: BTreeSet<u32> = answer
        .answers
        .iter()
        .filter_map(|(index, answer)| fails(answer).then_some(*index))
        .collect();
    instance.effects().retain(|index| !failed.contains(&index));
}

/// What each event must come to: nothing of an order group runs after a retry or an overload.
fn model(events: &[(Event, Fate)]) -> Vec<Option<Fate>> {
    let mut held = BTreeSet::new();
    let outcome = |(event, fate): &(Event, Fate)| {
        if held.contains(&event.group) {
            return None;
        }
        if matches!(fate, Fate::Retry | Fate::Overload) {
            held.insert(event.group);
        }
        Some(*fate)
    };
    events.iter().map(outcome).collect()
}

#[track_caller]
fn check_random_batches(guest: &str, value: fn(Fate) -> &'static str) {
    let plugin = load(guest, |_| {});
    let mut instance = instance(&plugin);
    // Others in each run; a seed that fails is named and can be put here.
    let first: u64 = fastrand::u64(..);
    eprintln!("{guest}: seeds from {first}");
    for seed in (0..ROUNDS).map(|n| first.wrapping_add(n)) {
        let mut random = fastrand::Rng::with_seed(seed);
        let events: Vec<(Event, Fate)> = (0..random.usize(1..=EVENTS_MAX))
            .map(|_| {
                let fate = FATES[random.usize(..FATES.len())];
                let group = random.u32(..8);
                let event = Event::of_value(value(fate)).in_group(group);
                // A group is a key of one partition.
                (
                    Event {
                        partition: (group % 3) as i32,
                        ..event
                    },
                    fate,
                )
            })
            .collect();
        let batch: Vec<Event> = events.iter().map(|(event, _)| event.clone()).collect();
        // Before the batch, the state of each key names its group.
        let settled = (0..8).map(|group| (format!("{group}/last"), format!("g{group}")));
        instance.set_state_source(Some(Box::new(Settled {
            keys: batch.iter().map(|event| event.group.to_string()).collect(),
            values: settled
                .map(|(key, value)| (key.into_bytes(), value.into_bytes()))
                .collect(),
        })));
        let answer = run(&mut instance, &batch).unwrap_or_else(|f| panic!("seed {seed}: {f:?}"));
        keep_what_stands(&mut instance, &answer);
        check_batch(
            &format!("{guest}, seed {seed}"),
            &events,
            &answer,
            &mut instance,
        );
    }
}

#[track_caller]
fn check_batch(
    what: &str,
    events: &[(Event, Fate)],
    answer: &BatchAnswer,
    instance: &mut Instance,
) {
    let outcomes = model(events);
    let special: BTreeMap<u32, &Answer> = answer.answers.iter().map(|(i, a)| (*i, a)).collect();
    let (mut journal, mut state) = (Vec::new(), Vec::new());
    let mut last_of_key: BTreeMap<u32, String> = BTreeMap::new();
    let mut sums: BTreeMap<(i32, &str), i64> = BTreeMap::new();
    for (index, outcome) in outcomes.iter().enumerate() {
        let found = special
            .get(&(index as u32))
            .copied()
            .unwrap_or(&Answer::Processed);
        let fits = match outcome {
            None => matches!(found, Answer::Held),
            Some(Fate::Succeeds) => matches!(found, Answer::Processed),
            Some(Fate::Filtered) => matches!(found, Answer::Filtered),
            Some(Fate::Retry) => matches!(found, Answer::Retry(p) if p.code == "asked-for"),
            Some(Fate::Reject) => matches!(found, Answer::Reject(p) if p.code == "asked-for"),
            Some(Fate::Overload) => matches!(found, Answer::Overloaded(_)),
        };
        assert!(
            fits,
            "{what}: event {index} was to be {outcome:?} and was {found:?}"
        );
        if matches!(outcome, Some(Fate::Succeeds | Fate::Filtered)) {
            let (partition, group) = (events[index].0.partition, events[index].0.group);
            let before = last_of_key.insert(group, index.to_string());
            let before = before.unwrap_or_else(|| format!("g{group}"));
            journal.push(format!("{index}:{before}"));
            state.push((index as u32, format!("{group}/last"), index.to_string()));
            *sums.entry((partition, "events")).or_default() += 1;
            let last = sums.entry((partition, "last-offset")).or_default();
            *last = (*last).max(index as i64);
        }
    }
    let effects = instance.effects();
    assert_eq!(
        lines(effects),
        journal,
        "{what}: the journal, and the state that was read"
    );
    check_state_and_metrics(what, effects, &state);
    let mut found: BTreeMap<(i32, &str), i64> = BTreeMap::new();
    for change in &effects.tallies {
        let partition = events[change.event_index as usize].0.partition;
        let sum = found.entry((partition, &change.name)).or_default();
        assert_eq!(
            change.op == TallyOp::Max,
            change.name == "last-offset",
            "{what}"
        );
        *sum = change.op.join(*sum, change.value);
    }
    assert_eq!(found, sums, "{what}: the tallies");
    let echoed: Vec<u32> = answer
        .outputs
        .iter()
        .map(|output| output.event_index)
        .collect();
    let succeeded = outcomes
        .iter()
        .enumerate()
        .filter(|(_, o)| **o == Some(Fate::Succeeds));
    let expected: Vec<u32> = succeeded.map(|(index, _)| index as u32).collect();
    assert_eq!(echoed, expected, "{what}: the outputs");
}

/// What was written of the state of each event that succeeded, and that each was counted and observed once.
#[track_caller]
fn check_state_and_metrics(what: &str, effects: &Effects, state: &[(u32, String, String)]) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let written = effects.state.iter().map(|write| {
        let value = write.value.as_deref().unwrap_or_default();
        (write.event_index, text(&write.key), text(value))
    });
    assert_eq!(Vec::from_iter(written), state, "{what}: the state");
    let counted = |kind| {
        effects
            .metrics
            .iter()
            .filter(move |change| change.kind == kind)
    };
    let count: f64 = counted(MetricKind::Counter)
        .map(|change| change.value)
        .sum();
    assert_eq!(count, state.len() as f64, "{what}: the counter");
    let observed = counted(MetricKind::Histogram).map(|change| change.value as u32);
    let succeeded = state.iter().map(|(index, ..)| *index);
    assert!(observed.eq(succeeded), "{what}: the histogram");
}

#[test]
fn failures_anywhere_in_a_batch_leave_nothing_behind() {
    check_random_batches("hoards", |fate| match fate {
        Fate::Succeeds => r#"{"everything":"success"}"#,
        Fate::Filtered => r#"{"everything":"filter"}"#,
        Fate::Retry => r#"{"everything":"retry"}"#,
        Fate::Reject => r#"{"everything":"reject"}"#,
        Fate::Overload => r#"{"everything":"overload"}"#,
    });
}

#[test]
fn failures_among_events_that_are_called_one_by_one_leave_nothing_behind() {
    check_random_batches("one-at-a-time", |fate| match fate {
        Fate::Succeeds => "fine",
        Fate::Filtered => "skip",
        Fate::Retry => "fail",
        Fate::Reject => "reject",
        Fate::Overload => "busy",
    });
}

#[test]
fn a_fault_costs_the_whole_batch_its_effects_and_no_later_one() {
    for (guest, good, bad) in [
        ("rogue", "{}", r#"{"do":"trap"}"#),
        ("one-at-a-time", "fine", "trap"),
    ] {
        let plugin = load(guest, |_| {});
        let values = [good, good, bad, good];
        let batch: Vec<Event> = (0_u32..)
            .zip(values)
            .map(|(group, v)| Event::of_value(v).in_group(group))
            .collect();
        run(&mut instance(&plugin), &batch).expect_err("it traps");
        // As the host does it then: each alone, in a new instance after each fault.
        let mut handled = 0;
        for event in &batch {
            let mut instance = instance(&plugin);
            if run(&mut instance, std::slice::from_ref(event)).is_ok() {
                assert_eq!(lines(instance.effects()).len(), 1);
                handled += 1;
            }
        }
        assert_eq!(handled, 3, "{guest}");
    }
}

#[test]
fn nested_records_arrive_and_return_whole() {
    let plugin = load("one-at-a-time", |_| {});
    let mut instance = instance(&plugin);
    let event = Event {
        key: Some("k".to_owned()),
        partition: 2,
        ..Event::of_value("fine")
    };
    let tombstone = Event {
        key: None,
        value: None,
        partition: 0,
        group: 1,
        attempt: 1,
        headers: Vec::new(),
    };
    let answer = run(&mut instance, &[event, tombstone]).expect("it is handled");
    let [echo, empty] = &answer.outputs[..] else {
        panic!("{:?}", answer.outputs)
    };
    assert_eq!((echo.topic.as_str(), echo.partition), ("echo", Some(2)));
    assert_eq!(echo.key.as_deref(), Some(&b"k"[..]));
    assert_eq!(echo.value.as_deref(), Some(&b"fine"[..]));
    assert_eq!(
        (&empty.key, &empty.value),
        (&None, &None),
        "null is not empty"
    );
}

#[test]
fn an_event_sees_its_attempt_and_may_say_when_to_come_back() {
    let plugin = load("rogue", |_| {});
    let mut instance = instance(&plugin);
    let mut event = Event::of_value(r#"{"do":"ok","retry-until":3,"after-ms":750}"#);
    for attempt in 1..=2 {
        event.attempt = attempt;
        let answer = run(&mut instance, std::slice::from_ref(&event)).expect("it answers");
        let [(0, Answer::Retry(problem))] = &answer.answers[..] else {
            panic!("{answer:?}")
        };
        assert_eq!(problem.after_ms, Some(750));
        assert!(instance.effects().is_empty());
    }
    event.attempt = 3;
    let answer = run(&mut instance, &[event]).expect("it answers");
    assert!(answer.answers.is_empty(), "{answer:?}");
}

/// State that settled before the call: the same for every event of a key.
#[derive(Debug)]
struct Settled {
    keys: Vec<String>,
    values: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl StateSource for Settled {
    fn key(&self, event_index: u32, name: &str) -> Vec<u8> {
        format!("{}/{name}", self.keys[event_index as usize]).into_bytes()
    }

    fn now_ms(&self) -> u64 {
        0
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        Ok(self.values.get(key).cloned())
    }

    fn room_for(&self, _key: &[u8], _value_bytes: usize) -> Result<(), String> {
        Ok(())
    }
}

/// Runs keys and values with counts that settled before; returns the counts that are output and the
/// state writes that stand.
fn count(events: &[(&str, &str)], settled: &[(&str, &str)]) -> (Vec<String>, Vec<StateWrite>) {
    let plugin = load("counter-state", |_| {});
    let mut instance = instance(&plugin);
    let keys: BTreeSet<&str> = events.iter().map(|(key, _)| *key).collect();
    let keys: Vec<&str> = keys.into_iter().collect();
    let batch: Vec<Event> = events
        .iter()
        .map(|(key, value)| {
            let group = keys.binary_search(key).unwrap_or_default() as u32;
            Event {
                key: Some((*key).to_owned()),
                ..Event::of_value(*value).in_group(group)
            }
        })
        .collect();
    let values = settled
        .iter()
        .map(|(k, v)| (k.as_bytes().to_vec(), v.as_bytes().to_vec()));
    instance.set_state_source(Some(Box::new(Settled {
        keys: events.iter().map(|(key, _)| (*key).to_owned()).collect(),
        values: values.collect(),
    })));
    let answer = run(&mut instance, &batch).expect("it is handled");
    keep_what_stands(&mut instance, &answer);
    let text = |value: Option<Vec<u8>>| String::from_utf8(value.unwrap_or_default());
    let counts = answer
        .outputs
        .into_iter()
        .map(|output| text(output.value).expect("it is text"));
    (
        counts.collect(),
        std::mem::take(&mut instance.effects().state),
    )
}

#[test]
fn state_of_a_key_is_seen_by_its_later_events_and_by_no_other_key() {
    let (counts, writes) = count(
        &[("a", ""), ("b", ""), ("a", ""), ("a", "delete"), ("a", "")],
        &[("b/count", "41")],
    );
    assert_eq!(counts, ["1", "42", "2", "3", "1"]);
    let last = |key: &str| writes.iter().rfind(|write| write.key == key.as_bytes());
    assert_eq!(
        last("a/count").and_then(|write| write.value.clone()),
        Some(b"1".to_vec())
    );
    assert_eq!(
        last("b/count").and_then(|write| write.value.clone()),
        Some(b"42".to_vec())
    );
}

#[test]
fn state_that_a_failed_event_wrote_is_seen_by_nobody() {
    let (counts, writes) = count(&[("a", ""), ("a", "reject"), ("a", ""), ("b", "fail")], &[]);
    assert_eq!(counts, ["1", "2"], "the rejected event does not count");
    let values: Vec<_> = writes.into_iter().filter_map(|write| write.value).collect();
    assert_eq!(values, [b"1".to_vec(), b"2".to_vec()]);
}

#[test]
fn a_tick_takes_settled_sums_and_emits_them() {
    let plugin = load("analytics", |_| {});
    let mut instance = instance(&plugin);
    let sums = vec![
        ("60000/click".to_owned(), 7),
        ("120000/search".to_owned(), 1),
    ];
    let tick = instance.tick("events", 0, 200_000, TickReason::Interval, sums.clone());
    let tick = tick.expect("it answers");
    assert_eq!((tick.taken, tick.left), (sums, Vec::new()));
    let values: Vec<serde_json::Value> = tick
        .outputs
        .iter()
        .map(|output| serde_json::from_slice(output.value.as_deref().unwrap_or_default()).unwrap())
        .collect();
    assert_eq!(
        values[0],
        serde_json::json!({"window_start_ms": 60_000, "window_end_ms": 120_000,
            "event_type": "click", "count": 7})
    );
    assert_eq!(values.len(), 2);
}

#[test]
fn a_plugin_without_a_timer_leaves_every_sum() {
    let mut instance = instance(&load("rogue", |_| {}));
    let sums = vec![("events".to_owned(), 7)];
    let tick = instance.tick("events", 0, 0, TickReason::Shutdown, sums.clone());
    assert_eq!(tick.expect("it answers").left, sums);
}
