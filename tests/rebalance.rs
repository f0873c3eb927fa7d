//! Partitions that move between hosts: nothing is lost, nothing is counted twice, and what was seen stays
//! seen.

use std::time::{Duration, Instant};

use crate::harness::host::{Host, Setup};
use crate::harness::kafka;
use crate::harness::kafka::{Node, Speed};
use crate::harness::main_flow::{
    MainFlow, SETTLE_TIMEOUT, guest, origin, summary, with_sessions_of,
};
use crate::harness::topic::{Record, Topic};
use crate::harness::wait;
use crate::harness::witness::Witness;

/// Long enough that a starved machine does not look like a dead host, in milliseconds.
const SESSION_MS: u32 = 12_000;

/// Where a test waits for a session to end.
const FREEZE_SESSION_MS: u32 = 6_000;

/// A group on a broker of its own that gives up after two attempts.
fn refusing_group(brokers: &str) -> (Topic, Topic, String) {
    let topic = |name: &str| Topic::create(brokers, name, 1);
    let [source, letters, counts] = [topic("source"), topic("letters"), topic("counts")];
    let config = format!(
        "kafka:\n  brokers: {brokers}\n  \
         properties: {{ session.timeout.ms: {FREEZE_SESSION_MS}, heartbeat.interval.ms: 500 }}\n\
         drain_timeout: 5s\n\
         plugins:\n  witness:\n    path: {path}\n    \
         grants: [tally, journal, config, \"output:{counts}\"]\n    \
         journal: {{ path: witness.log }}\n    config: {{ counts: {counts} }}\n\
         groups:\n  - id: refuses\n    routes: {{ {source}: witness }}\n    \
         dead_letter: {{ topic: {letters} }}\n    retry: {{ attempts: 2 }}\n    breaker: {{ enabled: false }}\n    store: store/refuses\n",
        path = guest("witness"),
        counts = counts.name(),
        source = source.name(),
        letters = letters.name(),
    );
    (source, letters, config)
}

/// The partitions of one topic that the host was assigned for a group, each time anew.
fn assigned(host: &Host, group: &str) -> Vec<i64> {
    let log = host.log();
    let assigned = log
        .iter()
        .filter(|line| line["message"] == "partition assigned" && line["group"] == group);
    assigned
        .map(|line| line["partition"].as_i64().expect("a number"))
        .collect()
}

/// A configuration with one more librdkafka property.
fn with_property(property: &str, config: &str) -> String {
    let with = format!("heartbeat.interval.ms: 500, {property}");
    config.replace("heartbeat.interval.ms: 500", &with)
}

/// How many events each of the groups has finished on this host at least.
fn finished(host: &Host, flow: &MainFlow) -> u64 {
    let settled = flow
        .groups()
        .map(|group| host.metrics().outcomes(group).values().sum::<f64>());
    settled.into_iter().fold(f64::INFINITY, f64::min) as u64
}

#[test]
fn a_second_host_joins_while_events_flow_and_leaves_again_without_a_loss_or_a_repeat() {
    const EVENTS: u64 = 60_000;
    let flow = MainFlow::new("rebalance", 4);
    let config = with_sessions_of(SESSION_MS, &flow.config());
    let [first, second] = [(), ()].map(|()| Setup::new(kafka::shared(), &config));
    let stays = first.start();
    let sending = flow.produce_meanwhile(EVENTS, 4_000);
    wait::eventually("the first host at work", SETTLE_TIMEOUT, || {
        finished(&stays, &flow) > 3_000
    });

    let comes = second.start();
    wait::eventually("the second host at work", SETTLE_TIMEOUT, || {
        finished(&comes, &flow) > 3_000
    });
    assert!(!sending.is_finished(), "it has to join while events flow");
    let left = comes.sigterm().expect_code(0);
    assert!(!sending.is_finished(), "and to leave while they do");
    let sent = sending.join().expect("everything was sent");
    flow.wait_until_settled();

    for group in flow.groups() {
        stays.metrics().assert_ledger_balanced(group);
        assert_eq!(
            stays
                .metrics()
                .sum("millrace_rewinds_total", &[("group", group)]),
            0.0
        );
    }
    let stayed = stays.sigterm().expect_code(0);
    flow.assert_committed_to_the_end();
    let (emissions, distinct) = flow.assert_counts_exact(&sent);
    let letters = flow.assert_dead_letters(&sent);
    assert_eq!(letters as u64, sent.bad, "each malformed event once");
    let lines = flow.assert_audited_once(&[first.folder(), second.folder()]);
    let count = |name: &str| [&stayed, &left].map(|exit| summary(exit, &flow.analytics)[name]);
    let (processed, duplicate) = (count("processed"), count("duplicate"));
    assert_eq!(processed.iter().sum::<u64>(), sent.unique());
    assert_eq!(duplicate.iter().sum::<u64>(), sent.duplicates);
    eprintln!(
        "rebalance: {processed:?} events by the host that stayed and the one that came and left; \
         {emissions} emissions, {distinct} distinct; {letters} dead letters; {lines} audit lines"
    );
}

