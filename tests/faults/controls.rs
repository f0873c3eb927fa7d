//! The suite tested: for each invariant a host with that promise broken, and a checker that has to see it.

use std::time::Duration;

use serde_json::json;

use super::plugins::Pair;
use super::run::{Kind, Member, Run, TIMEOUT, let_it_last, now_ms};
use super::settings::Tuning;
use super::waiting::{GROWTH_MAX_BYTES, backlog};
use crate::harness::host::{Host, Setup};
use crate::harness::kafka::{self, Node, Speed};
use crate::harness::load::Plan;
use crate::harness::wait;

const BINARY: &str = env!("CARGO_BIN_EXE_millrace-sabotaged");

fn broken(setup: Setup, sabotage: &str) -> Setup {
    setup.binary(BINARY).env("MILLRACE_SABOTAGE", sabotage)
}

/// A host of this name that breaks a promise.
fn saboteur<'a>(run: &'a Run, name: &str, tuning: &Tuning, sabotage: &str) -> Member<'a> {
    let setup = Setup::new(run.source.brokers(), &run.config(name, tuning));
    run.member_of(name, broken(setup, sabotage), tuning)
}

/// One host that copies everything with a promise broken, to the end.
fn copied_by_a_saboteur(run: &Run, plan: Plan, tuning: &Tuning, sabotage: &str) {
    let member = saboteur(run, "a", tuning, sabotage);
    let host = member.start();
    run.load(plan).finish();
    run.wait_until_settled();
    member.sigterm(host);
}

#[test]
fn i1_dead_letters_that_are_dropped_are_seen_as_lost() {
    let run = Run::new("control I1", kafka::shared(), 4);
    let plan = Plan::of(5_000, 4).deed(|id| (id % 50 == 7).then(|| json!({ "do": "reject" })));
    copied_by_a_saboteur(&run, plan, &Tuning::default(), "skip-dead-letter");
    run.expect_red(
        "I1",
        "skip-dead-letter: what is given up on is dropped",
        &[],
    );
}

#[test]
fn i2_commits_that_are_forgotten_are_seen_as_repeats() {
    let run = Run::new("control I2", kafka::shared(), 4);
    let member = saboteur(&run, "a", &Tuning::default(), "forget-commits");
    let host = member.start();
    run.load(Plan::of(5_000, 4)).finish();
    run.wait_until_settled();
    member.leave(host);
    let host = member.start();
    member.wait_for_finished(&host, 5_000);
    member.sigterm(host);
    run.expect_red(
        "I2",
        "forget-commits: every start begins at the oldest record",
        &[],
    );
}

#[test]
fn i3_a_key_that_does_not_wait_for_its_retry_is_seen_as_reordered() {
    let run = Run::new("control I3", kafka::shared(), 4);
    let retried = |id| (id % 700 == 7).then(|| json!({ "do": "retry", "times": 1 }));
    let plan = Plan::of(10_000, 4).rate(3_000).deed(retried);
    let tuning = Tuning::default().group("    retry: { backoff: { initial: 2s, jitter: 0 } }\n");
    copied_by_a_saboteur(&run, plan, &tuning, "ignore-key-order");
    run.expect_red(
        "I3",
        "ignore-key-order: a key does not wait for its retry",
        &[],
    );
}

#[test]
fn i4_a_commit_before_the_work_is_seen_as_ahead_of_it() {
    let run = Run::new("control I4", kafka::shared(), 4);
    let tuning = Tuning::default().wait_us(1_000);
    let member = saboteur(&run, "a", &tuning, "commit-before-settle");
    let host = member.start();
    run.load(Plan::of(4_000, 4)).finish();
    member.wait_for_finished(&host, 4_000);
    member.sigterm(host);
    run.expect_red("I4", "commit-before-settle: what is read is committed", &[]);
}

