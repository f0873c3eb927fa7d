//! The gateway through `millrace run`: what is answered OK is in Kafka, once, and reaches the plugins.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio_stream::StreamExt as _;
use tonic::Code;
use tonic::codec::CompressionEncoding;

use crate::harness::host::{Host, Setup};
use crate::harness::ingest::proto::{
    Event, EventStatus, Header, PublishBatchRequest, PublishRequest, PublishStreamRequest,
    StatusCode,
};
use crate::harness::ingest::{Publisher, event};
use crate::harness::main_flow::{self, MainFlow, Place, SETTLE_TIMEOUT};
use crate::harness::topic::{Stored, Topic, unique};
use crate::harness::{call, kafka, process, wait};

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
        .sum("millrace_ingest_events_total", &[("status", "ok")]);
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

/// A host with the audit plugin, which deduplicates by what a publisher calls its events.
fn deduplicating(topic: &Topic, group: &str) -> (Setup, SocketAddr) {
    let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, process::free_port()));
    let config = format!(
        "plugins:\n  audit:\n    path: {}\n    grants: [journal]\n    journal: {{ path: audit.log }}\n\
         groups:\n  - id: {group}\n    routes: {{ {}: audit }}\n    store: store\n    \
         start_from: earliest\n    dedup: {{ id: \"header:millrace.idempotency-key\" }}\n\
         ingest: {{ grpc: {{ listen: \"{gateway}\" }} }}\n",
        main_flow::plugin("audit"),
        topic.name(),
    );
    (Setup::new(kafka::shared(), &config), gateway)
}

#[test]
fn an_event_that_is_sent_again_under_its_idempotency_key_is_handled_once() {
    let topic = Topic::create(kafka::shared(), "again", 1);
    let group = unique("again");
    let (setup, gateway) = deduplicating(&topic, &group);
    let host = setup.start();
    let mut publisher = Publisher::connect(gateway);
    let keyed = |key: &str| Event {
        idempotency_key: Some(key.to_owned()),
        ..event(&topic, "k", "{}")
    };
    let sent = ["a", "b", "a", "a", "b"].map(keyed);
    publish_batch(&mut publisher, sent.to_vec());
    let stored = topic.read_all();
    let header = |record: &Stored| record.header("millrace.idempotency-key").map(str::to_owned);
    let names: Vec<_> = stored.iter().map(header).collect();
    assert_eq!(
        names,
        ["a", "b", "a", "a", "b"].map(|key| Some(key.to_owned()))
    );
    wait::eventually("all events settled", SETTLE_TIMEOUT, || {
        host.metrics().outcomes(&group).values().sum::<f64>() >= 5.0
    });
    let outcomes = host.metrics().outcomes(&group);
    assert_eq!(
        (outcomes["processed"], outcomes["duplicate"]),
        (2.0, 3.0),
        "{outcomes:?}"
    );

    let twice = Event {
        headers: vec![Header {
            name: "millrace.idempotency-key".to_owned(),
            value: None,
        }],
        ..keyed("c")
    };
    for wrong in [keyed(""), keyed(&"x".repeat(256)), twice] {
        let call = publisher
            .client
            .publish(PublishRequest { event: Some(wrong) });
        let refused = publisher.runtime.block_on(call).unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    }
}

#[test]
fn an_event_whose_deadline_is_over_is_not_sent_and_no_answer_is_waited_for_longer() {
    let topic = Topic::create(kafka::shared(), "late", 1);
    let config = |brokers: &str| {
        let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, process::free_port()));
        let config = format!("ingest: {{ grpc: {{ listen: \"{gateway}\" }} }}\n");
        (Setup::new(brokers, &config), gateway)
    };
    let body = call::plain(&PublishRequest {
        event: Some(event(&topic, "k", "v")),
    });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let ask = |gateway, time: &str| {
        let headers = [("grpc-timeout", time)];
        runtime.block_on(call::call(gateway, "Publish", &headers, body.clone()))
    };

    let (setup, gateway) = config(kafka::shared());
    let _host = setup.start();
    assert_eq!(ask(gateway, "20S").code, Code::Ok);
    for over in ["0m", "1n", "1u"] {
        let late = ask(gateway, over);
        assert_eq!(late.code, Code::DeadlineExceeded, "{over}");
        assert_eq!(late.headers["millrace-status"], "DEADLINE_EXCEEDED");
    }
    assert_eq!(topic.read_all().len(), 1, "what was late was not sent");

    // Nobody answers there, which the gateway by itself takes 5 s to find out.
    let (setup, gateway) = config("127.0.0.1:1");
    let _host = setup.start();
    let began = Instant::now();
    assert_eq!(ask(gateway, "300m").code, Code::DeadlineExceeded);
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn messages_are_compressed_both_ways_where_the_client_does() {
    let topic = Topic::create(kafka::shared(), "compressed", 1);
    let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, process::free_port()));
    let config = format!("ingest: {{ grpc: {{ listen: \"{gateway}\" }} }}\n");
    let setup = Setup::new(kafka::shared(), &config);
    let _host = setup.start();
    let events = vec![event(&topic, "k", "v".repeat(1_000)); 100];
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let mut publisher = Publisher::connect(gateway);
        let client = publisher.client.clone();
        publisher.client = client.send_compressed(encoding).accept_compressed(encoding);
        publish_batch(&mut publisher, events.clone());
    }
    assert_eq!(topic.read_all().len(), 200);
    let body = call::plain(&PublishBatchRequest { events });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    for encoding in ["gzip", "zstd"] {
        let headers = [("grpc-accept-encoding", encoding)];
        let called = runtime.block_on(call::call(gateway, "PublishBatch", &headers, body.clone()));
        assert_eq!(called.code, Code::Ok);
        assert_eq!(called.headers["grpc-encoding"], encoding);
    }
}
