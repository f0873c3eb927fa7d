//! Spans, as an OpenTelemetry collector sees them: one trace from a gateway through a retry and an output to a dead
//! letter and what is put back; what is not sampled; and a collector that is not there.

mod jaeger;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tonic::Request;

use crate::correlation::{Flow, header, publish};
use crate::harness::collector::{Collector, Seen};
use crate::harness::host::{Host, Setup, command};
use crate::harness::ingest::Publisher;
use crate::harness::ingest::proto::PublishStreamRequest;
use crate::harness::topic::Record;
use crate::harness::{http, kafka, process, wait};

const TIMEOUT: Duration = Duration::from_secs(60);

/// Kinds of spans.
const PRODUCER: i32 = 4;
const CONSUMER: i32 = 5;

/// The context of a client's own span.
fn client(trace: u8) -> (String, String) {
    let trace = format!("4bf92f3577b34da6a3ce929d0e0e47{trace:02x}");
    (format!("00-{trace}-00f067aa0ba902b7-01"), trace)
}

/// A host that sends its spans there, by this protocol.
fn traced(setup: Setup, collector: &Collector, protocol: &str) -> Setup {
    let setup = traced_to(setup, &collector.endpoint(), protocol);
    match collector.certificate() {
        Some(file) => setup.env("OTEL_EXPORTER_OTLP_CERTIFICATE", file),
        None => setup,
    }
}

fn traced_to(setup: Setup, endpoint: &str, protocol: &str) -> Setup {
    setup
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        .env("OTEL_SERVICE_NAME", "orders")
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
}

/// Checks that each span is below the one before it, and what they are called.
#[track_caller]
fn assert_chain(spans: &[Seen], names: &[String]) {
    let mut parent = "00f067aa0ba902b7";
    for name in names {
        let mut below = spans.iter().filter(|span| span.parent == parent);
        let span = below
            .next()
            .unwrap_or_else(|| panic!("nothing below {parent}: {spans:#?}"));
        assert_eq!(&span.name, name, "{spans:#?}");
        assert_eq!(below.count(), 0, "one below {parent}: {spans:#?}");
        let kind = if name.starts_with("send") {
            PRODUCER
        } else {
            CONSUMER
        };
        assert_eq!(span.kind, kind);
        parent = &span.id;
    }
    assert_eq!(spans.len(), names.len(), "{spans:#?}");
}

fn by_name<'s>(spans: &'s [Seen], name: &str) -> Vec<&'s Seen> {
    spans.iter().filter(|span| span.name == name).collect()
}

/// Checks what a retried event's two attempts say.
#[track_caller]
fn assert_attempts(attempts: &[&Seen], group: &str) {
    let outcomes = [("1", "retry", true), ("2", "processed", false)];
    for (number, outcome, failed) in outcomes {
        let of_number = |span: &&&Seen| span.said("millrace.attempt") == number;
        let attempt = attempts.iter().find(of_number);
        let attempt = attempt.unwrap_or_else(|| panic!("no attempt {number}: {attempts:#?}"));
        assert_eq!(
            (attempt.said("millrace.outcome"), attempt.failed),
            (outcome, failed)
        );
        assert_eq!(attempt.said("messaging.consumer.group.name"), group);
        assert_eq!(attempt.said("messaging.kafka.offset"), "0");
        assert_eq!(attempt.said("messaging.message.conversation_id"), "order-9");
        assert_eq!(attempt.said("millrace.plugin.name"), "copy");
    }
}

