//! kill -9: what was settled stays settled, what was not is done again, and nothing shows twice.

use std::path::PathBuf;
use std::time::Duration;

use millrace::delivery::commit_map;
use millrace::delivery::offsets::{Offset, OffsetRange};

use crate::harness::host::Setup;
use crate::harness::kafka;
use crate::harness::main_flow::{
    MainFlow, Place, journal_lines, place_of, summary, with_sessions_of,
};
use crate::harness::topic::Record;
use crate::harness::wait;
use crate::harness::witness::Witness;

/// How long a killed member is waited for by its group, in milliseconds.
const SESSION_MS: u32 = 6_000;

/// For a few thousand events, a retry of 6 s and the session of a killed member.
const SETTLE: Duration = Duration::from_secs(60);

#[test]
fn kill_9_three_times_in_the_middle_loses_nothing_and_counts_nothing_twice() {
    const EVENTS: u64 = 100_000;
    let flow = MainFlow::new("crash", 4);
    let setup = Setup::new(
        kafka::shared(),
        &with_sessions_of(SESSION_MS, &flow.config()),
    );
    let sending = flow.produce_meanwhile(EVENTS, 4_500);

    let mut killed_at = Vec::new();
    // Each life ends as many events after its first settle: at once, so that nothing is committed yet,
    // while it catches up, and while it keeps up.
    for further in [1, 4_000, 10_000] {
        let host = setup.start();
        let settled = flow.wait_for_finished(&host, &flow.analytics, 1);
        flow.wait_for_finished(&host, &flow.analytics, settled + further);
        let metrics = host.metrics();
        for group in flow.groups() {
            assert_eq!(
                metrics.sum("millrace_ledger_holes_total", &[("group", group)]),
                0.0
            );
        }
        let said =
            |group: &str, name: &str| metrics.outcomes(group).get(name).copied().unwrap_or(0.0);
        killed_at.push(flow.groups().map(|group| {
            let finished: f64 = metrics.outcomes(group).values().sum();
            format!("{finished} ({} recovered)", said(group, "recovered"))
        }));
        assert!(
            !sending.is_finished(),
            "the kill has to come while events flow"
        );
        assert_eq!(host.kill9().signal, Some(9));
    }
    let host = setup.start();
    let sent = sending.join().expect("everything was sent");
    flow.wait_until_settled();
    for group in flow.groups() {
        host.metrics().assert_ledger_balanced(group);
    }
    let exit = host.sigterm().expect_code(0);

    flow.assert_committed_to_the_end();
    let (emissions, distinct) = flow.assert_counts_exact(&sent);
    let letters = flow.assert_dead_letters(&sent);
    let lines = flow.assert_audited_once(&[setup.folder()]);
    let last = flow
        .groups()
        .map(|group| summary(&exit, group)["recovered"]);
    eprintln!(
        "kill -9: of {} events, finished by analytics and audit when killed: {killed_at:?}; recovered in the \
         last life {last:?}; {emissions} emissions, {distinct} distinct; {letters} dead letters of {} \
         malformed; {lines} audit lines",
        sent.total, sent.bad,
    );
}

