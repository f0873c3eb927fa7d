//! The main job on a real Kafka: every sample event is counted, audited or dead-lettered, exactly once, also
//! when the host is asked to stop in the middle.

use std::time::{Duration, Instant};

use crate::harness::host::Setup;
use crate::harness::kafka;
use crate::harness::main_flow::{MainFlow, SETTLE_TIMEOUT, summary};
use crate::harness::topic::{Record, recent_ms};
use crate::harness::wait;

/// The job of the brief: 100 000 events over 4 partitions, 1 % duplicates and 0.5 % malformed.
const EVENTS: u64 = 100_000;
const PARTITIONS: i32 = 4;

/// Malformed in ways that sample events are not: null, empty, not text, and with headers of every kind.
fn strange_records() -> Vec<Record> {
    vec![
        Record::tombstone("strange").header("kept", "as it was"),
        Record::new("strange", "").null_header("null"),
        Record::new([0xff, 0x00], [0xc3, 0x28, b'\n', 0x00])
            .header("twice", [0xff])
            .header("twice", "")
            .timestamp_ms(recent_ms()),
        Record::keyless("no key and no JSON"),
    ]
}

#[test]
fn a_hundred_thousand_events_are_counted_audited_or_dead_lettered_exactly_once() {
    let flow = MainFlow::new("main", PARTITIONS);
    let setup = Setup::new(kafka::shared(), &flow.config());
    let host = setup.start();
    let began = Instant::now();

    let mut sent = flow.produce(EVENTS, &[]);
    let strange = strange_records();
    flow.source.produce(&strange);
    sent.add_bad(&strange);
    flow.wait_until_settled();
    let took = began.elapsed();

    let lag = |group| [("consumergroup", group), ("topic", flow.source.name())];
    wait::eventually("no lag by the metrics", SETTLE_TIMEOUT, || {
        let metrics = host.metrics();
        let lags = flow
            .groups()
            .map(|group| metrics.sum("kafka_consumergroup_lag", &lag(group)));
        lags == [0.0, 0.0]
    });
    let metrics = host.metrics();
    for group in flow.groups() {
        metrics.assert_ledger_balanced(group);
    }
    let outcome = |name: &str| metrics.outcomes(&flow.analytics).get(name).copied();
    assert_eq!(outcome("processed"), Some(sent.unique() as f64));
    assert_eq!(outcome("duplicate"), Some(sent.duplicates as f64));
    assert_eq!(outcome("dead"), Some(sent.bad as f64));
    for (event_type, count) in &sent.by_type {
        let counted = metrics.sum("analytics_events_total", &[("event_type", event_type)]);
        assert_eq!(
            counted, *count as f64,
            "the plugin's own metric of {event_type}"
        );
    }

    let exit = host.sigterm().expect_code(0);
    let analytics = summary(&exit, &flow.analytics);
    assert_eq!(analytics["polled"], sent.total);
    assert_eq!(analytics["processed"], sent.unique());
    assert_eq!(summary(&exit, &flow.audit)["processed"], sent.total);
    flow.assert_committed_to_the_end();
    let (emissions, distinct) = flow.assert_counts_exact(&sent);
    let letters = flow.assert_dead_letters(&sent);
    assert_eq!(letters as u64, sent.bad, "each malformed event once");
    let lines = flow.assert_audited_once(&[setup.folder()]);
    eprintln!(
        "main job: {} sent, {} duplicates, {} malformed, settled by both groups {took:.1?} after the first \
         was sent; {emissions} emissions, {distinct} distinct; {letters} dead letters; {lines} audit lines",
        sent.total, sent.duplicates, sent.bad,
    );
}

#[test]
fn the_same_again_after_sigterm_in_the_middle_and_a_restart() {
    let flow = MainFlow::new("sigterm", PARTITIONS);
    let setup = Setup::new(kafka::shared(), &flow.config());
    let host = setup.start();
    // Three seconds of events: the signal comes while they flow.
    let sending = flow.produce_meanwhile(EVENTS, 33_000);
    for group in flow.groups() {
        flow.wait_for_finished(&host, group, EVENTS / 5);
    }

    let first = host.sigterm().expect_code(0);
    let host = setup.start();
    let sent = sending.join().expect("everything was sent");
    flow.wait_until_settled();
    for group in flow.groups() {
        host.metrics().assert_ledger_balanced(group);
    }
    let second = host.sigterm().expect_code(0);

    let count =
        |group: &str, name: &str| (summary(&first, group)[name], summary(&second, group)[name]);
    let [analytics, audit] = flow.groups();
    for (group, name, expected) in [
        (analytics, "processed", sent.unique()),
        (analytics, "duplicate", sent.duplicates),
        (analytics, "dead", sent.bad),
        (analytics, "recovered", 0),
        (audit, "processed", sent.total),
        (audit, "recovered", 0),
    ] {
        let (before, after) = count(group, name);
        assert_eq!(
            before + after,
            expected,
            "{name} by {group}: {before} and {after}"
        );
    }
    let (before, after) = count(audit, "processed");
    assert!(
        before >= EVENTS / 5 && after > 0,
        "the signal came in the middle"
    );
    flow.assert_committed_to_the_end();
    let (emissions, distinct) = flow.assert_counts_exact(&sent);
    let letters = flow.assert_dead_letters(&sent);
    assert_eq!(letters as u64, sent.bad, "each malformed event once");
    flow.assert_audited_once(&[setup.folder()]);
    eprintln!(
        "SIGTERM in the middle: {before} audited before it and {after} after; abandoned {:?}; {emissions} \
         emissions, {distinct} distinct; {letters} dead letters",
        flow.groups().map(|group| count(group, "abandoned").0),
    );
}

#[test]
fn a_trickle_of_events_is_committed_while_it_flows_and_stops_at_once_when_asked() {
    let flow = MainFlow::new("trickle", 1);
    let setup = Setup::new(kafka::shared(), &flow.config());
    let host = setup.start();
    // Twenty seconds of events, 25 ms apart: there is always one more within the longest poll.
    let sending = flow.produce_meanwhile(800, 40);

    wait::eventually(
        "a commit while events flow",
        Duration::from_secs(10),
        || flow.source.committed(&flow.audit).values().sum::<i64>() > 0,
    );
    let asked = Instant::now();
    host.sigterm().expect_code(0);
    let stopped_after = asked.elapsed();
    assert!(
        !sending.is_finished(),
        "events have to flow until the host has stopped"
    );
    eprintln!("trickle: stopped {stopped_after:.1?} after SIGTERM");
}
