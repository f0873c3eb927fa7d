//! F4 the broker dies, F5 it is gone or silent for long, F6 it is gone when the host is asked to end.

use std::time::{Duration, Instant};

use super::run::{Kind, Member, Run, let_it_last, now_ms};
use super::settings::{IN_FLIGHT_MAX, Tier, Tuning};
use crate::harness::host::Host;
use crate::harness::kafka::{Node, Speed};
use crate::harness::load::{ENDLESS, Plan};
use crate::harness::process;
use crate::harness::proxy::{Proxy, Weather};

/// Work between two faults.
const BETWEEN: u64 = 1_500;

/// How long a record is tried before the host has it back and sends it again.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(3);

/// Waits until the host has done some more.
#[track_caller]
fn work_goes_on(member: &Member<'_>, host: &Host) {
    member.wait_for_finished(host, member.finished(host) + BETWEEN);
}

#[test]
fn f4_a_broker_that_dies_and_comes_back_loses_nothing() {
    let tier = Tier::now();
    let (kills, stops) = tier.pick((2_u32, 0_u32), (5, 2));
    let mut node = Node::start(Speed::QuickStart);
    let run = Run::new("F4", &node.brokers(), 4);
    let member = run.member("a", &Tuning::default().session_ms(9_000));
    let host = member.start();
    let load = run.load(Plan::of(ENDLESS, 4).rate(1_500));
    for (what, times) in [
        ("kill -9 of the broker", kills),
        ("restart of the broker", stops),
    ] {
        for _ in 0..times {
            work_goes_on(&member, &host);
            let from_ms = now_ms();
            if what.starts_with("kill") {
                node.kill9();
            } else {
                node.stop();
            }
            node.restart();
            run.mark(what, None, from_ms, Kind::Fallen);
        }
    }
    work_goes_on(&member, &host);
    load.stop();
    run.wait_until_settled();
    member.sigterm(host);
    let done = format!("kill -9 of the broker, {kills} times; orderly restart, {stops} times");
    let most = (u64::from(kills + stops) * IN_FLIGHT_MAX).to_string();
    let bounds = ["--duplicates-max", &most, "--stall-max-ms", "120000"];
    run.expect_green(&done, &bounds);
}

/// How a broker can be away.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Away {
    Silent,
    Stopped,
}

/// A broker that is away for some time, as its hosts see it.
fn away(row: &str, how: Away, outage: Duration) {
    let (port, proxied) = (process::free_port(), process::free_port());
    let mut node = Node::start_behind(port, proxied);
    let proxy = Proxy::start(proxied, port);
    let through = format!("127.0.0.1:{}", proxy.port());
    let run = Run::behind(row, &node.brokers(), &through, 4);
    // Records give up well within the outage, so that they are sent again by the host and not only by
    // its client; and connections notice that nobody answers.
    let tuning = Tuning::default()
        .session_ms(6_000)
        .property("socket.timeout.ms", 3_000)
        .property("delivery.timeout.ms", DELIVERY_TIMEOUT.as_millis());
    let member = run.member("a", &tuning);
    let host = member.start();
    let rate = 1_000;
    let events = rate * (outage.as_secs() + 10);
    let load = run.load(Plan::of(events, 4).rate(rate));
    work_goes_on(&member, &host);
    let from_ms = now_ms();
    match how {
        Away::Silent => {
            proxy.set(Weather::BlackHole);
            let_it_last(outage);
            proxy.set(Weather::Clear);
        }
        Away::Stopped => {
            node.stop();
            let_it_last(outage);
            node.restart();
        }
    }
    let what = match how {
        Away::Silent => "broker silent",
        Away::Stopped => "broker stopped",
    };
    // A record is written and its acknowledgement lost at most once each time that it is sent.
    let times = outage.as_secs() / DELIVERY_TIMEOUT.as_secs() + 1;
    run.mark_times(what, None, from_ms, Kind::Fallen, times);
    load.finish();
    run.wait_until_settled();
    member.sigterm(host);
    let stall_max = (outage.as_millis() + 30_000).to_string();
    let done = format!("{what} for {} s", outage.as_secs());
    let most = (times * IN_FLIGHT_MAX).to_string();
    let bounds = [
        "--duplicates-max",
        &most,
        "--stall-max-ms",
        &stall_max,
        "--recover-max-ms",
        "30000",
    ];
    run.expect_green(&done, &bounds);
}

#[test]
fn f5_a_broker_that_is_silent_with_its_connections_open_is_waited_for() {
    let outage = Tier::now().pick(8, 60);
    away("F5 silent", Away::Silent, Duration::from_secs(outage));
}

#[test]
fn f5_a_broker_that_is_stopped_is_waited_for() {
    let outage = Tier::now().pick(4, 60);
    away("F5 stopped", Away::Stopped, Duration::from_secs(outage));
}

#[test]
fn f6_a_host_ends_in_time_when_its_broker_is_gone() {
    let tier = Tier::now();
    let mut node = Node::start(Speed::QuickStart);
    let run = Run::new("F6", &node.brokers(), 4);
    let member = run.member("a", &Tuning::default().session_ms(3_000));
    let load = run.load(Plan::of(tier.pick(10_000, 30_000), 4).rate(2_000));
    let host = member.start();
    member.wait_for_finished(&host, 2_000);
    let from_ms = now_ms();
    node.kill9();
    let asked = Instant::now();
    member.scrape(&host);
    member.ended(host, "in-time", Host::sigterm);
    let took = asked.elapsed();
    node.restart();
    run.mark("SIGTERM without a broker", None, from_ms, Kind::Fallen);
    let host = member.start();
    load.finish();
    run.wait_until_settled();
    member.sigterm(host);
    let done = format!("kill -9 of the broker, then SIGTERM: the host ended after {took:.1?}");
    let most = IN_FLIGHT_MAX.to_string();
    let bounds = ["--duplicates-max", &most, "--stall-max-ms", "120000"];
    run.expect_green(&done, &bounds);
}
