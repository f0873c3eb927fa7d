//! F3 a host that is stopped and comes back as a zombie, F7 a storm of rebalances, F8 a drain that cannot end.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

use super::run::{Kind, Member, Run, TIMEOUT, now_ms};
use super::settings::{IN_FLIGHT_MAX, Tier, Tuning};
use crate::harness::host::Host;
use crate::harness::kafka;
use crate::harness::load::{ENDLESS, Plan};
use crate::harness::wait;

/// What a host that was stopped has handed to its client may be written when it goes on: one batch.
const LATE_MAX: &str = "512";

#[test]
fn f3_a_zombie_neither_commits_nor_goes_on_with_what_another_host_has_now() {
    let tier = Tier::now();
    let rounds = tier.pick(1, 5);
    let run = Run::new("F3", kafka::shared(), 4);
    let tuning = Tuning::default().session_ms(3_000);
    let (first, second) = (run.member("a", &tuning), run.member("b", &tuning));
    let (one, other) = (first.join(), second.join());
    let load = run.load(Plan::of(ENDLESS, 4).rate(1_500));
    for _ in 0..rounds {
        first.wait_for_finished(&one, first.finished(&one) + 1_000);
        let from_ms = now_ms();
        one.freeze();
        wait::eventually("all partitions at the other host", TIMEOUT, || {
            run.owned_by("b") == run.partitions as usize
        });
        second.wait_for_finished(&other, second.finished(&other) + 1_000);
        one.thaw();
        run.mark(
            "SIGSTOP beyond the session",
            Some(&first.name),
            from_ms,
            Kind::Fallen,
        );
        wait::eventually("the zombie among the members again", TIMEOUT, || {
            run.owned_by("a") > 0 && run.owned_by("b") > 0
        });
    }
    load.stop();
    run.wait_until_settled();
    for (member, host) in [(first, one), (second, other)] {
        member.sigterm(host);
    }
    let done = format!("SIGSTOP of a host beyond its session, {rounds} times");
    let most = (rounds * IN_FLIGHT_MAX).to_string();
    let bounds = ["--duplicates-max", &most, "--late-max", LATE_MAX];
    run.expect_green(&done, &bounds);
}

/// Three hosts that come and go while events flow.
fn storm(row: &str, (lasts, rate): (u64, u64), tuning: impl Fn(&str) -> Tuning) {
    let run = Run::new(row, kafka::shared(), 6);
    let members: Vec<Member<'_>> = ["a", "b", "c"]
        .into_iter()
        .map(|name| run.member(name, &tuning(name)))
        .collect();
    let mut hosts: Vec<Option<Host>> = members.iter().map(|member| Some(member.start())).collect();
    let load = run.load(Plan::of(rate * (lasts + 5), 6).rate(rate));
    let began = Instant::now();
    let mut changes = 0;
    while began.elapsed() < Duration::from_secs(lasts) {
        let at = fastrand::usize(0..members.len());
        hosts[at] = match hosts[at].take() {
            Some(host) => {
                members[at].leave(host);
                None
            }
            None => Some(members[at].join()),
        };
        changes += 1;
    }
    for (member, host) in members.iter().zip(&mut hosts) {
        host.get_or_insert_with(|| member.join());
    }
    load.finish();
    run.wait_until_settled();
    for (member, host) in members.iter().zip(hosts) {
        member.sigterm(host.expect("all run in the end"));
    }
    let done = format!("3 hosts come and go for {lasts} s: {changes} changes");
    // A member that leaves while it waits for the others to join cannot commit its last events: Kafka
    // serves one request of a connection at a time, and then the generation is over.
    let most = (changes * IN_FLIGHT_MAX).to_string();
    run.expect_green(&done, &["--duplicates-max", &most]);
}

#[test]
fn f7_a_storm_of_rebalances_with_ranges_loses_nothing() {
    let size = Tier::now().pick((12, 1_500), (60, 2_500));
    storm("F7 range", size, |_| Tuning::default());
}

#[test]
fn f7_a_storm_of_rebalances_with_cooperative_members_loses_nothing() {
    let cooperative = ("partition.assignment.strategy", "cooperative-sticky");
    storm(
        "F7 cooperative",
        Tier::now().pick((6, 1_000), (60, 2_500)),
        |_| Tuning::default().property(cooperative.0, cooperative.1),
    );
}

#[test]
fn f7_a_storm_of_rebalances_with_static_members_loses_nothing() {
    storm(
        "F7 static",
        Tier::now().pick((6, 1_000), (60, 2_500)),
        |name| {
            Tuning::default()
                .session_ms(3_000)
                .property("group.instance.id", name)
        },
    );
}

/// Lets the output take nothing, or everything again: no record is as small as that.
fn set_stalled(run: &Run, stalled: bool) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", run.output.brokers())
        .create()
        .expect("an admin client can be made");
    let topic = ResourceSpecifier::Topic(run.output.name());
    let change = AlterConfig::new(topic)
        .set("message.timestamp.type", "LogAppendTime")
        .set("max.message.bytes", if stalled { "1" } else { "1048588" });
    let done = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime can be made")
        .block_on(admin.alter_configs([&change], &AdminOptions::new()))
        .expect("the broker answers");
    for done in done {
        done.expect("the topic takes its settings");
    }
}

#[test]
fn f8_a_drain_whose_output_is_stalled_is_given_up_in_time() {
    let run = Run::new("F8", kafka::shared(), 4);
    let tuning = Tuning::default().session_ms(6_000);
    let (stays, comes) = (run.member("a", &tuning), run.member("b", &tuning));
    let one = stays.start();
    let load = run.load(Plan::of(Tier::now().pick(10_000, 60_000), 4).rate(1_000));
    stays.wait_for_finished(&one, 1_000);
    let from_ms = now_ms();
    set_stalled(&run, true);
    wait::eventually("an output that takes nothing", TIMEOUT, || {
        let (_, state) = one.get("/readyz?verbose").expect("it is served");
        state.contains("larger than the topic takes")
    });
    let other = comes.start();
    wait::eventually("both with partitions", TIMEOUT, || {
        run.owned_by("a") > 0 && run.owned_by("b") > 0
    });
    set_stalled(&run, false);
    comes.wait_for_finished(&other, 1_000);
    run.mark(
        "rebalance with a stalled output",
        None,
        from_ms,
        Kind::Disturbed,
    );
    load.finish();
    run.wait_until_settled();
    for (member, host) in [(stays, one), (comes, other)] {
        member.sigterm(host);
    }
    run.expect_green("a second host joins while the output takes nothing", &[]);
}
