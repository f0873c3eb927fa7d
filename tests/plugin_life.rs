//! The life of a plugin's instances in a running host: renewed when they are worn, delayed when nothing goes
//! well, and what went past a limit is told and counted.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::harness::host::{Host, Setup};
use crate::harness::kafka;
use crate::harness::main_flow::{Place, origin};
use crate::harness::topic::Record;
use crate::harness::wait;
use crate::harness::witness::Witness;

const TIMEOUT: Duration = Duration::from_secs(120);

/// A stop that had to wait for a plugin's next instance would take up to 16 seconds.
const STOP_MAX: Duration = Duration::from_secs(8);

/// Two more than a plugin may fail without a wait.
const FAULTS: usize = 18;

const GOOD: usize = 30;

const ONE_ATTEMPT: &str = "    retry: { attempts: 1 }\n    concurrency: 1\n";

fn figure(host: &Host, witness: &Witness, name: &str, labels: &[(&str, &str)]) -> f64 {
    let group = [("group", witness.group.as_str()), ("plugin", "witness")];
    host.metrics().sum(name, &[&group, labels].concat())
}

/// Sends events of this value, each of a key of its own. Returns their places, in order.
fn produce(witness: &Witness, value: &str, count: usize) -> Vec<Place> {
    let record = |at| Record::new(format!("{value} {at}"), value);
    let records: Vec<Record> = (0..count).map(record).collect();
    let mut places = witness.source.produce(&records);
    places.sort_unstable();
    places
}

fn given_up(witness: &Witness) -> Vec<Place> {
    let letters = witness.dead_letters.read_all();
    let mut places: Vec<Place> = letters.iter().map(origin).collect();
    places.sort_unstable();
    places
}

#[test]
fn worn_instances_make_room_for_new_ones_and_no_event_is_touched_by_it() {
    let witness = Witness::new("worn", 2);
    let config = witness.config(ONE_ATTEMPT).replace(
        "    tick: 300ms",
        "    tick: 300ms\n    recycle: { events: 20 }",
    );
    let setup = Setup::new(kafka::shared(), &config);
    let host = setup.start();
    let mut places = Vec::new();
    // In parts, because an instance is never renewed in the middle of a batch.
    for _ in 0..10 {
        places.extend(produce(&witness, "{}", 50));
        witness.source.wait_for_no_lag(&witness.group, TIMEOUT);
    }
    let name = "millrace_plugin_instances_recycled_total";
    let recycled = figure(&host, &witness, name, &[("reason", "events")]);
    assert!(recycled >= 9.0, "{recycled} were renewed");
    host.metrics().assert_ledger_balanced(&witness.group);
    host.sigterm().expect_code(0);
    places.sort_unstable();
    assert_eq!(witness.places(&setup), places);
    assert_eq!(witness.counted(), places.len() as i64);
}

#[test]
fn a_plugin_of_which_nothing_goes_well_waits_and_its_events_are_neither_lost_nor_early_nor_in_the_way()
 {
    let witness = Witness::new("dying", 1);
    let setup = Setup::new(kafka::shared(), &witness.config(ONE_ATTEMPT));
    // Each of them takes its deadline of 300 ms, so that nothing goes well for long enough.
    let bad = produce(&witness, r#"{"do":"loop"}"#, FAULTS);
    let good = produce(&witness, "{}", GOOD);
    let host = setup.start();
    let delays = || figure(&host, &witness, "millrace_plugin_restart_delays_total", &[]);
    wait::eventually("a wait for an instance", TIMEOUT, || delays() >= 2.0);

    // Neither a scrape nor the end of the host waits for it.
    let began = Instant::now();
    let log = host.sigterm().expect_code(0).log();
    assert!(began.elapsed() < STOP_MAX, "{:?}", began.elapsed());
    let told = |line: &serde_json::Value| line.to_string().contains("nothing goes well");
    assert!(log.iter().any(told), "{log:?}");

    let host = setup.start();
    witness.source.wait_for_no_lag(&witness.group, TIMEOUT);
    host.metrics().assert_ledger_balanced(&witness.group);
    host.sigterm().expect_code(0);
    let distinct: BTreeSet<Place> = given_up(&witness).into_iter().collect();
    assert_eq!(distinct.into_iter().collect::<Vec<_>>(), bad);
    assert_eq!(witness.places(&setup), good, "each good event has one line");
}

#[test]
fn what_goes_past_a_limit_is_named_in_its_dead_letter_and_counted_by_the_limit() {
    let witness = Witness::new("limited", 1);
    let setup = Setup::new(kafka::shared(), &witness.config(ONE_ATTEMPT));
    let host = setup.start();
    let bad = produce(&witness, r#"{"do":"loop"}"#, 1);
    witness.source.wait_for_no_lag(&witness.group, TIMEOUT);
    let letters = witness.dead_letters.read_all();
    assert_eq!(given_up(&witness), bad);
    let header = |name: &str| letters[0].header(&format!("millrace.dlq.{name}"));
    assert_eq!(header("cause"), Some("deadline"));
    assert_eq!(header("plugin"), Some("witness"));
    assert_eq!(
        header("message"),
        Some("ran past the deadline of 300 ms (plugins.witness.limits.deadline)")
    );
    let name = "millrace_plugin_limit_violations_total";
    assert!(figure(&host, &witness, name, &[("limit", "deadline")]) >= 1.0);
    host.sigterm().expect_code(0);
}
