//! F9 a partition that comes back to its owner, F10 static members that are restarted one by one, F11 a plugin
//! that takes longer than a poll may.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::run::{Kind, Run, TIMEOUT};
use super::settings::{Tier, Tuning};
use crate::harness::kafka;
use crate::harness::load::{ENDLESS, Plan};
use crate::harness::wait;

/// A member that takes partitions, does nothing with them, and leaves.
fn guest_comes_and_goes(run: &Run) {
    let member: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", run.source.brokers())
        .set("group.id", &run.group)
        .set("enable.auto.commit", "false")
        .set("partition.assignment.strategy", "range,roundrobin")
        .create()
        .expect("a consumer can be made");
    member
        .subscribe(&[run.source.name()])
        .expect("it can subscribe");
    wait::eventually("partitions for the guest", TIMEOUT, || {
        member.poll(Duration::from_millis(50));
        member.assignment().is_ok_and(|list| list.count() > 0)
    });
}

#[test]
fn f9_a_partition_that_is_taken_away_and_comes_back_goes_on() {
    let tier = Tier::now();
    let rounds = tier.pick(20, 100);
    let run = Run::new("F9", kafka::shared(), 4);
    let member = run.member("a", &Tuning::default());
    let host = member.start();
    let load = run.load(Plan::of(ENDLESS, 4).rate(1_000));
    for _ in 0..rounds {
        let from_ms = super::run::now_ms();
        guest_comes_and_goes(&run);
        wait::eventually("all partitions back", TIMEOUT, || {
            run.owned_by("a") == run.partitions as usize
        });
        run.mark(
            "a guest takes partitions and leaves",
            None,
            from_ms,
            Kind::Orderly,
        );
        member.wait_for_finished(&host, member.finished(&host) + 200);
    }
    load.stop();
    run.wait_until_settled();
    member.sigterm(host);
    let done = format!("partitions taken away and given back, {rounds} times");
    run.expect_green(&done, &["--duplicates-max", "0"]);
}

#[test]
fn f10_static_members_are_restarted_one_by_one_without_a_rebalance() {
    let tier = Tier::now();
    let rounds = tier.pick(1, 3);
    let run = Run::new("F10", kafka::shared(), 6);
    let members = ["a", "b", "c"].map(|name| {
        let tuning = Tuning::default()
            .session_ms(20_000)
            .property("group.instance.id", name);
        run.member(name, &tuning)
    });
    let mut hosts = members.each_ref().map(|member| Some(member.start()));
    wait::eventually("partitions for each", TIMEOUT, || {
        ["a", "b", "c"].iter().all(|name| run.owned_by(name) == 2)
    });
    let load = run.load(Plan::of(ENDLESS, 6).rate(1_500));
    let before = run.generation();
    for _ in 0..rounds {
        for (member, host) in members.iter().zip(&mut hosts) {
            member.leave(host.take().expect("it runs"));
            let again = member.join();
            member.wait_for_finished(&again, 300);
            *host = Some(again);
        }
    }
    let after = run.generation();
    load.stop();
    run.wait_until_settled();
    for (member, host) in members.iter().zip(hosts) {
        member.sigterm(host.expect("it runs"));
    }
    assert_eq!(before, after, "the generation of the group");
    let done = format!("3 static members restarted one by one, {rounds} times: same generation");
    run.expect_green(&done, &["--duplicates-max", "0"]);
}

#[test]
fn f11_a_plugin_that_takes_longer_than_a_poll_may_keeps_its_membership() {
    let run = Run::new("F11", kafka::shared(), 4);
    let tuning = Tuning::default()
        .session_ms(3_000)
        .property("max.poll.interval.ms", 3_000)
        .deadline("20s");
    let member = run.member("a", &tuning);
    let host = member.start();
    let before = run.generation();
    let plan = Plan::of(Tier::now().pick(10_000, 30_000), 4).rate(1_500);
    let load = run.load(plan.deed(|id| {
        // Three times what a poll may take.
        (id == 3_000).then(|| serde_json::json!({ "do": "wait", "ms": 9_000 }))
    }));
    load.finish();
    run.wait_until_settled();
    assert_eq!(run.generation(), before, "the generation of the group");
    member.sigterm(host);
    let done = "a call of three times max.poll.interval.ms: same generation";
    run.expect_green(done, &["--duplicates-max", "0"]);
}
