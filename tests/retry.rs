//! Retry in place: the key waits, other keys flow, and no attempt is early, forgotten or counted wrongly.

use std::time::Duration;

use crate::harness::host::{Host, Setup};
use crate::harness::kafka;
use crate::harness::main_flow::{assert_kept, origin, place_of, summary};
use crate::harness::topic::{Record, recent_ms};
use crate::harness::wait;
use crate::harness::witness::Witness;

const TIMEOUT: Duration = Duration::from_secs(60);

fn wait_for_parked(host: &Host, group: &str, events: u64) {
    wait::eventually("events held back", TIMEOUT, || {
        host.metrics()
            .sum("millrace_events_parked", &[("group", group)])
            >= events as f64
    });
}

/// The numbers in a list of a journal line.
fn numbers(line: &serde_json::Value, name: &str) -> Vec<f64> {
    let list = line[name].as_array().expect("it is a list");
    list.iter()
        .map(|number| number.as_f64().expect("a number"))
        .collect()
}

#[test]
fn a_retried_event_keeps_its_key_waiting_while_other_keys_flow_and_is_never_early() {
    let witness = Witness::new("retry", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    let setup = Setup::new(kafka::shared(), &witness.config(""));
    let mut records = vec![
        Record::new("a", r#"{"do":"retry","times":2,"after-ms":700}"#),
        Record::new("a", "{}"),
    ];
    records.extend((0..20).map(|n| Record::new(format!("other {n}"), "{}")));
    source.produce(&records);
    let host = setup.start();

    wait_for_parked(&host, group, 2);
    // One that comes only now has to queue too.
    source.produce(&[Record::new("a", "{}")]);
    source.wait_for_no_lag(group, TIMEOUT);

    host.metrics().assert_ledger_balanced(group);
    assert_eq!(
        host.metrics()
            .sum("millrace_retries_total", &[("group", group)]),
        2.0
    );
    host.sigterm().expect_code(0);
    let lines = witness.lines(&setup);
    let order: Vec<i64> = lines.iter().map(|line| place_of(line).1).collect();
    let others = (2..22).collect::<Vec<_>>();
    let mut before = order[..20].to_vec();
    before.sort_unstable();
    assert_eq!(before, others, "other keys did not wait");
    assert_eq!(
        order[20..],
        [0, 1, 22],
        "the key's own events kept their order"
    );
    let retried = &lines[20];
    assert_eq!(numbers(retried, "attempts"), [1.0, 2.0, 3.0]);
    let gaps_ms = numbers(retried, "gaps_ms");
    assert!(
        gaps_ms.iter().all(|gap| *gap >= 700.0),
        "early: {gaps_ms:?}"
    );
    assert_eq!(witness.dead_letters.read_all(), []);
    eprintln!("retry: asked for 700 ms, waited {gaps_ms:?}");
}

#[test]
fn backoff_grows_from_attempt_to_attempt_and_an_exhausted_event_is_dead_lettered_with_its_attempts()
{
    let witness = Witness::new("exhausted", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    let retry = "    retry: { attempts: 4, backoff: { initial: 150ms, factor: 2, jitter: 0 } }\n";
    let setup = Setup::new(kafka::shared(), &witness.config(retry));
    source.produce(&[
        Record::new("a", r#"{"do":"retry"}"#)
            .header("kept", "as it was")
            .timestamp_ms(recent_ms()),
        Record::new("a", "{}"),
        Record::new("b", r#"{"do":"retry","times":3}"#),
    ]);
    let host = setup.start();

    source.wait_for_no_lag(group, TIMEOUT);

    host.metrics().assert_ledger_balanced(group);
    let exit = host.sigterm().expect_code(0);
    assert_eq!(summary(&exit, group)["dead"], 1);
    let letters = witness.dead_letters.read_all();
    let [letter] = letters.as_slice() else {
        panic!("one dead letter, not {letters:?}")
    };
    assert_kept(&source.read_all()[0], letter);
    assert_eq!(origin(letter), (0, 0));
    let told = |name: &str| letter.header(&format!("millrace.dlq.{name}"));
    assert_eq!(told("cause"), Some("exhausted"));
    assert_eq!(told("code"), Some("asked-for"));
    assert_eq!(told("message"), Some("the event said so"));
    assert_eq!(told("attempts"), Some("4"));
    let failed_ms = ["first-failed-at", "last-failed-at"].map(|name| {
        told(name)
            .and_then(|at| at.parse::<i64>().ok())
            .expect("a time")
    });
    // 150 + 300 + 600 ms lie between the first failure and the last.
    assert!(failed_ms[1] - failed_ms[0] >= 1_050, "{failed_ms:?}");
    let lines = witness.lines(&setup);
    let mut places: Vec<_> = lines.iter().map(place_of).collect();
    places.sort_unstable();
    assert_eq!(places, [(0, 1), (0, 2)], "the key went on after it");
    let last_chance = lines
        .iter()
        .find(|line| place_of(line) == (0, 2))
        .expect("it is there");
    let gaps_ms = numbers(last_chance, "gaps_ms");
    for (gap_ms, least_ms) in gaps_ms.iter().zip([150.0, 300.0, 600.0]) {
        assert!(*gap_ms >= least_ms, "early: {gaps_ms:?}");
    }
    assert_eq!(numbers(last_chance, "attempts"), [1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn overloaded_waits_as_long_as_it_asks_and_is_no_attempt() {
    let witness = Witness::new("overloaded", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    let setup = Setup::new(
        kafka::shared(),
        &witness.config("    retry: { attempts: 2 }\n"),
    );
    source.produce(&[Record::new(
        "a",
        r#"{"do":"overload","times":4,"after-ms":200}"#,
    )]);
    let host = setup.start();

    source.wait_for_no_lag(group, TIMEOUT);

    assert_eq!(
        host.metrics()
            .sum("millrace_retries_total", &[("group", group)]),
        0.0
    );
    let exit = host.sigterm().expect_code(0);
    assert_eq!(summary(&exit, group)["processed"], 1);
    let lines = witness.lines(&setup);
    assert_eq!(
        numbers(&lines[0], "attempts"),
        [1.0; 5],
        "more calls than attempts are configured"
    );
    let gaps_ms = numbers(&lines[0], "gaps_ms");
    assert!(
        gaps_ms.iter().all(|gap| *gap >= 200.0),
        "early: {gaps_ms:?}"
    );
}

#[test]
fn events_held_back_at_sigterm_are_not_committed_and_run_after_the_restart() {
    let witness = Witness::new("parked", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    let setup = Setup::new(kafka::shared(), &witness.config(""));
    source.produce(&[
        Record::new("before", "{}"),
        Record::new("a", r#"{"do":"retry","times":1,"after-ms":3000}"#),
        Record::new("a", "{}"),
        Record::new("other", "{}"),
    ]);
    let host = setup.start();
    wait_for_parked(&host, group, 2);
    wait::eventually("the others", TIMEOUT, || {
        host.metrics().outcomes(group).get("processed") == Some(&2.0)
    });

    let exit = host.sigterm().expect_code(0);
    assert_eq!(summary(&exit, group)["abandoned"], 2);
    assert_eq!(
        source.committed(group).get(&0),
        Some(&1),
        "not past what is held back"
    );
    assert_eq!(witness.places(&setup), [(0, 0), (0, 3)]);
    let host = setup.start();
    source.wait_for_no_lag(group, TIMEOUT);

    host.metrics().assert_ledger_balanced(group);
    let exit = host.sigterm().expect_code(0);
    let summary = summary(&exit, group);
    assert_eq!((summary["processed"], summary["recovered"]), (2, 1));
    assert_eq!(witness.places(&setup), [(0, 0), (0, 1), (0, 2), (0, 3)]);
    assert_eq!(witness.counted(), 4);
    assert_eq!(witness.dead_letters.read_all(), []);
}

#[test]
fn bad_keys_that_come_in_one_batch_with_many_good_ones_are_no_outage() {
    const EVENTS: usize = 400;
    let witness = Witness::new("no-outage", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    // Taken for an outage, they would wait longer than this test.
    let settings = "    breaker: { probe: { initial: 1h, max: 1h } }\n    \
                    retry: { backoff: { initial: 100ms } }\n";
    let setup = Setup::new(kafka::shared(), &witness.config(settings));
    let records: Vec<_> = (0..EVENTS)
        .map(|n| match n % 10 {
            9 => Record::new(format!("bad {n}"), r#"{"do":"retry","times":1}"#),
            _ => Record::new(format!("good {n}"), "{}"),
        })
        .collect();
    source.produce(&records);
    let host = setup.start();

    source.wait_for_no_lag(group, TIMEOUT);

    host.metrics().assert_ledger_balanced(group);
    host.sigterm().expect_code(0);
    assert_eq!(witness.places(&setup).len(), EVENTS);
    assert_eq!(witness.dead_letters.read_all(), []);
}
