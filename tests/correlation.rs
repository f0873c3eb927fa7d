//! Trace context and correlation ids: from a gateway through an output, a retry by topic and a dead letter.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::json;
use tonic::Request;

use crate::harness::host::{Host, Setup};
use crate::harness::ingest::proto::{Event, PublishRequest};
use crate::harness::ingest::{Publisher, event};
use crate::harness::main_flow::guest;
use crate::harness::topic::{Record, Stored, Topic, unique};
use crate::harness::{kafka, process};

const TIMEOUT: Duration = Duration::from_secs(60);
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A copier behind a gateway, with a retry topic.
pub(crate) struct Flow {
    pub(crate) source: Topic,
    pub(crate) copies: Topic,
    pub(crate) dead_letters: Topic,
    pub(crate) retries: Topic,
    pub(crate) group: String,
    pub(crate) gateway: SocketAddr,
}

impl Flow {
    pub(crate) fn new(hint: &str) -> Self {
        let topic = |suffix: &str| Topic::create(kafka::shared(), &format!("{hint}{suffix}"), 1);
        let (source, group) = (topic(""), unique(hint));
        let retries = format!("{}.{group}.retry", source.name());
        Self {
            retries: Topic::named(kafka::shared(), &retries),
            source,
            copies: topic(".copies"),
            dead_letters: topic(".dlq"),
            group,
            gateway: SocketAddr::from((Ipv4Addr::LOCALHOST, process::free_port())),
        }
    }

    fn start(&self, more: &str) -> Host {
        self.setup(more).start()
    }

    /// A host with further sections.
    pub(crate) fn setup(&self, more: &str) -> Setup {
        let config = format!(
            "plugins:\n  copy:\n    path: {}\n    grants: [config, \"output:{copies}\"]\n    config: {{ output: {copies} }}\n\
             groups:\n  - id: {}\n    routes: {{ {}: copy }}\n    store: store\n    dead_letter: {{ topic: {} }}\n    \
             retry: {{ mode: topic, attempts: 3, backoff: {{ initial: 200ms }} }}\n\
             ingest: {{ grpc: {{ listen: \"{}\" }} }}\n{more}",
            guest("copy"),
            self.group,
            self.source.name(),
            self.dead_letters.name(),
            self.gateway,
            copies = self.copies.name(),
        );
        Setup::new(kafka::shared(), &config)
    }

    pub(crate) fn event(&self, key: &str, value: &str) -> Event {
        event(&self.source, key, value)
    }

    pub(crate) fn wait_until_settled(&self) {
        self.source.wait_for_no_lag(&self.group, TIMEOUT);
        self.retries.wait_for_no_lag(&self.group, TIMEOUT);
    }

    /// The copy of the event with this key.
    pub(crate) fn copy_of(&self, key: &str) -> Stored {
        let copies = self.copies.read_all().into_iter();
        let mut of_key = copies.filter(|copy| copy.key.as_deref() == Some(key.as_bytes()));
        of_key.next().expect("the event was copied")
    }
}

pub(crate) fn publish(publisher: &mut Publisher, event: Event, metadata: &[(&'static str, &str)]) {
    let mut request = Request::new(PublishRequest { event: Some(event) });
    for (name, value) in metadata {
        let value = value.parse().expect("it is ASCII");
        request.metadata_mut().insert(*name, value);
    }
    let answer = publisher
        .runtime
        .block_on(publisher.client.publish(request));
    answer.expect("it is accepted");
}

pub(crate) fn header<'r>(record: &'r Stored, name: &str) -> &'r str {
    record
        .header(name)
        .unwrap_or_else(|| panic!("{name} is missing: {:?}", record.headers))
}

