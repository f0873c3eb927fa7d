//! Partitions that topics gain while events flow.

use std::time::Instant;

use super::{Copiers, TIMEOUT, all_of};
use crate::harness::raw::{self, Raw};
use crate::harness::topic::{Record, Topic, recent_ms};
use crate::harness::topic_admin;
use crate::harness::wait;

/// Every tenth event asks for one retry.
fn value(n: usize) -> &'static str {
    match n % 10 {
        3 => r#"{"do":"retry","times":1}"#,
        _ => "{}",
    }
}

/// Events for the first partition.
fn events(range: std::ops::Range<usize>) -> Vec<Record> {
    range
        .map(|n| Record::new(format!("k{}", n % 50), value(n)).partition(0))
        .collect()
}

fn produce_to(topic: &Topic, partition: i32, events: usize) {
    let event = |n: usize| {
        let key = format!("k{}", n % 50);
        Raw::new(Some(key.as_bytes()), Some(value(n).as_bytes()), recent_ms())
    };
    let events: Vec<Raw> = (0..events).map(event).collect();
    raw::produce_to(topic, partition, &events);
}

#[test]
fn a_topic_that_grows_under_load_is_read_whole_and_its_retry_topic_grows_with_it() {
    let copiers = Copiers::new("grows", 4);
    let source = copiers.topic("eu", 1);
    let retry = "    retry: { mode: topic, attempts: 3, backoff: { initial: 100ms } }\n";
    let host = copiers.setup(&["a"], "{ BASE.eu: a }", retry).start();
    let retries = copiers.named(&format!("eu.{}.retry", copiers.group));
    assert_eq!(retries.end_offsets().len(), 1);
    let flood = std::thread::spawn({
        let source = source.clone();
        move || (0..20).for_each(|at| drop(source.produce(&events(at * 100..(at + 1) * 100))))
    });
    wait::eventually("events that flow", TIMEOUT, || {
        host.metrics().outcomes(&copiers.group).get("processed") > Some(&100.0)
    });
    topic_admin::widen(&source, 4);
    let widened = Instant::now();
    wait::eventually("the partitions", TIMEOUT, || {
        source.end_offsets().len() == 4
    });
    // The harness's own producer would look for new partitions after five minutes.
    for partition in 1..4 {
        produce_to(&source, partition, 100);
    }
    flood.join().expect("all are produced");
    source.wait_for_no_lag(&copiers.group, TIMEOUT);
    eprintln!(
        "the new partitions were read within {:?}",
        widened.elapsed()
    );
    wait::eventually("a retry topic with as many partitions", TIMEOUT, || {
        retries.end_offsets().len() == 4
    });
    // What fails from now on waits in the partition of its number.
    produce_to(&source, 3, 10);
    source.wait_for_no_lag(&copiers.group, TIMEOUT);
    wait::eventually_some("a retry in the new partition", TIMEOUT, || {
        match retries.end_offsets()[&3] {
            0 => Err("it is empty".to_owned()),
            _ => Ok(()),
        }
    });
    retries.wait_for_no_lag(&copiers.group, TIMEOUT);

    host.metrics().assert_ledger_balanced(&copiers.group);
    host.sigterm().expect_code(0);
    let copied = copiers.copied();
    assert_eq!(
        copied.keys().cloned().collect::<Vec<_>>(),
        all_of(&[&source], "a")
    );
    assert_eq!(
        copied.values().sum::<usize>(),
        copied.len(),
        "no event twice"
    );
}
