//! The gateway through `millrace run`: what is answered OK is in Kafka, once, and reaches the plugins.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use tokio_stream::StreamExt as _;

use crate::harness::host::{Host, Setup};
use crate::harness::ingest::proto::{
    Event, EventStatus, PublishBatchRequest, PublishRequest, PublishStreamRequest, StatusCode,
};
use crate::harness::ingest::{Publisher, event};
use crate::harness::main_flow::{MainFlow, Place, SETTLE_TIMEOUT};
use crate::harness::topic::Stored;
use crate::harness::{kafka, process};

/// A host with the main job and a gateway.
fn start(flow: &MainFlow) -> (Setup, Host, SocketAddr) {
    let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, process::free_port()));
    let config = format!(
        "{}ingest: {{ grpc: {{ listen: \"{gateway}\" }} }}\n",
        flow.config()
    );
    let setup = Setup::new(kafka::shared(), &config);
    let host = setup.start();
    (setup, host, gateway)
}

fn place(status: &EventStatus) -> Place {
    assert_eq!(status.code(), StatusCode::Ok, "{}", status.message);
    (
        status.partition.expect("it is set"),
        status.offset.expect("it is set"),
    )
}

fn stored_at(stored: &[Stored], place: Place) -> &Stored {
    let found = stored
        .iter()
        .find(|record| (record.partition, record.offset) == place);
    found.expect("the event is where the answer says")
}

/// Publishes a batch; where its events are.
fn publish_batch(publisher: &mut Publisher, events: Vec<Event>) -> Vec<Place> {
    let call = publisher
        .client
        .publish_batch(PublishBatchRequest { events });
    let answer = publisher.runtime.block_on(call).expect("it is answered");
    answer.into_inner().statuses.iter().map(place).collect()
}

/// Publishes a stream; where each of its events is, in the order of the answers.
fn publish_stream(publisher: &mut Publisher, events: Vec<Event>) -> Vec<(u64, Place)> {
    let requests = (0..)
        .zip(events)
        .map(|(sequence, event)| PublishStreamRequest {
            sequence,
            event: Some(event),
        });
    let requests = tokio_stream::iter(requests.collect::<Vec<_>>());
    publisher.runtime.block_on(async {
        let answers = publisher.client.publish_stream(requests).await;
        let answers = answers.expect("the stream is accepted").into_inner();
        let answer = answers.map(|answer| {
            let answer = answer.expect("it is answered");
            (answer.sequence, place(&answer.status.expect("it is set")))
        });
        answer.collect().await
    })
}

#[test]
fn one_event_a_batch_and_a_stream_are_each_in_kafka_where_the_answer_says() {
    const STREAMED: u64 = 500;
    let flow = MainFlow::new("published", 3);
    let (setup, host, gateway) = start(&flow);
    let mut publisher = Publisher::connect(gateway);
    let event = |key: &str, value: &str| event(&flow.source, key, value);

    let one = PublishRequest {
        event: Some(event("one", "1")),
    };
    let one = publisher.runtime.block_on(publisher.client.publish(one));
    let one = one.expect("it is accepted").into_inner();
    let one = place(&one.status.expect("it is set"));
    let events = (0..100).map(|n| event(&format!("batch {n}"), &n.to_string()));
    let batch = publish_batch(&mut publisher, events.collect());
    let events = (0..STREAMED).map(|n| event("stream", &n.to_string()));
    let streamed = publish_stream(&mut publisher, events.collect());

    let stored = flow.source.read_all();
    assert_eq!(
        stored.len() as u64,
        1 + 100 + STREAMED,
        "nothing is there twice"
    );
    assert_eq!(stored_at(&stored, one).value.as_deref(), Some(&b"1"[..]));
    for (n, place) in batch.iter().enumerate() {
        let record = stored_at(&stored, *place);
        assert_eq!(record.key.as_deref(), Some(format!("batch {n}").as_bytes()));
    }
    let sequences: BTreeSet<u64> = streamed.iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!(
        sequences,
        (0..STREAMED).collect(),
        "each event has one answer"
    );
    for (sequence, place) in &streamed {
        let record = stored_at(&stored, *place);
        assert_eq!(
            record.value.as_deref(),
            Some(sequence.to_string().as_bytes())
        );
    }
    let in_log_order = stored
        .iter()
        .filter(|r| r.key.as_deref() == Some(b"stream"));
    let in_log_order: Vec<_> = in_log_order.map(|r| r.json().as_u64()).collect();
    assert_eq!(
        in_log_order,
        (0..STREAMED).map(Some).collect::<Vec<_>>(),
        "a key keeps its order"
    );
    flow.source.wait_for_no_lag(&flow.audit, SETTLE_TIMEOUT);
    // The client's connection is still open: shutting down must not wait for it to close.
    host.sigterm().expect_code(0);
    drop(publisher);
    flow.assert_audited_once(&[setup.folder()]);
}

#[test]
fn ten_thousand_events_through_the_gateway_all_land_exactly_once() {
    const EVENTS: u64 = 10_000;
    let flow = MainFlow::new("ingested", 4);
    let (setup, host, gateway) = start(&flow);

    let gateway = gateway.to_string();
    let sent = flow.produce(EVENTS, &["--via", "grpc", "--grpc", &gateway]);
    flow.wait_until_settled();

    let accepted = host
        .metrics()
        .sum("millrace_ingest_events", &[("status", "ok")]);
    assert_eq!(accepted, EVENTS as f64);
    assert_eq!(
        flow.source.end_offsets().values().sum::<i64>(),
        EVENTS as i64
    );
    host.sigterm().expect_code(0);
    flow.assert_counts_exact(&sent);
    assert_eq!(flow.assert_dead_letters(&sent) as u64, sent.bad);
    assert_eq!(flow.assert_audited_once(&[setup.folder()]) as u64, EVENTS);
}