#[test]
fn one_correlation_id_is_followed_from_the_gateway_through_a_retry_to_an_output_and_a_dead_letter()
{
    let flow = Flow::new("correlated");
    let host = flow.start("");
    let mut publisher = Publisher::connect(flow.gateway);
    let metadata = [
        ("traceparent", PARENT),
        ("tracestate", "vendor=1"),
        ("baggage", "tenant=7"),
        ("x-correlation-id", "order-9"),
    ];
    let retried = flow.event("retried", r#"{"do":"retry","times":1}"#);
    publish(&mut publisher, retried, &metadata);
    publish(
        &mut publisher,
        flow.event("rejected", r#"{"do":"reject"}"#),
        &metadata,
    );
    flow.wait_until_settled();

    let moved = flow
        .retries
        .read_all()
        .into_iter()
        .next()
        .expect("it waited there");
    let dead = flow
        .dead_letters
        .read_all()
        .into_iter()
        .next()
        .expect("it is dead");
    let records = [
        flow.source
            .read_all()
            .into_iter()
            .next()
            .expect("it is there"),
        moved,
        flow.copy_of("retried"),
        dead,
    ];
    for record in &records {
        assert_eq!(header(record, "traceparent"), PARENT);
        assert_eq!(header(record, "tracestate"), "vendor=1");
        assert_eq!(header(record, "baggage"), "tenant=7");
        assert_eq!(header(record, "correlation-id"), "order-9");
    }
    assert_eq!(records[3].header("millrace.dlq.cause"), Some("reject"));
    // Who reads the log finds the event and its trace, spans or not.
    let log = host.log();
    let mut told = log.iter().filter(|line| line["cause"] == "reject");
    let line = told.next().expect("what is given up on is told");
    assert_eq!(
        (&line["correlation_id"], &line["trace_id"]),
        (&json!("order-9"), &json!(TRACE))
    );
    assert_eq!(
        (&line["topic"], &line["partition"], &line["offset"]),
        (&json!(flow.source.name()), &json!(0), &json!(1))
    );
    host.metrics().assert_ledger_balanced(&flow.group);
    host.sigterm().expect_code(0);
}

#[test]
fn what_is_missing_is_made_once_and_what_came_from_kafka_is_told_by_its_place() {
    let flow = Flow::new("correlation-made");
    let host = flow.start("");
    let mut publisher = Publisher::connect(flow.gateway);
    publish(
        &mut publisher,
        flow.event("made", "{}"),
        &[("traceparent", "nonsense")],
    );
    publish(
        &mut publisher,
        flow.event("traced", "{}"),
        &[("traceparent", PARENT)],
    );
    flow.source.produce(&[Record::new("straight", "{}")]);
    flow.wait_until_settled();

    let stored = flow.source.read_all();
    let (parent, id) = (
        header(&stored[0], "traceparent"),
        header(&stored[0], "correlation-id"),
    );
    assert_eq!(parent.split('-').nth(1), Some(id));
    assert!(
        parent.starts_with("00-") && parent.ends_with("-00"),
        "{parent}"
    );
    let made = flow.copy_of("made");
    assert_eq!(
        (
            header(&made, "traceparent"),
            header(&made, "correlation-id")
        ),
        (parent, id)
    );
    let traced = flow.copy_of("traced");
    assert_eq!(
        (
            header(&traced, "traceparent"),
            header(&traced, "correlation-id")
        ),
        (PARENT, TRACE)
    );
    let straight = flow.copy_of("straight");
    assert_eq!(straight.header("traceparent"), None);
    assert_eq!(
        header(&straight, "correlation-id"),
        format!("{}/0/2", flow.source.name())
    );
    assert_eq!(stored[2].headers, [], "what Kafka holds stays as it is");
    host.sigterm().expect_code(0);
}

#[test]
fn another_header_can_be_used_and_nothing_be_made() {
    let flow = Flow::new("correlation-own");
    let host = flow.start(
        "correlation: { header: X-Request, make_at_ingest: false, make_for_outputs: false }\n",
    );
    let mut publisher = Publisher::connect(flow.gateway);
    publish(&mut publisher, flow.event("plain", "{}"), &[]);
    publish(
        &mut publisher,
        flow.event("named", "{}"),
        &[("x-request", "r-1")],
    );
    flow.wait_until_settled();
    let plain = flow.copy_of("plain");
    assert_eq!(
        (plain.header("X-Request"), plain.header("traceparent")),
        (None, None)
    );
    assert_eq!(header(&flow.copy_of("named"), "X-Request"), "r-1");
    host.sigterm().expect_code(0);
}