#[test]
fn an_id_settled_by_one_host_is_a_duplicate_for_the_next_one_with_an_empty_store() {
    const EVENTS: u64 = 5_000;
    let flow = MainFlow::new("rebuilt", 2);
    let same = ["--seed", "7", "--duplicate-share", "0", "--bad-share", "0"];
    let host = Setup::new(kafka::shared(), &flow.config()).start();
    let sent = flow.produce(EVENTS, &same);
    flow.wait_until_settled();
    let exit = host.sigterm().expect_code(0);
    assert_eq!(summary(&exit, &flow.analytics)["processed"], EVENTS);

    // A new folder: nothing is left of the first host but the topic and its commit.
    let host = Setup::new(kafka::shared(), &flow.config()).start();
    flow.produce(EVENTS, &same);
    flow.wait_until_settled();

    let exit = host.sigterm().expect_code(0);
    let summary = summary(&exit, &flow.analytics);
    assert_eq!((summary["processed"], summary["duplicate"]), (0, EVENTS));
    flow.assert_counts_exact(&sent);
}

#[test]
fn a_host_that_was_frozen_past_its_session_sends_and_commits_nothing_of_what_it_held() {
    let witness = Witness::new("frozen", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    // Many lanes, so that one of them is likely to run before the polling thread does.
    let settings =
        "    concurrency: 8\n    breaker: { enabled: false }\n    retry: { attempts: 2 }";
    let config = with_sessions_of(FREEZE_SESSION_MS, &witness.config(settings));
    let [first, second] = [(), ()].map(|()| Setup::new(kafka::shared(), &config));
    // Their last attempts are due while the host is frozen, so that they run as soon as it is not.
    let fails = r#"{"do":"retry","after-ms":3000}"#;
    let keys: Vec<_> = (0..16).map(|key| format!("fails-{key}")).collect();
    let mut records: Vec<_> = keys
        .iter()
        .map(|key| Record::new(key.as_str(), fails))
        .collect();
    records.push(Record::new("other", "{}"));
    source.produce(&records);
    let frozen = first.start();
    wait::eventually("the keys held back", SETTLE_TIMEOUT, || {
        frozen
            .metrics()
            .sum("millrace_events_parked", &[("group", group)])
            >= keys.len() as f64
    });
    frozen.freeze();

    let takes_over = second.start();
    source.wait_for_no_lag(group, SETTLE_TIMEOUT);
    assert_eq!(witness.dead_letters.read_all().len(), keys.len());
    takes_over.sigterm().expect_code(0);
    let committed = source.committed(group);
    frozen.thaw();
    // What it sends now, it sends as a member again.
    let lost = [("group", group)];
    wait::eventually("the partition known to be lost", SETTLE_TIMEOUT, || {
        frozen
            .metrics()
            .sum("millrace_lost_partitions_total", &lost)
            > 0.0
    });
    assert_eq!(source.committed(group), committed);
    source.produce(&[Record::new("new", "{}")]);
    source.wait_for_no_lag(group, SETTLE_TIMEOUT);

    frozen.metrics().assert_ledger_balanced(group);
    let exit = frozen.sigterm().expect_code(0);
    assert_eq!(summary(&exit, group)["dead"], 0, "{}", exit.stderr);
    assert_eq!(witness.dead_letters.read_all().len(), keys.len());
    let places: Vec<_> = [&first, &second]
        .map(|setup| witness.places(setup))
        .concat();
    assert!(places.contains(&(0, records.len() as i64)), "{places:?}");
}

#[test]
fn a_pause_after_which_the_session_may_be_over_counts_as_its_end() {
    let witness = Witness::new("paused", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    let retry = "    retry: { attempts: 2 }";
    // The last heartbeat may have been sent half a session before the pause.
    let config = with_sessions_of(FREEZE_SESSION_MS, &witness.config(retry)).replace(
        "heartbeat.interval.ms: 500",
        &format!("heartbeat.interval.ms: {}", FREEZE_SESSION_MS / 2),
    );
    let setup = Setup::new(kafka::shared(), &config);
    let fails = r#"{"do":"retry","after-ms":1500}"#;
    source.produce(&[Record::new("fails", fails), Record::new("other", "{}")]);
    let host = setup.start();
    let of_group = [("group", group)];
    wait::eventually("the key held back", SETTLE_TIMEOUT, || {
        host.metrics().sum("millrace_events_parked", &of_group) > 0.0
    });

    host.freeze();
    let (began, pause_ms) = (Instant::now(), u64::from(FREEZE_SESSION_MS / 2 + 500));
    wait::eventually("half a session and a bit", SETTLE_TIMEOUT, || {
        began.elapsed() >= Duration::from_millis(pause_ms)
    });
    host.thaw();
    source.wait_for_no_lag(group, SETTLE_TIMEOUT);

    let lost = host
        .metrics()
        .sum("millrace_lost_partitions_total", &of_group);
    assert_eq!(lost, 1.0);
    assert_eq!(assigned(&host, group), [0, 0], "it was taken up again");
    host.metrics().assert_ledger_balanced(group);
    let exit = host.sigterm().expect_code(0);
    let summary = summary(&exit, group);
    assert_eq!((summary["dead"], summary["abandoned"]), (1, 1));
    assert_eq!(witness.dead_letters.read_all().len(), 1);
}

#[test]
fn with_cooperative_sticky_the_partitions_that_stay_are_not_taken_up_again() {
    const EVENTS: u64 = 40_000;
    let flow = MainFlow::new("sticky", 4);
    let sticky = "partition.assignment.strategy: cooperative-sticky";
    let config = with_property(sticky, &with_sessions_of(SESSION_MS, &flow.config()));
    let [first, second] = [(), ()].map(|()| Setup::new(kafka::shared(), &config));
    let stays = first.start();
    let sending = flow.produce_meanwhile(EVENTS, 2_500);
    wait::eventually("the first host at work", SETTLE_TIMEOUT, || {
        finished(&stays, &flow) > 3_000
    });
    for group in flow.groups() {
        let mut all = assigned(&stays, group);
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3]);
    }

    let comes = second.start();
    wait::eventually("the second host at work", SETTLE_TIMEOUT, || {
        finished(&comes, &flow) > 1_000
    });
    for group in flow.groups() {
        assert_eq!(
            assigned(&stays, group).len(),
            4,
            "nothing was taken up again"
        );
        assert_eq!(assigned(&comes, group).len(), 2);
    }
    let gone = flow.groups().map(|group| assigned(&comes, group));
    let left = comes.sigterm().expect_code(0);
    let sent = sending.join().expect("everything was sent");
    flow.wait_until_settled();

    for (group, gone) in flow.groups().into_iter().zip(gone) {
        let mut back = assigned(&stays, group)[4..].to_vec();
        back.sort_unstable();
        let mut gone = gone;
        gone.sort_unstable();
        assert_eq!(back, gone, "only what the other host had");
        stays.metrics().assert_ledger_balanced(group);
    }
    let stayed = stays.sigterm().expect_code(0);
    flow.assert_committed_to_the_end();
    flow.assert_counts_exact(&sent);
    assert_eq!(flow.assert_dead_letters(&sent) as u64, sent.bad);
    flow.assert_audited_once(&[first.folder(), second.folder()]);
    let processed = [&stayed, &left].map(|exit| summary(exit, &flow.analytics)["processed"]);
    assert_eq!(processed.iter().sum::<u64>(), sent.unique());
    eprintln!(
        "cooperative-sticky: {processed:?} events by the host that stayed and the one that came"
    );
}

