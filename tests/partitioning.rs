//! The same keys land in the same partitions as with Kafka's own Java client, which is run beside the host.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use crate::harness::host::{Host, Setup};
use crate::harness::ingest::Publisher;
use crate::harness::ingest::proto::{Event, EventStatus, PublishBatchRequest, StatusCode};
use crate::harness::topic::Topic;
use crate::harness::{kafka, process};

/// A prime, so that no regularity of a hash is hidden.
const PARTITIONS: i32 = 13;

/// Keys of every kind: empty, of every length around a word of the hash, text in several scripts, every byte, long.
fn keys() -> Vec<Vec<u8>> {
    let texts = [
        "a", "user-001", "ключ", "naïve", "漢字", "🌾🌾", "\u{0}", " ", "\n",
    ];
    let mut keys: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    keys.push(Vec::new());
    keys.push((0..=255).collect());
    keys.extend((1..=17).map(|length| vec![0xff; length]));
    keys.extend((1..=17).map(|length| vec![0x80; length]));
    keys.push(vec![b'k'; 100_000]);
    keys.extend((0..300).map(|n| format!("user-{n}").into_bytes()));
    keys.extend((0_u64..100).map(|n| {
        (n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .to_be_bytes()
            .to_vec()
    }));
    keys
}

/// Where the Java client sends the keys.
fn java(topic: &Topic, keys: &[Vec<u8>]) -> Vec<i32> {
    let file = process::folder("keys").join("keys.txt");
    let hex = |key: &Vec<u8>| {
        key.iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let lines: Vec<String> = keys.iter().map(hex).collect();
    fs::write(&file, lines.join("\n") + "\n").expect("the folder can be written");
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/Partitions.java");
    let file = file.to_str().expect("the path is text");
    let printed = kafka::run_java(&program, &[topic.brokers(), topic.name(), file]);
    let partition = |line: &str| {
        let (sent, computed) = line.split_once(' ').expect("it prints two numbers");
        assert_eq!(sent, computed, "the Java client contradicts itself");
        sent.parse().expect("they are numbers")
    };
    printed.lines().map(partition).collect()
}

fn start(topic: &Topic, producer: &str) -> (Setup, Host, SocketAddr) {
    let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, process::free_port()));
    let config =
        format!("ingest:\n  grpc: {{ listen: \"{gateway}\" }}\n  producer: {{ {producer} }}\n");
    let setup = Setup::new(topic.brokers(), &config);
    let host = setup.start();
    (setup, host, gateway)
}

fn publish(gateway: SocketAddr, events: Vec<Event>) -> Vec<EventStatus> {
    let mut publisher = Publisher::connect(gateway);
    let call = publisher
        .client
        .publish_batch(PublishBatchRequest { events });
    let answer = publisher.runtime.block_on(call).expect("it is answered");
    answer.into_inner().statuses
}

fn partitions(statuses: &[EventStatus]) -> Vec<i32> {
    let partition = |status: &EventStatus| {
        assert_eq!(status.code(), StatusCode::Ok, "{}", status.message);
        status.partition.expect("it is set")
    };
    statuses.iter().map(partition).collect()
}

fn named(topic: &Topic) -> Event {
    Event {
        topic: topic.name().to_owned(),
        value: Some(b"v"[..].into()),
        ..Event::default()
    }
}

#[test]
fn keys_and_fields_land_where_the_java_client_puts_the_same_keys() {
    let topic = Topic::create(kafka::shared(), "partitioned", PARTITIONS);
    let keys = keys();
    let expected = java(&topic, &keys);
    assert_eq!(expected.len(), keys.len());

    let (_setup, host, gateway) = start(&topic, "partitioning: key");
    let by_key = |key: &Vec<u8>| Event {
        key: Some(key.clone().into()),
        ..named(&topic)
    };
    let found = partitions(&publish(gateway, keys.iter().map(by_key).collect()));
    for ((key, found), expected) in keys.iter().zip(&found).zip(&expected) {
        assert_eq!(
            found,
            expected,
            "{} bytes: {:?}",
            key.len(),
            String::from_utf8_lossy(key)
        );
    }
    host.sigterm().expect_code(0);

    // A field of the value decides like a key, whatever the key is.
    let texts = keys
        .iter()
        .zip(&expected)
        .filter_map(|(key, at)| Some((std::str::from_utf8(key).ok()?, *at)));
    let (texts, expected): (Vec<&str>, Vec<i32>) = texts.unzip();
    let (_setup, host, gateway) = start(&topic, "partitioning: \"json:/user/id\"");
    let by_field = |text: &&str| Event {
        key: Some(b"same"[..].into()),
        value: Some(
            serde_json::json!({ "n": [1], "user": { "id": text } })
                .to_string()
                .into(),
        ),
        ..named(&topic)
    };
    let statuses = publish(gateway, texts.iter().map(by_field).collect());
    assert_eq!(partitions(&statuses), expected);
    let without = publish(gateway, vec![named(&topic)]);
    assert_eq!(without[0].code(), StatusCode::Invalid);
    assert!(
        without[0].message.contains("`/user/id`"),
        "{}",
        without[0].message
    );
    host.sigterm().expect_code(0);
}

#[test]
fn round_robin_goes_through_all_partitions_and_explicit_wants_each_named() {
    let topic = Topic::create(kafka::shared(), "turns", 4);
    let (_setup, host, gateway) = start(&topic, "partitioning: round-robin");
    let same = || Event {
        key: Some(b"same"[..].into()),
        ..named(&topic)
    };
    let found = partitions(&publish(gateway, (0..8).map(|_| same()).collect()));
    assert_eq!(found, [0, 1, 2, 3, 0, 1, 2, 3]);
    host.sigterm().expect_code(0);

    let (_setup, host, gateway) = start(&topic, "partitioning: explicit, statistics: 1s");
    let third = Event {
        partition: Some(3),
        ..same()
    };
    let statuses = publish(gateway, vec![third, same()]);
    assert_eq!(
        (statuses[0].code(), statuses[0].partition),
        (StatusCode::Ok, Some(3))
    );
    assert_eq!(statuses[1].code(), StatusCode::Invalid);
    assert!(
        statuses[1].message.contains("names no partition"),
        "{}",
        statuses[1].message
    );
    crate::harness::wait::eventually(
        "the producer's own figures",
        std::time::Duration::from_secs(10),
        || {
            let metrics = host.metrics();
            metrics.sum("millrace_producer_sent_events_total", &[]) >= 1.0
                && metrics.sum(
                    "millrace_producer_round_trip_seconds",
                    &[("quantile", "mean")],
                ) > 0.0
        },
    );
    host.sigterm().expect_code(0);
}
