//! An outage of everything that a plugin depends on, under load.

use std::time::{Duration, Instant};

use super::run::{Kind, Run, TIMEOUT, now_ms};
use super::settings::{Tier, Tuning};
use crate::harness::host::Host;
use crate::harness::kafka;
use crate::harness::load::Plan;
use crate::harness::wait;

/// Events a second, before, during and after the outage.
const RATE: u64 = 2_000;

/// From the writing of the configuration to the outage: the host starts and settles meanwhile.
const BEFORE_MS: i64 = 15_000;

fn breaker_is_open(host: &Host) -> bool {
    host.get("/metrics").is_ok_and(|(_, text)| {
        let metrics = crate::harness::metrics::Metrics::parse(&text);
        metrics.sum("millrace_breaker_open", &[]) > 0.0
    })
}

#[test]
fn an_outage_under_load_sends_nothing_to_the_dead_letters_and_ends_by_itself() {
    let lasts_ms = Tier::now().pick(10_000, 60_000);
    let run = Run::new("Outage", kafka::shared(), 4);
    let from_ms = now_ms() + BEFORE_MS;
    let until_ms = from_ms + lasts_ms;
    // Without the breaker an event would be given up on after less than a second.
    let group = "    retry: { attempts: 3, backoff: { initial: 100ms } }\n    \
                 breaker: { probe: { initial: 500ms, max: 5s } }\n";
    let tuning = Tuning::default().down_ms(from_ms, until_ms).group(group);
    let member = run.member("a", &tuning);
    let host = member.start();
    let events = RATE * (BEFORE_MS + lasts_ms) as u64 / 1_000;
    let load = run.load(Plan::of(events, 4).rate(RATE));

    wait::eventually("the breaker to open", TIMEOUT, || breaker_is_open(&host));
    let opened_ms = now_ms();
    assert!(opened_ms >= from_ms, "it opened before there was an outage");
    let (status, said) = host.get("/readyz?verbose").expect("the host answers");
    assert_eq!(
        status, 200,
        "an outage elsewhere is no reason to restart this: {said}"
    );
    assert!(
        said.contains("the breaker of plugin copy is open"),
        "{said}"
    );
    wait::eventually("the outage to be over", TIMEOUT, || now_ms() >= until_ms);
    let over = Instant::now();
    wait::eventually("the breaker to close", TIMEOUT, || !breaker_is_open(&host));
    let resumed = over.elapsed();
    load.finish();
    run.wait_until_settled();
    run.mark("outage", None, from_ms, Kind::Orderly);

    assert_eq!(run.dead_letters.read_all(), []);
    let peak_bytes = host.peak_memory_bytes();
    member.sigterm(host);
    run.expect_green(
        &format!("{} s without what the plugin depends on", lasts_ms / 1_000),
        &["--duplicates-max", "0", "--stall-max-ms", "90000"],
    );
    eprintln!(
        "outage of {} s: seen after {} ms, over {} ms after its end, 0 dead letters, peak memory {} MiB",
        lasts_ms / 1_000,
        opened_ms - from_ms,
        resumed.as_millis(),
        peak_bytes >> 20,
    );
    assert!(
        resumed < Duration::from_secs(10),
        "the longest wait between two probes is 5 s, and it took {resumed:?}"
    );
}
