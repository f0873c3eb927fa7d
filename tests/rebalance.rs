//! Partitions that move between hosts: nothing is lost, nothing is counted twice, and what was seen stays
//! seen.

use crate::harness::host::{Host, Setup};
use crate::harness::kafka;
use crate::harness::main_flow::{MainFlow, SETTLE_TIMEOUT, summary, with_sessions_of};
use crate::harness::topic::Record;
use crate::harness::wait;
use crate::harness::witness::Witness;

/// Long enough that a starved machine does not look like a dead host, in milliseconds.
const SESSION_MS: u32 = 12_000;

/// Where a test waits for a session to end.
const FREEZE_SESSION_MS: u32 = 6_000;

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
    let retry = "    retry: { attempts: 2 }";
    let config = with_sessions_of(FREEZE_SESSION_MS, &witness.config(retry));
    let [first, second] = [(), ()].map(|()| Setup::new(kafka::shared(), &config));
    // Its last attempt is due while the host is frozen, so that it runs as soon as the host is not.
    let fails = r#"{"do":"retry","after-ms":1500}"#;
    source.produce(&[Record::new("fails", fails), Record::new("other", "{}")]);
    let frozen = first.start();
    wait::eventually("the key held back", SETTLE_TIMEOUT, || {
        frozen
            .metrics()
            .sum("millrace_events_parked", &[("group", group)])
            > 0.0
    });
    frozen.freeze();

    let takes_over = second.start();
    source.wait_for_no_lag(group, SETTLE_TIMEOUT);
    assert_eq!(witness.dead_letters.read_all().len(), 1);
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
    assert_eq!(witness.dead_letters.read_all().len(), 1);
    let places: Vec<_> = [&first, &second]
        .map(|setup| witness.places(setup))
        .concat();
    assert!(places.contains(&(0, 2)), "{places:?}");
}
