//! F13 a plugin that traps every now and then, beside one that does not.

use std::time::Duration;

use serde_json::json;

use super::run::{Kind, Run, TIMEOUT, let_it_last, now_ms};
use super::settings::{Tier, Tuning};
use crate::harness::host::Setup;
use crate::harness::kafka;
use crate::harness::load::{ENDLESS, Load, Plan};

/// Two groups of one host: one whose plugin traps, and its neighbour.
pub(crate) struct Pair {
    pub(crate) run: Run,
    pub(crate) neighbour: Run,
    pub(crate) tuning: Tuning,
}

impl Pair {
    pub(crate) fn new(row: &str) -> Self {
        let retry = "    retry: { attempts: 2, backoff: { initial: 50ms, jitter: 0 } }\n";
        Self {
            run: Run::new(row, kafka::shared(), 4),
            neighbour: Run::new(&format!("{row} neighbour"), kafka::shared(), 2),
            tuning: Tuning::default().group(retry),
        }
    }

    /// One host for both.
    pub(crate) fn setup(&self) -> Setup {
        let Self {
            run,
            neighbour,
            tuning,
        } = self;
        let config = format!(
            "{}plugins:{}{}\ngroups:{}{}\n",
            tuning.kafka(run.source.brokers(), "a"),
            run.plugin("copy", "a", tuning),
            neighbour.plugin("clean", "a", tuning),
            run.route("copy", tuning),
            neighbour.route("clean", tuning),
        );
        Setup::new(run.source.brokers(), &config)
    }

    /// Every two hundredth event of one group traps for good, while the other has only good ones. The
    /// neighbour works for a while without that, too.
    pub(crate) fn loads(&self, events: u64) -> (Load, i64) {
        let neighbour = self.neighbour.load(Plan::of(ENDLESS, 2).rate(300));
        let_it_last(Duration::from_secs(4));
        let from_ms = now_ms();
        let plan = Plan::of(events, 4).rate(2_000);
        let load = self
            .run
            .load(plan.deed(|id| (id % 200 == 7).then(|| json!({ "do": "trap" }))));
        load.finish();
        (neighbour, from_ms)
    }

    /// What the checker has to know of the neighbour.
    pub(crate) fn bounds(&self) -> [&str; 8] {
        let neighbour = &self.neighbour;
        // How slow it became depends on the disk of the hour. The long tier measures that; the short one, which is a
        // test, asks for every event of it within a minute.
        let slack_ms = Tier::now().pick("60000", "250");
        [
            "--duplicates-max",
            "0",
            "--neighbour-source",
            neighbour.source.name(),
            "--neighbour-output",
            neighbour.output.name(),
            "--neighbour-slack-ms",
            slack_ms,
        ]
    }
}

#[test]
fn f13_a_plugin_that_traps_costs_its_own_events_and_nobody_else_anything() {
    let pair = Pair::new("F13");
    let (run, neighbour) = (&pair.run, &pair.neighbour);
    let member = run.member_of("a", pair.setup(), &pair.tuning);
    let host = member.start();
    let (beside, from_ms) = pair.loads(Tier::now().pick(20_000, 100_000));
    run.wait_until_settled();
    run.mark("traps", None, from_ms, Kind::Orderly);
    beside.stop();
    neighbour.source.wait_for_no_lag(&neighbour.group, TIMEOUT);
    member.sigterm(host);
    run.expect_green("a plugin that traps at every 200th event", &pair.bounds());
}
