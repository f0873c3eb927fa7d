//! What a new owner of a partition learns of the ids that were seen, how long that may take, and that it is
//! shown.

use std::time::Duration;

use crate::harness::host::{Host, Setup};
use crate::harness::kafka;
use crate::harness::main_flow::summary;
use crate::harness::topic::Record;
use crate::harness::wait;
use crate::harness::witness::Witness;

const TIMEOUT: Duration = Duration::from_secs(60);

/// A figure of the only partition.
fn figure(host: &Host, witness: &Witness, name: &str) -> Option<f64> {
    let metrics = host.metrics();
    let labels = [("group", witness.group.as_str())];
    let samples = metrics.select(name, &labels);
    samples.first().map(|sample| sample.value)
}

fn config(witness: &Witness, dedup: &str) -> String {
    witness.config(&format!("    dedup: {{ id: \"json:/id\"{dedup} }}\n"))
}

fn with_id(id: usize) -> String {
    format!(r#"{{"id":"{id}"}}"#)
}

#[test]
fn a_rebuild_that_takes_too_long_ends_with_a_part_of_the_window_and_events_do_not_wait() {
    const SEEN: usize = 200;
    let witness = Witness::new("slowly", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    // One at a time, so that each is a batch of its own on the broker.
    for id in 0..SEEN {
        source.produce(&[Record::new("key", with_id(id))]);
    }
    source.commit_as_a_tool(group, (0, SEEN as i64), "");
    // A fetch brings one batch, and the next one is asked for a second later.
    let slow = format!(
        "kafka:\n  brokers: {}\n  properties: {{ max.partition.fetch.bytes: 1, \
         queued.min.messages: 1, fetch.queue.backoff.ms: 1000 }}\n",
        kafka::shared()
    );
    let config = format!("{slow}{}", config(&witness, ", rebuild_timeout: 2s"));
    let host = Setup::new(kafka::shared(), &config).start();
    wait::eventually_some("a rebuild that is shown", TIMEOUT, || {
        let (_, said) = host.get("/readyz?verbose").expect("it is served");
        match said.contains("rebuilding dedup: ") && said.contains(" of 200") {
            true => Ok(()),
            false => Err(said),
        }
    });
    assert!(figure(&host, &witness, "millrace_dedup_rebuild_remaining") > Some(0.0));

    source.produce(&[Record::new("key", with_id(SEEN))]);
    source.wait_for_no_lag(group, TIMEOUT);

    let of = |name: &str| figure(&host, &witness, name);
    assert_eq!(of("millrace_dedup_rebuild_timeouts_total"), Some(1.0));
    assert_eq!(of("millrace_dedup_rebuild_remaining"), Some(0.0));
    let took = of("millrace_dedup_rebuild_seconds").expect("it is over");
    assert!((2.0..30.0).contains(&took), "{took}");
    let exit = host.sigterm().expect_code(0);
    let warned = |line: &serde_json::Value| {
        let message = line["message"].as_str().unwrap_or_default();
        message.contains("dedup.rebuild_timeout") && line["level"] == "WARN"
    };
    assert!(exit.log().iter().any(warned), "{}", exit.stderr);
    let summary = summary(&exit, group);
    assert_eq!((summary["polled"], summary["processed"]), (1, 1));
    eprintln!("rebuild: ended after {took:.1} s of 2 s");
}

#[test]
fn a_rebuild_ends_where_no_record_stands_just_below_the_commit() {
    const SEEN: usize = 100;
    let witness = Witness::new("marker", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    let seen: Vec<String> = (0..SEEN).map(with_id).collect();
    source.produce_in_a_transaction("key", &seen);
    // The last offset is the marker's.
    source.commit_as_a_tool(group, (0, SEEN as i64 + 1), "");
    let host = Setup::new(kafka::shared(), &config(&witness, "")).start();

    wait::eventually("a rebuild that is over", TIMEOUT, || {
        figure(&host, &witness, "millrace_dedup_rebuild_seconds").is_some_and(|took| took > 0.0)
    });
    let of = |name: &str| figure(&host, &witness, name);
    assert_eq!(of("millrace_dedup_rebuild_remaining"), Some(0.0));
    assert_eq!(of("millrace_dedup_rebuild_timeouts_total"), Some(0.0));
    let (_, said) = host.get("/readyz?verbose").expect("it is served");
    assert!(!said.contains("rebuilding"), "{said}");

    // And it has learned what there was.
    let mut records: Vec<_> = seen
        .iter()
        .map(|value| Record::new("key", value.as_str()))
        .collect();
    records.push(Record::new("key", with_id(SEEN)));
    source.produce(&records);
    source.wait_for_no_lag(group, TIMEOUT);
    let summary = summary(&host.sigterm().expect_code(0), group);
    assert_eq!(
        (summary["duplicate"], summary["processed"]),
        (SEEN as u64, 1)
    );
}
