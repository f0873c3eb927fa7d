//! `millrace offsets`: seen, set, and what hosts make of it.

use std::fs;

use serde_json::{Value, json};

use super::range::Counting;
use super::{TIMEOUT, command, first_partition};
use crate::harness::host::Setup;
use crate::harness::kafka::{self, Node, Speed};
use crate::harness::main_flow::{guest, with_sessions_of};
use crate::harness::topic::{Record, Topic, recent_ms, rfc3339, unique};
use crate::harness::wait;
use crate::harness::witness::Witness;

const EVENTS: i64 = 10;

#[test]
fn what_an_operator_sets_back_runs_again_whatever_the_store_and_the_window_know() {
    let witness = Witness::new("setback", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    // The first event holds the commit back, and everything above it settles.
    let config = witness.config("    dedup: { id: \"json:/id\" }\n");
    let setup = Setup::new(kafka::shared(), &config);
    let times_ms = recent_ms();
    let records: Vec<Record> = (0..EVENTS)
        .map(|id| {
            let deed = if id == 0 {
                r#""do":"retry","after-ms":600000,"#
            } else {
                ""
            };
            Record::new(format!("{id}"), format!("{{{deed}\"id\":\"{id}\"}}"))
                .timestamp_ms(times_ms + id)
        })
        .collect();
    source.produce(&records);
    let journalled = |times: usize| {
        wait::eventually("events that are handled", TIMEOUT, || {
            let text = fs::read_to_string(setup.folder().join("witness.log"));
            text.unwrap_or_default().matches('\n').count() == times * (EVENTS as usize - 1)
        });
    };
    let host = setup.start();
    journalled(1);

    let refused = command(&setup, &["offsets", "set"], group, &["--to", "earliest"]);
    let refused = refused.expect_code(2);
    assert!(
        refused.stderr.contains("has members") && refused.stderr.contains("stop every host"),
        "{}",
        refused.stderr
    );
    host.sigterm().expect_code(0);

    let set = |options: &[&str]| {
        let exit = command(&setup, &["offsets", "set"], group, options);
        exit.expect_code(0).json()
    };
    let dry = set(&["--to", "5", "--dry-run"]);
    let expected = json!({
        "topic": source.name(), "partition": 0, "oldest": 0, "end": EVENTS,
        "before": 0, "after": 5, "again": 0, "skipped": 5,
    });
    assert_eq!(
        (first_partition(&dry), &dry["set"]),
        (&expected, &json!(false))
    );
    assert_eq!(source.committed(group)[&0], 0, "a dry run sets nothing");

    // The very offset where the group stands: only the mark tells that what is settled above it is to run again.
    assert_eq!(set(&["--to", "earliest"])["set"], true);
    let mark = source.commit_metadata(group, 0).expect("a commit");
    assert!(mark.starts_with("millrace-set:1:0:"), "{mark}");
    let host = setup.start();
    journalled(2);
    host.sigterm().expect_code(0);
    let places = witness.places(&setup);
    let twice: Vec<_> = (1..EVENTS).flat_map(|offset| [(0, offset); 2]).collect();
    assert_eq!(places, twice);

    // And a restart without another setting does not run them a third time.
    let host = setup.start();
    source.produce(&[Record::new("new", r#"{"id":"new"}"#)]);
    wait::eventually("the new event", TIMEOUT, || {
        witness.places(&setup).contains(&(0, EVENTS))
    });
    host.sigterm().expect_code(0);
    assert_eq!(witness.places(&setup).len(), twice.len() + 1);
}

#[test]
fn a_group_is_set_past_an_event_and_its_store_is_not_thought_stale() {
    let witness = Witness::new("forward", 2);
    let (source, group) = (&witness.source, witness.group.as_str());
    let setup = Setup::new(kafka::shared(), &witness.config(""));
    let time_ms = recent_ms();
    let records: Vec<Record> = (0..4)
        .flat_map(|n| {
            [0, 1].map(|partition| {
                // An event that no retry mends blocks partition 0.
                let value = match (partition, n) {
                    (0, 2) => r#"{"do":"retry","after-ms":600000}"#,
                    _ => "{}",
                };
                Record::new("k", value)
                    .partition(partition)
                    .timestamp_ms(time_ms + 1_000 * n)
            })
        })
        .collect();
    source.produce(&records);
    let host = setup.start();
    wait::eventually("events up to the one that blocks", TIMEOUT, || {
        let committed = source.committed(group);
        committed.get(&0) == Some(&2) && committed.get(&1) == Some(&4)
    });
    host.sigterm().expect_code(0);

    let past = format!("{}:0", source.name());
    let exit = command(
        &setup,
        &["offsets", "set"],
        group,
        &["--topic", &past, "--to", "3"],
    );
    let said = exit.expect_code(0).json();
    assert_eq!(first_partition(&said)["skipped"], 1);
    assert_eq!(
        source.committed(group),
        [(0, 3), (1, 4)].into(),
        "the other partition stays"
    );
    let host = setup.start();
    source.wait_for_no_lag(group, TIMEOUT);
    let log = host.sigterm().expect_code(0).stderr;
    assert!(
        !log.contains("another host went on"),
        "the store is not thought stale: {log}"
    );
    assert_eq!(witness.places(&setup).len(), 7, "all but the one skipped");
}

#[test]
fn a_group_is_set_to_a_time_and_what_makes_no_sense_is_answered_with_what_to_write() {
    let witness = Witness::new("totime", 2);
    let (source, group) = (&witness.source, witness.group.as_str());
    let setup = Setup::new(kafka::shared(), &witness.config(""));
    let time_ms = recent_ms();
    let records: Vec<Record> = (0..4)
        .flat_map(|n| {
            [0, 1].map(|partition| {
                Record::new("k", "{}")
                    .partition(partition)
                    .timestamp_ms(time_ms + 1_000 * n)
            })
        })
        .collect();
    source.produce(&records);
    for partition in [0, 1] {
        source.commit_as_a_tool(group, (partition, 4), "");
    }
    let show = || {
        let exit = command(&setup, &["offsets", "show"], group, &[]);
        exit.expect_code(0).json()
    };
    let shown = show();
    assert_eq!(shown["members"], json!([]));
    assert_eq!(first_partition(&shown)["committed"], 4);
    let exit = command(
        &setup,
        &["offsets", "set"],
        group,
        &["--to", &rfc3339(time_ms + 1_500)],
    );
    let said = exit.expect_code(0).json();
    let again: Vec<_> = said["partitions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|of| (of["after"].clone(), of["again"].clone()))
        .collect();
    assert_eq!(again, vec![(json!(2), json!(2)); 2]);

    for (options, told) in [
        (&["--to", "yesterday"][..], "write earliest, latest"),
        (
            &["--to", "latest", "--topic", "elsewhere"],
            "does not read topic elsewhere",
        ),
    ] {
        let exit = command(&setup, &["offsets", "set"], group, options).expect_code(2);
        assert!(exit.stderr.contains(told), "{}", exit.stderr);
    }
    let exit = command(&setup, &["offsets", "show"], "nobody", &[]).expect_code(2);
    assert!(
        exit.stderr.contains(&format!("it has {group}")),
        "{}",
        exit.stderr
    );
}

#[test]
fn state_is_forgotten_with_the_offset_where_that_is_asked_for_and_of_these_partitions_only() {
    let (counting, setup) = Counting::over("forgets", 2);
    let of_each = || {
        [0, 1].map(|partition| {
            Record::new(format!("{}-{partition}", counting.keys), "x").partition(partition)
        })
    };
    let handle_one_more = || {
        counting.source.produce(&of_each());
        counting.handle_all(&setup);
        [0, 1].map(|key| counting.last_count(key))
    };
    for _ in 0..3 {
        counting.source.produce(&of_each());
    }
    assert_eq!(handle_one_more(), [4, 4]);
    let first = format!("{}:0", counting.source.name());
    let set = |options: &[&str]| {
        let options = [&["--topic", &first, "--to", "earliest"], options].concat();
        let exit = command(&setup, &["offsets", "set"], &counting.group, &options);
        exit.expect_code(0).json()
    };
    let dry = set(&["--forget-state", "--dry-run"]);
    assert_eq!(
        (&dry["set"], &dry["forget_state"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(handle_one_more(), [5, 5], "a dry run forgets nothing");

    set(&["--forget-state"]);
    assert_eq!(
        handle_one_more(),
        [6, 6],
        "six events from nothing, and one more of the partition that was left alone"
    );
    set(&[]);
    assert_eq!(
        handle_one_more(),
        [6 + 7, 7],
        "the same state, and all events again"
    );
}

#[test]
fn sums_that_have_not_left_are_counted_twice_or_forgotten_as_it_is_asked_for() {
    const EVENTS: i64 = 5;
    let witness = Witness::new("unsent", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    // Sums leave only when a host ends in order, and one that was killed is missed soon.
    let config = witness.config("").replace("tick: 300ms", "tick: 1h");
    let setup = Setup::new(kafka::shared(), &with_sessions_of(6_000, &config));
    source.produce(
        &(0..EVENTS)
            .map(|n| Record::new(format!("{n}"), "{}"))
            .collect::<Vec<_>>(),
    );
    let set = |options: &[&str]| {
        let options = [&["--to", "earliest"], options].concat();
        wait::eventually_some("a group without members", TIMEOUT, || {
            let exit = command(&setup, &["offsets", "set"], group, &options);
            if exit.code == Some(0) {
                Ok(())
            } else {
                Err(exit.stderr)
            }
        });
    };
    let mut counted = 0;
    for (options, of_each_event) in [(&[][..], 2), (&["--forget-state"], 1)] {
        let host = setup.start();
        source.wait_for_no_lag(group, TIMEOUT);
        host.kill9();
        assert_eq!(witness.counted(), counted, "the sums have not left");
        set(options);
        let host = setup.start();
        source.wait_for_no_lag(group, TIMEOUT);
        host.sigterm().expect_code(0);
        counted += of_each_event * EVENTS;
        assert_eq!(witness.counted(), counted, "{options:?}");
        set(&[]);
    }
}

#[test]
fn the_coordinator_of_a_cluster_that_has_just_begun_is_waited_for() {
    let node = Node::start(Speed::QuickStart);
    let source = Topic::create(&node.brokers(), "begins", 1);
    let group = unique("begins");
    let config = format!(
        "plugins:\n  counter: {{ path: {}, grants: [state, \"output:counts\"] }}\n\
         groups:\n  - id: {group}\n    routes: {{ {}: counter }}\n",
        guest("counter-state"),
        source.name(),
    );
    let setup = Setup::new(&node.brokers(), &config);
    let shown = command(&setup, &["offsets", "show"], &group, &[]);
    let shown = shown.expect_code(0).json();
    assert_eq!(first_partition(&shown)["committed"], Value::Null);
    source.produce(&[Record::new("k", "{}")]);
    let set = command(&setup, &["offsets", "set"], &group, &["--to", "latest"]);
    set.expect_code(0);
    assert_eq!(source.committed(&group), [(0, 1)].into());
}
