//! Partitions that move between hosts: nothing is lost, nothing is counted twice, and what was seen stays
//! seen.

use crate::harness::host::{Host, Setup};
use crate::harness::kafka;
use crate::harness::main_flow::{MainFlow, SETTLE_TIMEOUT, summary, with_sessions_of};
use crate::harness::wait;

/// Long enough that a starved machine does not look like a dead host, in milliseconds.
const SESSION_MS: u32 = 12_000;

/// How many partitions a host has for both groups; a partition that was given up reads as nothing in
/// flight, so what counts is which have a lag.
fn processes(host: &Host, flow: &MainFlow) -> u64 {
    let settled = flow
        .groups()
        .map(|group| host.metrics().outcomes(group).values().sum::<f64>());
    settled.into_iter().fold(f64::INFINITY, f64::min) as u64
}

#[test]
fn a_second_host_joins_while_events_flow_and_leaves_again_without_a_loss_or_a_repeat() {
    const EVENTS: u64 = 80_000;
    let flow = MainFlow::new("rebalance", 4);
    let config = with_sessions_of(SESSION_MS, &flow.config());
    let [first, second] = [(), ()].map(|()| Setup::new(kafka::shared(), &config));
    let stays = first.start();
    let sending = flow.produce_meanwhile(EVENTS, 10_000);
    wait::eventually("the first host at work", SETTLE_TIMEOUT, || {
        processes(&stays, &flow) > 5_000
    });

    let comes = second.start();
    wait::eventually("the second host at work", SETTLE_TIMEOUT, || {
        processes(&comes, &flow) > 5_000
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