#[test]
fn a_static_member_that_restarts_within_its_session_moves_nothing() {
    let witness = Witness::new("static", 4);
    let (source, group) = (&witness.source, witness.group.as_str());
    let config = with_sessions_of(SESSION_MS, &witness.config(""));
    let [first, second] = ["one", "two"].map(|name| {
        let property = format!("group.instance.id: {name}");
        Setup::new(kafka::shared(), &with_property(&property, &config))
    });
    let stays = first.start();
    let restarts = second.start();
    let two_each = || {
        // The first one may have had all four for a while.
        let of = [&stays, &restarts].map(|host| assigned(host, group).len());
        of == [2, 2] || of == [4 + 2, 2]
    };
    wait::eventually("partitions for both", SETTLE_TIMEOUT, two_each);
    let before = assigned(&stays, group);
    let mut moved = assigned(&restarts, group);

    restarts.sigterm().expect_code(0);
    let restarts = second.start();
    wait::eventually("its partitions again", SETTLE_TIMEOUT, || {
        assigned(&restarts, group).len() == 2
    });
    let records: Vec<_> = (0..100)
        .map(|n| Record::new(format!("key {n}"), "{}").partition(n % 4))
        .collect();
    source.produce(&records);
    source.wait_for_no_lag(group, SETTLE_TIMEOUT);

    assert_eq!(
        assigned(&stays, group),
        before,
        "the other has noticed nothing"
    );
    let mut again = assigned(&restarts, group);
    again.sort_unstable();
    moved.sort_unstable();
    assert_eq!(again, moved, "and it has its own partitions");
    for host in [stays, restarts] {
        let summary = summary(&host.sigterm().expect_code(0), group);
        assert_eq!(summary["processed"], 50);
    }
}

