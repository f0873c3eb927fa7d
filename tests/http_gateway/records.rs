//! What a request says becomes a record, and the answer says where it is.

use serde_json::json;

use super::start;
use crate::harness::http::{Reply, publish};
use crate::harness::topic::{Stored, Topic};
use crate::harness::{host, kafka, process, samples};

#[track_caller]
fn place(reply: &Reply) -> (i32, i64) {
    let json = reply.json();
    assert_eq!(reply.status, 202, "{json}");
    let number = |name: &str| json[name].as_i64().expect("it is a number");
    (number("partition") as i32, number("offset"))
}

fn at(stored: &[Stored], place: (i32, i64)) -> &Stored {
    let found = stored
        .iter()
        .find(|record| (record.partition, record.offset) == place);
    found.expect("the event is where the answer says")
}

#[test]
fn an_event_has_the_key_time_and_headers_that_the_request_gave_it() {
    let topic = Topic::create(kafka::shared(), "http", 3);
    let (host, gateway) = start(kafka::shared(), "");
    let headers = [
        ("content-type", "application/json"),
        ("kafka-key", "user-1"),
        ("kafka-header-trace", "abc"),
        ("kafka-header-trace", "def"),
        ("idempotency-key", "order-17"),
    ];
    let query = "?partition=2&timestamp_ms=1790000000000";
    let first = publish(gateway, topic.name(), query, &headers, b"{\"a\": 1}").unwrap();
    let first = place(&first);
    let second = publish(gateway, topic.name(), "?key=%00%ff", &[], &[0, 0xff, b'\n']).unwrap();
    let second = place(&second);
    let stored = topic.read_all();
    assert_eq!(stored.len(), 2);
    let record = at(&stored, first);
    assert_eq!(
        (record.partition, record.timestamp_ms),
        (2, Some(1_790_000_000_000))
    );
    assert_eq!(record.key.as_deref(), Some(&b"user-1"[..]));
    assert_eq!(record.value.as_deref(), Some(&b"{\"a\": 1}"[..]));
    let traces = record.headers.iter().filter(|(name, _)| name == "trace");
    assert_eq!(traces.count(), 2, "a header that comes twice stays twice");
    assert_eq!(record.header("millrace.idempotency-key"), Some("order-17"));
    let record = at(&stored, second);
    assert_eq!(record.key.as_deref(), Some(&[0, 0xff][..]));
    assert_eq!(record.value.as_deref(), Some(&[0, 0xff, b'\n'][..]));
    host.sigterm().expect_code(0);
}

/// Events with what belongs to them, two of which cannot be taken.
const ENVELOPES: &str = r#"{"key":"a","value":{"x": [1]},"headers":{"h":"v","n":null},"timestamp_ms":1790000000000}
{"key_base64":"/w==","value":null,"idempotency_key":"once"}
{"value":1,"partition":7}
{"value_base64":"AAE="}
{"value":2,"timestamp_ms":9000000000000}"#;

#[test]
fn a_batch_of_lines_lands_in_order_with_what_each_envelope_says() {
    let topic = Topic::create(kafka::shared(), "http", 1);
    let (host, gateway) = start(kafka::shared(), "");
    let lines = ("content-type", "application/x-ndjson");
    let values: Vec<String> = (0..1_000).map(|n| format!("{{\"n\":{n}}}")).collect();
    let reply = publish(
        gateway,
        topic.name(),
        "?key=k",
        &[lines],
        values.join("\n").as_bytes(),
    );
    let reply = reply.unwrap();
    let json = reply.json();
    assert_eq!(
        (reply.status, &json["accepted"]),
        (202, &json!(1_000)),
        "{json}"
    );
    for (index, event) in json["events"].as_array().unwrap().iter().enumerate() {
        assert_eq!(
            event["offset"],
            json!(index),
            "the answer has the order of the batch"
        );
    }
    let query = "?envelope=true";
    let reply = publish(gateway, topic.name(), query, &[lines], ENVELOPES.as_bytes()).unwrap();
    assert_eq!(reply.status, 207, "{}", reply.json());
    let events = reply.json()["events"].clone();
    assert_eq!(events[2]["code"], "INVALID", "it has no partition 7");
    let ahead = events[4]["detail"].as_str().unwrap();
    assert!(
        ahead.contains("an hour ahead"),
        "it would take the others with it: {ahead}"
    );
    let stored = topic.read_all();
    assert_eq!(stored.len(), 1_003);
    let sent = stored[..1_000]
        .iter()
        .map(|record| record.value.clone().unwrap());
    assert!(sent.eq(values.iter().map(|value| value.clone().into_bytes())));
    let record = &stored[1_000];
    assert_eq!(
        record.value.as_deref(),
        Some(&b"{\"x\": [1]}"[..]),
        "byte for byte"
    );
    assert_eq!(record.timestamp_ms, Some(1_790_000_000_000));
    assert_eq!(record.header("h"), Some("v"));
    assert!(
        record.headers.contains(&("n".to_owned(), None)),
        "null stays null"
    );
    let record = &stored[1_001];
    assert_eq!(
        (record.key.as_deref(), record.value.as_deref()),
        (Some(&[0xff][..]), None)
    );
    assert_eq!(record.header("millrace.idempotency-key"), Some("once"));
    assert_eq!(stored[1_002].value.as_deref(), Some(&[0, 1][..]));
    host.sigterm().expect_code(0);
}

#[test]
fn samples_through_the_gateway_all_land_exactly_once() {
    const EVENTS: u64 = 10_000;
    let topic = Topic::create(kafka::shared(), "http", 4);
    let (host, gateway) = start(kafka::shared(), "");
    let (count, gateway) = (EVENTS.to_string(), gateway.to_string());
    let sent = samples::produce(
        &topic,
        &["--via", "http", "--http", &gateway, "--count", &count],
    );
    assert_eq!(sent.total, EVENTS);
    assert_eq!(topic.end_offsets().values().sum::<i64>(), EVENTS as i64);
    let bad = topic
        .read_all()
        .iter()
        .filter(|record| sent.is_bad(&record.value))
        .count();
    assert_eq!(bad as u64, sent.bad, "malformed events arrive as they are");
    let accepted = host.metrics().sum(
        "millrace_ingest_events_total",
        &[("gateway", "http"), ("status", "ok")],
    );
    assert_eq!(accepted, EVENTS as f64);
    host.sigterm().expect_code(0);
}

#[test]
fn producing_through_a_gateway_that_is_not_there_says_so() {
    let gateway = format!("127.0.0.1:{}", process::free_port());
    let exit = host::command(&[
        "produce", "--topic", "t", "--via", "http", "--http", &gateway,
    ]);
    let exit = exit.expect_code(1);
    assert!(
        exit.stderr.contains("no HTTP gateway answers at"),
        "{}",
        exit.stderr
    );
    assert!(exit.stderr.contains("ingest.http"), "{}", exit.stderr);
}
