//! Source topics that change under a group: shortened, deleted and made anew, widened, compacted, transactional.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::{TIMEOUT, wait_for_metric};
use crate::harness::host::Setup;
use crate::harness::kafka;
use crate::harness::main_flow::summary;
use crate::harness::raw::{self, Raw};
use crate::harness::topic::{Record, Topic, recent_ms, unique};
use crate::harness::topic_admin;
use crate::harness::wait;
use crate::harness::witness::Witness;

fn events(range: std::ops::Range<usize>) -> Vec<Record> {
    range
        .map(|n| Record::new(format!("k{n}"), "{}").partition(0))
        .collect()
}

/// A configuration whose clients notice changes of topics soon; the default of five minutes is Kafka's own.
fn attentive(witness: &Witness) -> String {
    format!(
        "kafka:\n  brokers: {}\n  properties: {{ topic.metadata.refresh.interval.ms: 500 }}\n{}",
        kafka::shared(),
        witness.config(""),
    )
}

#[test]
fn records_that_retention_deleted_before_they_were_read_are_counted_and_the_rest_is_processed() {
    let witness = Witness::new("retention", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    let setup = Setup::new(kafka::shared(), &witness.config(""));
    source.produce(&events(0..10));
    let host = setup.start();
    source.wait_for_no_lag(group, TIMEOUT);
    host.sigterm().expect_code(0);
    source.produce(&events(10..60));
    topic_admin::delete_records_before(source, 40);

    let host = setup.start();
    source.wait_for_no_lag(group, TIMEOUT);

    wait_for_metric(&host, "millrace_lost_records_total", group, |lost| {
        lost == 30.0
    });
    host.metrics().assert_ledger_balanced(group);
    let exit = host.sigterm().expect_code(0);
    assert_eq!(summary(&exit, group)["processed"], 20);
    let places: Vec<i64> = witness.places(&setup).iter().map(|place| place.1).collect();
    assert_eq!(places, (0..10).chain(40..60).collect::<Vec<i64>>());
}

#[test]
fn a_topic_made_anew_while_the_host_was_down_is_read_from_its_start() {
    let witness = Witness::new("anew", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    let setup = Setup::new(kafka::shared(), &witness.config(""));
    source.produce(&events(0..50));
    let host = setup.start();
    source.wait_for_no_lag(group, TIMEOUT);
    host.sigterm().expect_code(0);
    topic_admin::delete(source);
    Topic::create_with(kafka::shared(), source.name(), 1, &[]);
    source.produce(&events(0..80));

    let host = setup.start();
    source.wait_for_no_lag(group, TIMEOUT);

    host.metrics().assert_ledger_balanced(group);
    wait_for_metric(&host, "millrace_rewinds_total", group, |n| n == 1.0);
    let exit = host.sigterm().expect_code(0);
    let all = summary(&exit, group);
    assert_eq!((all["processed"], all["recovered"]), (80, 0), "{all:?}");
}

#[test]
fn a_topic_made_anew_while_the_host_runs_is_read_from_its_start() {
    let witness = Witness::new("anew-running", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    let setup = Setup::new(kafka::shared(), &attentive(&witness));
    source.produce(&events(0..50));
    let host = setup.start();
    source.wait_for_no_lag(group, TIMEOUT);
    topic_admin::delete(source);
    Topic::create_with(kafka::shared(), source.name(), 1, &[]);
    source.produce(&events(0..30));

    wait::eventually_some("all events of the new topic", TIMEOUT, || {
        match host.metrics().outcomes(group).get("processed") {
            Some(processed) if *processed >= 80.0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    source.wait_for_no_lag(group, TIMEOUT);
    host.metrics().assert_ledger_balanced(group);
    wait_for_metric(&host, "millrace_rewinds_total", group, |n| n >= 1.0);
    let exit = host.sigterm().expect_code(0);
    assert!(exit.stderr.contains("made anew"), "{}", exit.stderr);
}

#[test]
fn partitions_that_a_topic_gains_are_read() {
    let witness = Witness::new("widened", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    let host = Setup::new(kafka::shared(), &attentive(&witness)).start();
    source.produce(&events(0..10));
    source.wait_for_no_lag(group, TIMEOUT);
    topic_admin::widen(source, 3);
    wait::eventually("the partitions", TIMEOUT, || {
        source.end_offsets().len() == 3
    });
    for partition in 0..3 {
        let event = Raw::new(Some(b"k"), Some(b"{}"), recent_ms());
        raw::produce_to(source, partition, &[event]);
    }
    source.wait_for_no_lag(group, TIMEOUT);

    host.metrics().assert_ledger_balanced(group);
    let exit = host.sigterm().expect_code(0);
    assert_eq!(summary(&exit, group)["processed"], 13);
}

/// Writes records in transactions; every other one is aborted. Each leaves a marker behind.
fn produce_transactions(topic: &Topic, transactions: usize) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", topic.brokers())
        .set("transactional.id", unique("markers"))
        .create()
        .expect("a producer can be made");
    let timeout = Duration::from_secs(30);
    producer
        .init_transactions(timeout)
        .expect("the broker answers");
    for number in 0..transactions {
        producer.begin_transaction().expect("it begins");
        for n in 0..5 {
            let key = format!("{number}-{n}");
            let record = BaseRecord::to(topic.name())
                .partition(0)
                .key(&key)
                .payload("{}");
            producer
                .send(record)
                .map_err(|(error, _)| error)
                .expect("there is room");
        }
        if number % 2 == 0 {
            producer.commit_transaction(timeout).expect("it commits");
        } else {
            producer.flush(timeout).expect("it is written");
            producer.abort_transaction(timeout).expect("it aborts");
        }
    }
}

#[test]
fn gaps_that_transactions_leave_do_not_hold_the_commit_back() {
    let witness = Witness::new("markers", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    let setup = Setup::new(kafka::shared(), &witness.config(""));
    produce_transactions(source, 9);
    let host = setup.start();
    wait::eventually("all that was committed", TIMEOUT, || {
        host.metrics().outcomes(group).get("processed") == Some(&25.0)
    });
    // The last record, not the marker behind it, is what a group can have processed.
    wait::eventually_some(
        "the commit behind the last record",
        TIMEOUT,
        || match source.lag(group) {
            0 | 1 => Ok(()),
            lag => Err(format!("it was {lag} behind")),
        },
    );
    host.metrics().assert_ledger_balanced(group);
    host.kill9();
    let host = setup.start();
    source.produce(&events(0..3));
    wait::eventually("what came later", TIMEOUT, || {
        host.metrics().outcomes(group).get("processed") == Some(&3.0)
    });
    source.wait_for_no_lag(group, TIMEOUT);
    host.metrics().assert_ledger_balanced(group);
    host.sigterm().expect_code(0);
    assert_eq!(witness.places(&setup).len(), 28, "each once");
}
