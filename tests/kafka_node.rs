//! The harness proves itself before anything leans on it: the node starts, a record goes round as it
//! was, and a killed broker comes back with all that it had acknowledged.

use std::collections::BTreeMap;

use crate::harness::kafka::{self, Node, Speed};
use crate::harness::topic::{Record, Topic};

#[test]
fn a_record_goes_round_as_it_was_written() {
    let topic = Topic::create(kafka::shared(), "round", 2);
    let written = [
        Record::new("k", "v")
            .partition(1)
            .timestamp_ms(1_700_000_000_000)
            .header("h", "1"),
        Record::tombstone("k")
            .partition(1)
            .header("h", "1")
            .null_header("h")
            .header("", ""),
        Record {
            key: None,
            ..Record::new("", "")
        }
        .partition(0),
        Record {
            value: None,
            ..Record::keyless("")
        }
        .partition(0),
        Record::new("", [0xff, 0x00, b'\n']).partition(0),
    ];

    let places = topic.produce(&written);

    assert_eq!(places, [(1, 0), (1, 1), (0, 0), (0, 1), (0, 2)]);
    let read = topic.read_all();
    let in_log_order = [
        &written[2],
        &written[3],
        &written[4],
        &written[0],
        &written[1],
    ];
    assert_eq!(read.len(), in_log_order.len());
    for (read, written) in read.iter().zip(in_log_order) {
        assert_eq!((&read.key, &read.value), (&written.key, &written.value));
        assert_eq!(read.headers, written.headers);
    }
    assert_eq!(read[3].timestamp_ms, Some(1_700_000_000_000));
    assert_eq!(topic.end_offsets(), BTreeMap::from([(0, 3), (1, 2)]));
    assert_eq!(topic.read_from(&BTreeMap::from([(0, 2), (1, 2)])).len(), 1);
}

#[test]
fn a_group_without_a_commit_is_behind_by_everything() {
    let topic = Topic::create(kafka::shared(), "behind", 1);
    topic.produce(&[Record::keyless("1"), Record::keyless("2")]);

    assert_eq!(topic.committed("nobody"), BTreeMap::new());
    assert_eq!(topic.lag("nobody"), 2);
}

#[test]
fn a_topic_that_was_not_created_does_not_exist() {
    assert!(!Topic::named(kafka::shared(), "never-created").exists());
}

#[test]
fn a_killed_node_comes_back_on_its_port_with_its_data() {
    let mut node = Node::start(Speed::QuickStart);
    let topic = Topic::create(&node.brokers(), "crash", 1);
    topic.produce(&[Record::keyless("before")]);

    node.kill9();
    node.restart();

    topic.produce(&[Record::keyless("after")]);
    let values: Vec<_> = topic
        .read_all()
        .into_iter()
        .filter_map(|record| record.value)
        .collect();
    assert_eq!(values, [b"before".to_vec(), b"after".to_vec()]);
    node.stop();
}
