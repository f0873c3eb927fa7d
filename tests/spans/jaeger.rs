//! One trace by each protocol, taken in by the tests' own collector, or by a real Jaeger and shown by its own interface:
//! `make traces` builds one, which takes minutes, and sets `MILLRACE_TEST_JAEGER`.

use super::{assert_attempts, assert_chain, by_name, client, traced_to};
use crate::correlation::{Flow, header, publish};
use crate::harness::collector::{Collector, Seen};
use crate::harness::ingest::Publisher;
use crate::harness::jaeger::Jaeger;
use crate::harness::process::setting;

/// Who takes the spans in.
enum Taker {
    Own(Collector),
    Jaeger(Jaeger),
}

impl Taker {
    fn start() -> Self {
        match setting("MILLRACE_TEST_JAEGER") {
            None => Self::Own(Collector::start()),
            Some(_) => Self::Jaeger(Jaeger::start()),
        }
    }

    fn endpoint(&self, protocol: &str) -> String {
        match self {
            Self::Own(collector) => collector.endpoint(),
            Self::Jaeger(jaeger) => jaeger.endpoint(protocol),
        }
    }

    #[track_caller]
    fn wait_for(&self, trace: &str, spans: usize) -> Vec<Seen> {
        match self {
            Self::Own(collector) => collector.wait_for(trace, spans),
            Self::Jaeger(jaeger) => jaeger.wait_for(trace, spans),
        }
    }
}

/// Sends an event that is retried once through a host that is traced, and returns the spans that have arrived of it.
#[track_caller]
fn arrived(taker: &Taker, protocol: &str, compression: &str) -> (Flow, Vec<Seen>) {
    let flow = Flow::new("arrives");
    let host = traced_to(flow.setup(""), &taker.endpoint(protocol), protocol)
        .env("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
        .env(
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test",
        )
        .start();
    let (parent, trace) = client(if protocol == "grpc" { 5 } else { 6 });
    let mut publisher = Publisher::connect(flow.gateway);
    let metadata = [("traceparent", &*parent), ("x-correlation-id", "order-9")];
    let event = flow.event("retried", r#"{"do":"retry","times":1}"#);
    publish(&mut publisher, event, &metadata);
    flow.wait_until_settled();
    let spans = taker.wait_for(&trace, 5);
    host.sigterm().expect_code(0);
    (flow, spans)
}

#[track_caller]
fn assert_whole(flow: &Flow, spans: &[Seen]) {
    let [source, retries, copies] =
        [&flow.source, &flow.retries, &flow.copies].map(|topic| topic.name());
    let process = format!("process {source}");
    assert_chain(
        spans,
        &[
            format!("send {source}"),
            process.clone(),
            format!("send {retries}"),
            process.clone(),
            format!("send {copies}"),
        ],
    );
    assert_attempts(&by_name(spans, &process), &flow.group);
    for span in spans {
        let said = ["service.name", "deployment.environment.name"]
            .map(|name| span.resource.get(name).map(String::as_str));
        assert_eq!(said, [Some("orders"), Some("test")]);
    }
    let last = by_name(spans, &format!("send {copies}"))[0].traceparent();
    assert_eq!(header(&flow.copy_of("retried"), "traceparent"), last);
}

#[test]
fn the_whole_of_a_trace_arrives_by_grpc_and_by_http() {
    let taker = Taker::start();
    for (protocol, compression) in [("grpc", "none"), ("http/protobuf", "gzip")] {
        let (flow, spans) = arrived(&taker, protocol, compression);
        assert_whole(&flow, &spans);
    }
}