#[test]
fn what_settled_beyond_a_commit_that_had_to_wait_is_recognised_after_kill_9() {
    const EVENTS: usize = 3_000;
    let witness = Witness::new("beyond", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    let config = with_sessions_of(SESSION_MS, &witness.config(""));
    let setup = Setup::new(kafka::shared(), &config);
    // The first event holds the commit back; everything after it settles.
    let mut records = vec![Record::new(
        "first",
        r#"{"do":"retry","times":1,"after-ms":6000}"#,
    )];
    records.extend((1..EVENTS).map(|n| Record::new(format!("key {n}"), "{}")));
    source.produce(&records);

    let host = setup.start();
    wait::eventually("all but the first settled", Duration::from_secs(30), || {
        host.metrics().outcomes(group).get("processed") == Some(&(EVENTS as f64 - 1.0))
    });
    assert_eq!(
        host.metrics()
            .sum("millrace_events_parked", &[("group", group)]),
        1.0
    );
    host.kill9();
    assert_eq!(source.lag(group), EVENTS as i64, "nothing was committed");
    let host = setup.start();
    source.wait_for_no_lag(group, Duration::from_secs(60));

    host.metrics().assert_ledger_balanced(group);
    let exit = host.sigterm().expect_code(0);
    let summary = summary(&exit, group);
    assert_eq!(summary["recovered"], EVENTS as u64 - 1);
    assert_eq!(summary["processed"], 1);
    assert_eq!(
        witness.places(&setup),
        (0..EVENTS as i64).map(|n| (0, n)).collect::<Vec<_>>()
    );
    assert_eq!(witness.counted(), EVENTS as i64);
}

/// Starts a host on records whose first one in each partition holds the commit back, and kills it when all
/// others have settled and the commits say so.
fn settle_all_but_the_first(witness: &Witness, setup: &Setup, partitions: i32, each: i64) {
    let (source, group) = (&witness.source, witness.group.as_str());
    for partition in 0..partitions {
        let first = Record::new("first", r#"{"do":"retry","times":1,"after-ms":6000}"#);
        let mut records = vec![first.partition(partition)];
        let others = (1..each).map(|n| Record::new(format!("key {n}"), "{}"));
        records.extend(others.map(|record| record.partition(partition)));
        source.produce(&records);
    }
    let host = setup.start();
    let settled = OffsetRange {
        first: Offset(1),
        last: Offset(each - 1),
    };
    for partition in 0..partitions {
        wait::eventually_some("a commit that says what settled above it", SETTLE, || {
            let metadata = source.commit_metadata(group, partition).unwrap_or_default();
            let said = commit_map::decode(Offset(0), metadata.as_bytes());
            match said == [settled] {
                true => Ok(()),
                false => Err(format!("{said:?}")),
            }
        });
    }
    host.kill9();
    let each_lag = each * i64::from(partitions);
    assert_eq!(
        source.lag(group),
        each_lag,
        "the commit stands at the first"
    );
}

#[test]
fn a_host_with_an_empty_store_repeats_only_what_was_unfinished_when_another_was_killed() {
    const EVENTS: i64 = 3_000;
    let witness = Witness::new("taken", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    let config = with_sessions_of(SESSION_MS, &witness.config(""));
    let [first, second] = [(), ()].map(|()| Setup::new(kafka::shared(), &config));
    settle_all_but_the_first(&witness, &first, 1, EVENTS);

    // Killed as well before it is done, so that it has to pass on what it was told.
    let host = second.start();
    let metrics = |name: &str| host.metrics().outcomes(group).get(name).copied();
    wait::eventually("everything else recognised", SETTLE, || {
        metrics("recovered") == Some(EVENTS as f64 - 1.0)
    });
    assert_eq!(metrics("processed").unwrap_or_default(), 0.0);
    host.kill9();
    let third = Setup::new(kafka::shared(), &config);
    let host = third.start();
    source.wait_for_no_lag(group, SETTLE);

    host.metrics().assert_ledger_balanced(group);
    let exit = host.sigterm().expect_code(0);
    let summary = summary(&exit, group);
    assert_eq!(summary["recovered"], EVENTS as u64 - 1);
    assert_eq!(summary["processed"], 1);
    let places = [&first, &second, &third].map(|setup| witness.places(setup));
    let expected: Vec<_> = (1..EVENTS).map(|n| (0, n)).collect();
    assert_eq!(places, [expected, vec![], vec![(0, 0)]]);
}

#[test]
fn metadata_that_another_tool_wrote_or_moved_to_another_offset_claims_nothing() {
    const EACH: i64 = 500;
    const MOVED_TO: i64 = 100;
    let witness = Witness::new("foreign", 2);
    let (source, group) = (&witness.source, witness.group.as_str());
    let config = with_sessions_of(SESSION_MS, &witness.config(""));
    let [first, second] = [(), ()].map(|()| Setup::new(kafka::shared(), &config));
    settle_all_but_the_first(&witness, &first, 2, EACH);
    let metadata = source.commit_metadata(group, 1).expect("a commit");
    source.commit_as_a_tool(group, (0, 0), "2;offsets of another system");
    source.commit_as_a_tool(group, (1, MOVED_TO), &metadata);

    let host = second.start();
    source.wait_for_no_lag(group, SETTLE);

    let exit = host.sigterm().expect_code(0);
    let summary = summary(&exit, group);
    assert_eq!(summary["recovered"], 0);
    assert_eq!(summary["processed"] as i64, EACH + EACH - MOVED_TO);
}

#[test]
fn what_a_tick_had_sent_before_kill_9_is_sent_again_unchanged() {
    const EVENTS: usize = 3_000;
    let witness = Witness::new("again", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    // What was sent is forgotten with the next settle: far enough away for the kill to come before it.
    let config = with_sessions_of(SESSION_MS, &witness.config("    commit_interval: 2s"));
    let setup = Setup::new(kafka::shared(), &config);
    let host = setup.start();
    // A few at a time, each acknowledged before the next, so that every tick has something new to send.
    let sending = std::thread::spawn({
        let source = source.clone();
        move || {
            let records: Vec<_> = (0..EVENTS)
                .map(|n| Record::new(n.to_string(), "{}"))
                .collect();
            records.chunks(30).for_each(|few| drop(source.produce(few)));
        }
    });
    wait::eventually("what a tick sends", Duration::from_secs(60), || {
        witness.emissions() > 0
    });
    host.kill9();
    let before = witness.emissions();
    let host = setup.start();
    wait::eventually("it again", Duration::from_secs(60), || {
        witness.emissions() > before
    });
    sending.join().expect("everything was sent");
    source.wait_for_no_lag(group, Duration::from_secs(60));

    let exit = host.sigterm().expect_code(0);
    summary(&exit, group);
    assert_eq!(witness.counted(), EVENTS as i64, "over distinct emissions");
    assert_eq!(witness.places(&setup).len(), EVENTS);
}

#[test]
fn a_kill_before_anything_settled_leaves_no_line_that_is_written_again() {
    let flow = MainFlow::new("early", 2);
    // Nothing settles in the first life: the interval is longer than it.
    let config = flow.config().replace(
        "store: store/audit",
        "store: store/audit\n    commit_interval: 20s",
    );
    let setup = Setup::new(kafka::shared(), &with_sessions_of(SESSION_MS, &config));
    let sent = flow.produce(5_000, &[]);
    let host = setup.spawn();
    let journal = setup.folder().join("audit.log");
    wait::eventually(
        "unsettled lines in the journal",
        Duration::from_secs(60),
        || std::fs::metadata(&journal).is_ok_and(|file| file.len() > 0),
    );
    host.kill9();
    assert_eq!(flow.source.committed(&flow.audit).len(), 0);

    let config = std::fs::read_to_string(setup.config_file()).expect("it is there");
    setup.write_config(&config.replace("commit_interval: 20s", "commit_interval: 250ms"));
    let host = setup.start();
    flow.wait_until_settled();
    host.sigterm().expect_code(0);

    flow.assert_committed_to_the_end();
    flow.assert_audited_once(&[setup.folder()]);
    flow.assert_counts_exact(&sent);
}

/// Every file of the journal: the finished segments and the current one.
fn journal_files(setup: &Setup) -> Vec<PathBuf> {
    let files = std::fs::read_dir(setup.folder()).expect("the folder is there");
    let files = files.map(|file| file.expect("it can be read").path());
    let of_journal = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name == "witness.log" || name.starts_with("witness.log.")
    };
    files.filter(of_journal).collect()
}

#[test]
fn kill_9_while_a_journal_is_written_and_rotated_leaves_only_whole_lines_each_once() {
    const EVENTS: usize = 60_000;
    let witness = Witness::new("torn", 2);
    let (source, group) = (&witness.source, witness.group.as_str());
    let journal = "journal: { path: witness.log";
    let small = format!("{journal}, rotate: 64KiB");
    let config = witness.config("    commit_interval: 20ms\n");
    let config = with_sessions_of(SESSION_MS, &config.replace(journal, &small));
    let setup = Setup::new(kafka::shared(), &config);
    let records: Vec<Record> = (0..EVENTS)
        .map(|n| Record::new(format!("key {n}"), "{}"))
        .collect();
    source.produce(&records);
    for life in 1..=3 {
        let host = setup.start();
        wait::eventually("some events are done", SETTLE, || {
            let outcomes = host.metrics().outcomes(group);
            outcomes.get("processed").is_some_and(|done| *done >= 1.0)
        });
        host.kill9();
        let lines: usize = journal_files(&setup)
            .iter()
            .map(|file| journal_lines(file).len())
            .sum();
        eprintln!("life {life}: {lines} whole lines, none torn");
    }
    let host = setup.start();
    source.wait_for_no_lag(group, SETTLE);
    host.metrics().assert_ledger_balanced(group);
    host.sigterm().expect_code(0);
    let files = journal_files(&setup);
    let mut places: Vec<Place> = files
        .iter()
        .flat_map(|file| journal_lines(file))
        .map(|line| place_of(&line))
        .collect();
    assert!(files.len() > 3, "it was rotated: {files:?}");
    places.sort_unstable();
    let lines = places.len();
    places.dedup();
    assert_eq!((lines, places.len()), (EVENTS, EVENTS));
}
