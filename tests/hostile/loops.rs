//! Loops on every core: the smaller sister of `make bench-hostile`, which also measures.

use std::thread;
use std::time::Duration;

use crate::harness::host::Setup;
use crate::harness::kafka;
use crate::harness::main_flow::{guest, origin};
use crate::harness::topic::{Record, Topic, unique};
use crate::harness::wait;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Loops of each plugin; they take half a second each.
const LOOPS: usize = 4;

/// Events of the healthy topic, sent while the loops run.
const EVENTS: usize = 2_000;

#[test]
fn loops_on_every_core_end_at_their_deadline_and_a_healthy_topic_of_their_group_goes_on() {
    let cores = thread::available_parallelism()
        .map_or(2, usize::from)
        .min(4);
    let topic = |hint| Topic::create(kafka::shared(), hint, 1);
    let (healthy, copies, letters) = (
        topic("healthy"),
        topic("healthy-copies"),
        topic("loops-dlq"),
    );
    let hostile: Vec<Topic> = (0..cores).map(|_| topic("loops")).collect();
    let group = unique("loops");
    let mut plugins = String::new();
    let mut routes = String::new();
    for (at, topic) in hostile.iter().enumerate() {
        plugins.push_str(&format!(
            "  loop-{at}:\n    path: {}\n    grants: [logging, config, metrics, state, tally, journal]\n    \
             journal: {{ path: {at}.journal }}\n    limits: {{ deadline: 500ms }}\n",
            guest("hostile"),
        ));
        routes.push_str(&format!(", {}: loop-{at}", topic.name()));
    }
    let config = format!(
        "plugins:\n  copy:\n    path: {copy}\n    grants: [config, \"output:{copies}\"]\n    \
         config: {{ output: {copies}, host: a }}\n{plugins}groups:\n  - id: {group}\n    \
         routes: {{ {healthy}: copy{routes} }}\n    dead_letter: {{ topic: {letters} }}\n    \
         retry: {{ attempts: 1 }}\n    store: store\n",
        copy = guest("copy"),
        copies = copies.name(),
        healthy = healthy.name(),
        letters = letters.name(),
    );
    let setup = Setup::new(kafka::shared(), &config);
    let host = setup.start();
    let loops: Vec<Record> = (0..LOOPS)
        .map(|key| Record::new(format!("{key}"), r#"{"do":"loop"}"#))
        .collect();
    for topic in &hostile {
        topic.produce(&loops);
    }
    wait::eventually("a loop that was ended", TIMEOUT, || {
        host.metrics().sum("millrace_plugin_traps_total", &[]) > 0.0
    });
    let events: Vec<Record> = (0..EVENTS)
        .map(|id| Record::new(format!("{}", id % 50), format!("{{\"id\":{id}}}")))
        .collect();
    healthy.produce(&events);
    healthy.wait_for_no_lag(&group, TIMEOUT);
    let behind: i64 = hostile.iter().map(|topic| topic.lag(&group)).sum();
    assert!(behind > 0, "the loops must still be running");
    assert_eq!(host.get("/livez").expect("it answers").0, 200);
    for topic in &hostile {
        topic.wait_for_no_lag(&group, TIMEOUT);
    }
    host.metrics().assert_ledger_balanced(&group);
    host.sigterm().expect_code(0);
    // The plugin closes a partition that it gives up with a record of its own.
    let copies = copies.read_all();
    let of_events = copies.iter().filter(|copy| copy.json()["id"].is_u64());
    assert_eq!(of_events.count(), EVENTS);
    let letters = letters.read_all();
    assert_eq!(letters.len(), cores * LOOPS);
    for letter in &letters {
        assert_eq!(letter.header("millrace.dlq.cause"), Some("deadline"));
        let (_, offset) = origin(letter);
        assert!((0..LOOPS as i64).contains(&offset));
    }
}