#[test]
fn i5_a_queue_without_a_limit_is_seen_as_growth() {
    let run = Run::new("control I5", kafka::shared(), 4);
    let tuning = Tuning::default().wait_us(100);
    run.load(backlog(40_000)).finish();
    let member = saboteur(&run, "a", &tuning, "no-limits");
    let host = member.start();
    run.wait_until_settled();
    member.sigterm(host);
    let bounds = ["--memory-growth-max-bytes", GROWTH_MAX_BYTES];
    run.expect_red("I5", "no-limits: a batch takes whatever is there", &bounds);
}

#[test]
fn i6_a_partition_that_falls_silent_is_seen_although_the_others_go_on() {
    let run = Run::new("control I6", kafka::shared(), 4);
    let member = saboteur(&run, "a", &Tuning::default(), "silent-partition");
    let host = member.start();
    run.load(Plan::of(8_000, 4)).finish();
    member.wait_for_finished(&host, 6_000);
    member.sigterm(host);
    run.expect_red("I6", "silent-partition: one of four is not worked on", &[]);
}

#[test]
fn i7_a_host_that_dies_with_its_plugin_is_seen_at_its_neighbour() {
    let pair = Pair::new("control I7");
    let setup = broken(pair.setup(), "die-with-plugin");
    let member = pair.run.member_of("a", setup, &pair.tuning);
    let host = member.start();
    let (beside, from_ms) = pair.loads(2_000);
    member.ended(host, "success", Host::wait);
    pair.run.mark("traps", None, from_ms, Kind::Orderly);
    beside.stop();
    pair.run.expect_red(
        "I7",
        "die-with-plugin: a trap ends the host",
        &pair.bounds(),
    );
}

#[test]
fn i8_a_host_that_does_not_give_up_on_its_broker_is_seen_as_late() {
    let mut node = Node::start(Speed::QuickStart);
    let run = Run::new("control I8", &node.brokers(), 4);
    let member = saboteur(&run, "a", &Tuning::default(), "never-give-up");
    let host = member.start();
    run.load(Plan::of(5_000, 4)).finish();
    member.wait_for_finished(&host, 1_000);
    node.kill9();
    member.ended(host, "in-time", |host| {
        host.ask_to_end();
        let_it_last(Duration::from_millis(member.end_within_ms + 2_000));
        node.restart();
        host.wait()
    });
    run.expect_red(
        "I8",
        "never-give-up: a host waits for a broker that is gone",
        &[],
    );
}

#[test]
fn i9_a_host_that_goes_on_with_what_was_taken_from_it_is_seen_as_a_second_owner() {
    let run = Run::new("control I9", kafka::shared(), 4);
    let tuning = Tuning::default().session_ms(9_000).deadline("20s");
    let stays = saboteur(&run, "a", &tuning, "no-epoch-fence");
    let comes = run.member("b", &tuning);
    let one = stays.start();
    // The second host comes while the first one is held up with full queues.
    let plan = Plan::of(12_000, 4).rate(2_000);
    let load = run.load(
        plan.deed(|id| (id == 2_000).then(|| json!({ "do": "wait", "ms": 8_000, "times": 1 }))),
    );
    stays.wait_for_finished(&one, 1_500);
    let other = comes.join();
    comes.wait_for_finished(&other, 500);
    load.finish();
    wait::eventually("the first host past its wait", TIMEOUT, || {
        stays.finished(&one) > 2_100
    });
    let from_ms = now_ms();
    stays.sigterm(one);
    run.mark("SIGTERM", Some("a"), from_ms, Kind::Disturbed);
    run.wait_until_settled();
    comes.sigterm(other);
    run.expect_red(
        "I9",
        "no-epoch-fence: a host goes on with what it has lost",
        &[],
    );
}

#[test]
fn i10_a_ledger_that_lies_is_seen_in_a_scrape() {
    let run = Run::new("control I10", kafka::shared(), 4);
    let plan = Plan::of(5_000, 4).rate(3_000);
    copied_by_a_saboteur(&run, plan, &Tuning::default(), "ledger-lies");
    run.expect_red("I10", "ledger-lies: more is counted than was done", &[]);
}