#[test]
fn a_host_whose_instance_id_is_used_by_another_stops_and_says_so() {
    let witness = Witness::new("fenced", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    let config = with_sessions_of(SESSION_MS, &witness.config(""));
    let config = with_property("group.instance.id: same", &config);
    let [first, second] = [(), ()].map(|()| Setup::new(kafka::shared(), &config));
    let fenced = first.start();
    let other = second.start();
    let exit = fenced.wait().expect_code(1);
    let why = "another member of the group has joined with the same group.instance.id";
    assert!(exit.stderr.contains(why), "{}", exit.stderr);

    source.produce(&[Record::new("key", "{}")]);
    source.wait_for_no_lag(group, SETTLE_TIMEOUT);
    let summary = summary(&other.sigterm().expect_code(0), group);
    assert_eq!(summary["processed"], 1);
}

#[test]
fn a_partition_that_goes_and_comes_back_again_and_again_is_read_on_from_its_commit() {
    const EVENTS: u64 = 20_000;
    let flow = MainFlow::new("back", 2);
    let config = with_sessions_of(SESSION_MS, &flow.config());
    let setup = Setup::new(kafka::shared(), &config);
    let host = setup.start();
    let sending = flow.produce_meanwhile(EVENTS, 1_500);
    for _ in 0..5 {
        for group in flow.groups() {
            flow.source.join_and_leave(group);
        }
    }
    assert!(!sending.is_finished(), "it has to happen while events flow");
    let sent = sending.join().expect("everything was sent");
    flow.wait_until_settled();

    for group in flow.groups() {
        host.metrics().assert_ledger_balanced(group);
        let assigned = assigned(&host, group).len();
        assert!(assigned >= 12, "{assigned} times, of 2 and 5 rounds of 2");
    }
    host.sigterm().expect_code(0);
    flow.assert_committed_to_the_end();
    flow.assert_counts_exact(&sent);
    assert_eq!(flow.assert_dead_letters(&sent) as u64, sent.bad);
    flow.assert_audited_once(&[setup.folder()]);
}

#[test]
fn records_on_their_way_when_a_session_ended_are_given_up_and_sent_by_whoever_reads_them_again() {
    const EACH: usize = 300;
    let node = Node::start(Speed::QuickStart);
    let (source, letters, config) = refusing_group(&node.brokers());
    let setup = Setup::new(&node.brokers(), &config);
    let host = setup.start();
    let of_group = [("group", "refuses")];
    let fails = r#"{"do":"retry","after-ms":1500}"#;
    let failing: Vec<_> = (0..EACH)
        .map(|n| Record::new(n.to_string(), fails))
        .collect();
    source.produce(&failing);
    wait::eventually("all of them held back", SETTLE_TIMEOUT, || {
        let parked = host.metrics().sum("millrace_events_parked", &of_group);
        parked as usize == EACH
    });
    // They are given up on while nobody acknowledges their dead letters.
    node.freeze();
    wait::eventually("the session over", SETTLE_TIMEOUT, || {
        host.metrics()
            .sum("millrace_lost_partitions_total", &of_group)
            > 0.0
    });
    node.thaw();
    source.wait_for_no_lag("refuses", SETTLE_TIMEOUT);
    source.produce(&failing);
    source.wait_for_no_lag("refuses", SETTLE_TIMEOUT);

    host.metrics().assert_ledger_balanced("refuses");
    host.sigterm().expect_code(0);
    let letters = letters.read_all();
    let mut places: Vec<_> = letters.iter().map(origin).collect();
    places.sort_unstable();
    places.dedup();
    let expected: Vec<_> = (0..2 * EACH as i64).map(|n| (0, n)).collect();
    assert_eq!(places, expected, "nothing is lost");
    // What had left the host arrives when the broker goes on.
    let repeated = letters.len() - places.len();
    assert!(
        repeated <= EACH,
        "{repeated} repeats of what was on its way"
    );
    eprintln!("session over: {repeated} of {EACH} records on their way arrived twice");
}
