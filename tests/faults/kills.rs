//! F1 kill -9, F2 SIGTERM under load.

use super::run::Run;
use super::settings::{Tier, Tuning};
use crate::harness::kafka;
use crate::harness::load::Plan;

/// Short, so that a killed host's partitions are given out again soon.
const SESSION_MS: u32 = 3_000;

#[test]
fn f1_kill_9_at_random_times_loses_nothing_and_repeats_only_what_was_in_flight() {
    let tier = Tier::now();
    let (events, kills) = tier.pick((20_000, 2), (100_000, 10));
    let run = Run::new("F1", kafka::shared(), 8);
    let tuning = Tuning::default().session_ms(SESSION_MS);
    let member = run.member("a", &tuning);
    let load = run.load(Plan::of(events, 8).rate(tier.pick(1_500, 1_000)));
    for kill in 1..=kills {
        let host = member.start();
        // Up to two seconds of work, and sometimes before anything is committed.
        member.wait_for_finished(&host, fastrand::u64(1..2_500));
        assert!(
            !load.is_finished(),
            "kill {kill} has to come while events flow"
        );
        member.kill9(host);
    }
    let host = member.start();
    load.finish();
    run.wait_until_settled();
    member.sigterm(host);
    let done = format!("kill -9 of the host, {kills} times at random moments");
    run.expect_green(&done, &[]);
}

#[test]
fn f2_sigterm_under_load_repeats_nothing_and_ends_in_time() {
    let tier = Tier::now();
    let (events, rounds) = tier.pick((20_000, 2), (100_000, 5));
    let run = Run::new("F2", kafka::shared(), 4);
    let mut member = run.member("a", &Tuning::default());
    member.end_within_ms = u64::from(Tuning::default().drain_ms) + 2_000;
    let load = run.load(Plan::of(events, 4).rate(3_000));
    for round in 1..=rounds {
        let host = member.start();
        member.wait_for_finished(&host, 2_000);
        assert!(
            !load.is_finished(),
            "stop {round} has to come while events flow"
        );
        member.leave(host);
    }
    let host = member.start();
    load.finish();
    run.wait_until_settled();
    member.sigterm(host);
    let done = format!("SIGTERM under load, {rounds} times");
    run.expect_green(&done, &["--duplicates-max", "0"]);
}