#[test]
fn one_trace_goes_from_grpc_through_a_retry_to_an_output_whose_record_carries_it_on() {
    let collector = Collector::start_encrypted();
    let flow = Flow::new("spans-grpc");
    let host = traced(flow.setup(""), &collector, "grpc")
        .env("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        .start();
    let (parent, trace) = client(1);
    let metadata = [
        ("traceparent", &*parent),
        ("tracestate", "vendor=1"),
        ("x-correlation-id", "order-9"),
    ];
    let mut publisher = Publisher::connect(flow.gateway);
    publish(
        &mut publisher,
        flow.event("retried", r#"{"do":"retry","times":1}"#),
        &metadata,
    );
    flow.wait_until_settled();

    let spans = collector.wait_for(&trace, 5);
    let [source, retries, copies] =
        [&flow.source, &flow.retries, &flow.copies].map(|topic| topic.name());
    let (send, process) = (format!("send {source}"), format!("process {source}"));
    assert_chain(
        &spans,
        &[
            send.clone(),
            process.clone(),
            format!("send {retries}"),
            process.clone(),
            format!("send {copies}"),
        ],
    );
    let sent = by_name(&spans, &send)[0];
    for (name, value) in [
        ("messaging.system", "kafka"),
        ("messaging.operation.name", "send"),
        ("messaging.operation.type", "send"),
        ("messaging.destination.name", source),
        ("messaging.destination.partition.id", "0"),
        ("messaging.kafka.offset", "0"),
    ] {
        assert_eq!(sent.said(name), value, "{name}");
    }
    assert_eq!(
        sent.resource.get("service.name").map(String::as_str),
        Some("orders")
    );
    assert_attempts(&by_name(&spans, &process), &flow.group);
    let copy = flow.copy_of("retried");
    let last = by_name(&spans, &format!("send {copies}"))[0].traceparent();
    assert_eq!(
        header(&copy, "traceparent"),
        last,
        "who reads the copy is below it"
    );
    assert_eq!(header(&copy, "tracestate"), "vendor=1");
    host.sigterm().expect_code(0);
}

#[test]
fn one_trace_goes_from_http_to_a_dead_letter_and_on_when_that_is_put_back() {
    let collector = Collector::start();
    let flow = Flow::new("spans-http");
    let http = SocketAddr::from((Ipv4Addr::LOCALHOST, process::free_port()));
    let setup = flow
        .setup("")
        .arg("--set")
        .arg(&format!("ingest.http.listen={http}"));
    let host = traced(setup, &collector, "http/protobuf")
        .env("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        .start();
    let (parent, trace) = client(2);
    let headers = [
        ("traceparent", &*parent),
        ("content-type", "application/json"),
        ("correlation-id", "order-7"),
    ];
    let reply = http::publish(
        http,
        flow.source.name(),
        "",
        &headers,
        br#"{"do":"reject"}"#,
    );
    assert_eq!(reply.expect("it answers").status, 202);
    flow.wait_until_settled();

    let [source, dead] = [&flow.source, &flow.dead_letters].map(|topic| topic.name());
    let given_up = ["send", "process"].map(|operation| format!("{operation} {source}"));
    let given_up = [&given_up[..], &[format!("send {dead}")]].concat();
    let spans = collector.wait_for(&trace, 3);
    assert_chain(&spans, &given_up);
    let rejected = by_name(&spans, &given_up[1])[0];
    assert_eq!(rejected.said("millrace.outcome"), "reject");
    assert!(rejected.failed && !rejected.said("error.type").is_empty());
    let letter = flow
        .dead_letters
        .read_all()
        .into_iter()
        .next()
        .expect("it is dead");
    let carried = header(&letter, "traceparent");
    assert_eq!(carried, by_name(&spans, &given_up[2])[0].traceparent());
    let log = host.log();
    let mut told = log.iter().filter(|line| line["cause"] == "reject");
    let line = told.next().expect("it is told");
    assert_eq!(
        (line["correlation_id"].as_str(), line["trace_id"].as_str()),
        (Some("order-7"), Some(&*trace))
    );

    // It fails again, and that is below where it was put back.
    let brokers = kafka::shared();
    command(&["dlq", "redrive", dead, "--all", "--brokers", brokers]).expect_code(0);
    let spans = collector.wait_for(&trace, 5);
    assert_chain(&spans, &[&given_up[..], &given_up[1..]].concat());
    host.sigterm().expect_code(0);
}

#[test]
fn events_of_a_stream_are_traced_too_and_without_a_context_a_trace_begins() {
    let collector = Collector::start();
    let flow = Flow::new("spans-stream");
    let host = traced(flow.setup(""), &collector, "grpc").start();
    let Publisher {
        runtime,
        mut client,
    } = Publisher::connect(flow.gateway);
    let events = ["a", "b"].map(|key| PublishStreamRequest {
        sequence: 1,
        event: Some(flow.event(key, "{}")),
    });
    runtime.block_on(async {
        let stream = client.publish_stream(Request::new(tokio_stream::iter(events)));
        let mut answers = stream.await.expect("it is taken up").into_inner();
        while answers.message().await.expect("it goes on").is_some() {}
    });
    flow.wait_until_settled();
    let copies = ["a", "b"].map(|key| flow.copy_of(key));
    let traces = copies
        .each_ref()
        .map(|copy| header(copy, "traceparent")[3..35].to_owned());
    assert_ne!(traces[0], traces[1]);
    for (copy, trace) in copies.iter().zip(&traces) {
        let spans = collector.wait_for(trace, 3);
        assert_eq!(
            spans.iter().filter(|span| span.parent.is_empty()).count(),
            1
        );
        assert_eq!(
            header(copy, "correlation-id"),
            trace,
            "who has the one finds the other"
        );
    }
    host.sigterm().expect_code(0);
}

#[test]
fn what_is_not_sampled_has_no_spans_and_its_context_is_carried_unchanged() {
    let collector = Collector::start_encrypted();
    let flow = Flow::new("spans-off");
    let host = traced(flow.setup(""), &collector, "http/protobuf")
        .env("OTEL_TRACES_SAMPLER", "parentbased_always_off")
        .start();
    let mut publisher = Publisher::connect(flow.gateway);
    let ((sampled, trace), (other, _)) = (client(3), client(4));
    let unsampled = other.replace("b7-01", "b7-00");
    for (key, parent) in [
        ("unsampled", Some(&unsampled)),
        ("none", None),
        ("sampled", Some(&sampled)),
    ] {
        let metadata: Vec<_> = parent
            .iter()
            .map(|parent| ("traceparent", parent.as_str()))
            .collect();
        publish(&mut publisher, flow.event(key, "{}"), &metadata);
    }
    flow.source.produce(&[Record::new("straight", "{}")]);
    flow.wait_until_settled();
    assert_eq!(header(&flow.copy_of("unsampled"), "traceparent"), unsampled);
    assert!(header(&flow.copy_of("none"), "traceparent").ends_with("-00"));
    assert_eq!(flow.copy_of("straight").header("traceparent"), None);
    // The last spans are sent before a host ends.
    host.sigterm().expect_code(0);
    let spans = collector.spans();
    assert_eq!(spans.len(), 3, "{spans:#?}");
    assert!(spans.iter().all(|span| span.trace == trace), "{spans:#?}");
}

#[test]
fn without_a_collector_events_flow_on_and_what_is_lost_is_counted() {
    let flow = Flow::new("spans-lost");
    let nobody = format!("http://127.0.0.1:{}", process::free_port());
    let host: Host = traced_to(flow.setup(""), &nobody, "grpc")
        .env("OTEL_BSP_MAX_QUEUE_SIZE", "8")
        .env("OTEL_BSP_EXPORT_TIMEOUT", "600")
        .start();
    let events: Vec<_> = (0..500)
        .map(|n| Record::new(format!("k{n}"), "{}"))
        .collect();
    flow.source.produce(&events);
    flow.wait_until_settled();
    assert_eq!(flow.copies.read_all().len(), events.len());
    let counted = |outcome: &str| {
        host.metrics()
            .sum("millrace_spans_total", &[("outcome", outcome)])
    };
    wait::eventually("spans that are lost and counted", TIMEOUT, || {
        counted("dropped") > 0.0 && counted("failed") > 0.0
    });
    assert_eq!(counted("exported"), 0.0);
    let log = host.log();
    let told = log
        .iter()
        .filter(|line| line["collector"].is_string() && line["reason"].is_string());
    assert!(told.count() >= 1, "{log:?}");
    host.metrics().assert_ledger_balanced(&flow.group);
    host.sigterm().expect_code(0);
}

#[test]
fn a_variable_that_cannot_be_meant_stops_the_host_and_is_named() {
    let flow = Flow::new("spans-refused");
    let setup = traced_to(flow.setup(""), "http://localhost:4317", "carrier-pigeon");
    let exit = setup.run_to_exit().expect_code(78);
    let line = "OTEL_EXPORTER_OTLP_PROTOCOL: is `grpc` or `http/protobuf`";
    assert!(exit.stderr.contains(line), "{}", exit.stderr);
}
