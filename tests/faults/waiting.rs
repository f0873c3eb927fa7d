//! F12 a backlog far larger than what a host may hold, with a plugin that cannot keep up.

use super::run::{Kind, Run, now_ms};
use super::settings::{Tier, Tuning};
use crate::harness::kafka;
use crate::harness::load::Plan;

/// What a host may hold beyond what it needs to be there: far less than the backlog.
pub(crate) const GROWTH_MAX_BYTES: &str = "134217728";

/// The backlog, as it is waited for: 8 KB an event.
pub(crate) fn backlog(events: u64) -> Plan {
    Plan::of(events, 4).padding_bytes(8_000)
}

#[test]
fn f12_a_backlog_behind_a_slow_plugin_takes_no_memory_and_is_worked_off_over_a_rebalance() {
    let run = Run::new("F12", kafka::shared(), 4);
    let tuning = Tuning::default().wait_us(500);
    let load = run.load(backlog(Tier::now().pick(4_000, 40_000)));
    load.finish();
    let (stays, comes) = (run.member("a", &tuning), run.member("b", &tuning));
    let one = stays.start();
    stays.wait_for_finished(&one, 500);
    let other = comes.join();
    comes.wait_for_finished(&other, 200);
    comes.leave(other);
    let from_ms = now_ms();
    run.mark(
        "a partition comes back to a host that pauses",
        None,
        from_ms,
        Kind::Orderly,
    );
    run.wait_until_settled();
    stays.sigterm(one);
    let done = "a backlog of 8 KB events behind a plugin of 0.5 ms, with a rebalance in it";
    let bounds = [
        "--duplicates-max",
        "0",
        "--memory-growth-max-bytes",
        GROWTH_MAX_BYTES,
    ];
    run.expect_green(done, &bounds);
}
