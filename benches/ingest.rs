//! What the gateways take in, beside a producer that does nothing else, on a real Kafka:
//!
//! - `bare`: a loop around librdkafka's own producer, with the very settings of the gateways;
//! - `grpc`: one `PublishStream` to `millrace run`;
//! - `grpc-made`: the same, with the trace and the correlation id that the host makes for each event by default;
//! - `grpc-batch`: `PublishBatch` of 1 000 events over four connections;
//! - `http` and `http-made`: batches of 1 000 events as NDJSON over four connections, without and with those headers.
//!
//! Every row writes the same events to a topic of its own, each acknowledged by all replicas, in turns, each in a process
//! of its own. What counts is the time from the first event to the last acknowledgement. The clients have their requests
//! ready as bytes before the clock starts and only count the answers, so that what they cost is small; but broker, gateway
//! and client share the machine.
//!
//! `MILLRACE_BENCH_EVENTS` (400 000), `MILLRACE_BENCH_ROUNDS` (5) and `MILLRACE_BENCH_ROWS` (all, with commas between)
//! choose; `MILLRACE_TEST_BROKERS` names a cluster in place of a node of its own.

#![allow(missing_docs, reason = "a bench has no interface")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench that cannot go on ends, and its answer is what it prints"
)]

#[path = "shared.rs"]
mod shared;

#[path = "ingest/clients.rs"]
mod clients;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use millrace::config::Kafka;
use millrace::kafka::publisher;
use millrace::sample::{SampleSettings, Sampler};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use serde_json::{Value, json};

use shared::harness::host::{Host, Setup};
use shared::harness::kafka::Speed;
use shared::harness::process;
use shared::harness::topic::Topic;
use shared::{PATIENCE, chosen, cluster, cpu_of, in_child, leave, median, number, own_cpu};

const PARTITIONS: i32 = 4;

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    Bare,
    Grpc,
    GrpcMade,
    GrpcBatch,
    Http,
    HttpMade,
}

const ROWS: [Row; 6] = [
    Row::Bare,
    Row::Grpc,
    Row::GrpcMade,
    Row::GrpcBatch,
    Row::Http,
    Row::HttpMade,
];

impl Row {
    fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Grpc => "grpc",
            Self::GrpcMade => "grpc-made",
            Self::GrpcBatch => "grpc-batch",
            Self::Http => "http",
            Self::HttpMade => "http-made",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::Bare => "(a) librdkafka's producer, the same settings",
            Self::Grpc => "(b) gRPC, one stream",
            Self::GrpcMade => {
                "(b2) the same, with a trace and a correlation id made for each event"
            }
            Self::GrpcBatch => "(c) gRPC, batches of 1 000",
            Self::Http => "(d) HTTP, NDJSON batches of 1 000",
            Self::HttpMade => {
                "(d2) the same, with a trace and a correlation id made for each event"
            }
        }
    }

    /// What the row is to reach of (a).
    fn aim(self) -> &'static str {
        match self {
            Self::Grpc => "0.5",
            Self::Http => "0.4",
            _ => "",
        }
    }

    /// Whether events get headers that nobody sent, which are half as long as the events themselves.
    fn makes_headers(self) -> bool {
        matches!(self, Self::GrpcMade | Self::HttpMade)
    }

    fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::HttpMade)
    }
}

/// What one run of one row took.
struct Run {
    row: Row,
    events_per_second: f64,
    /// User and system time of the producer's or the host's process, start-up left out.
    cpu_seconds: f64,
}

fn main() {
    if let Some(order) = shared::order() {
        println!("{}", produce(&order));
        return;
    }
    let events = number("MILLRACE_BENCH_EVENTS", 400_000);
    let rounds = number("MILLRACE_BENCH_ROUNDS", 5).max(1);
    let rows = chosen(&ROWS, Row::name);
    let (_node, brokers) = cluster(Speed::Throughput);
    // The broker's own code is compiled as it runs; the first would pay for all.
    eprintln!("warming up");
    run(&brokers, Row::Bare, events);
    let mut runs = Vec::new();
    for round in 1..=rounds {
        for row in &rows {
            let run = run(&brokers, *row, events);
            eprintln!(
                "round {round}: {} {:.0} events/s, {:.2} us of processor an event",
                row.name(),
                run.events_per_second,
                run.cpu_seconds / events as f64 * 1e6
            );
            runs.push(run);
        }
    }
    let table = table(&rows, &runs, events);
    leave("ingest", &table);
}

fn run(brokers: &str, row: Row, events: u64) -> Run {
    let topic = Topic::create(brokers, "ingest", PARTITIONS);
    let started = (row != Row::Bare).then(|| start(row, &topic));
    let address = started
        .as_ref()
        .map(|(_, _, grpc, http)| if row.is_http() { http } else { grpc });
    let order = json!({
        "row": row.name(),
        "brokers": brokers,
        "topic": topic.name(),
        "events": events,
        "address": address.map(ToString::to_string),
    });
    let host = started.as_ref().map(|(_, host, ..)| host);
    let before = host.map(|host| cpu_of(host.pid()));
    let (seconds, own) = child(&order);
    let cpu_seconds = match (host, before) {
        (Some(host), Some(before)) => cpu_of(host.pid()) - before,
        _ => own,
    };
    let written: i64 = topic.end_offsets().values().sum();
    assert_eq!(
        written,
        events as i64,
        "{} wrote another number of events",
        row.name()
    );
    if let Some((_, host, ..)) = started {
        host.sigterm().expect_code(0);
    }
    Run {
        row,
        events_per_second: events as f64 / seconds,
        cpu_seconds,
    }
}

/// A host that is nothing but its gateways.
fn start(row: Row, topic: &Topic) -> (Setup, Host, SocketAddr, SocketAddr) {
    let [grpc, http] =
        [(); 2].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, process::free_port())));
    let config = format!(
        "ingest:\n  grpc: {{ listen: \"{grpc}\" }}\n  http: {{ listen: \"{http}\" }}\n\
         correlation: {{ make_at_ingest: {} }}\n",
        row.makes_headers()
    );
    let setup = Setup::new(topic.brokers(), &config);
    let host = setup.start();
    (setup, host, grpc, http)
}

/// Runs one of the clients in this binary, in a process of its own; its seconds, and those of its processor.
fn child(order: &Value) -> (f64, f64) {
    let answer: Value = serde_json::from_str(&in_child(order)).expect("the child prints JSON");
    let seconds = |name: &str| answer[name].as_f64().expect("the child prints seconds");
    (seconds("seconds"), seconds("cpu_seconds"))
}

/// In the child: makes the events, and then writes them against the clock.
fn produce(order: &Value) -> Value {
    let text = |name: &str| order[name].as_str().expect("the parent names it");
    let events = order["events"].as_u64().expect("the parent counts") as usize;
    let settings = SampleSettings {
        bad_share: 0.0,
        duplicate_share: 0.0,
        ..SampleSettings::default()
    };
    let samples: Vec<(String, String)> = Sampler::new(settings)
        .take(events)
        .map(|sample| (sample.key, sample.value))
        .collect();
    let topic = text("topic");
    let address = || text("address").parse().expect("it is an address");
    let (seconds, cpu_seconds) = match text("row") {
        "bare" => bare(text("brokers"), topic, &samples),
        "grpc" | "grpc-made" => clients::grpc_stream(address(), topic, &samples),
        "grpc-batch" => clients::grpc_batches(address(), topic, &samples),
        _ => clients::http_batches(address(), topic, &samples),
    };
    json!({ "seconds": seconds, "cpu_seconds": cpu_seconds })
}

fn bare(brokers: &str, topic: &str, samples: &[(String, String)]) -> (f64, f64) {
    let settings = publisher::default_settings(&Kafka::at(brokers));
    let producer: ThreadedProducer<DefaultProducerContext> =
        settings.create().expect("a producer can be made");
    // The first record fetches the topic's leaders, which the gateway has done by its first event too.
    producer
        .client()
        .fetch_metadata(Some(topic), PATIENCE)
        .expect("the broker answers");
    let (began, cpu) = (Instant::now(), own_cpu());
    for (key, value) in samples {
        let (key, value) = (key.as_str(), value.as_str());
        let mut record = BaseRecord::<str, str>::to(topic).key(key).payload(value);
        while let Err((_full, again)) = producer.send(record) {
            std::thread::sleep(Duration::from_micros(200));
            record = again;
        }
    }
    producer
        .flush(PATIENCE)
        .expect("the broker takes everything");
    (began.elapsed().as_secs_f64(), own_cpu() - cpu)
}

fn table(rows: &[Row], runs: &[Run], events: u64) -> String {
    let of = |row: Row, figure: fn(&Run) -> f64| -> Vec<f64> {
        runs.iter()
            .filter(|run| run.row == row)
            .map(figure)
            .collect()
    };
    let base = Some(median(of(Row::Bare, |run| run.events_per_second))).filter(|base| *base > 0.0);
    let mut text = format!(
        "{events} events over {PARTITIONS} partitions, in turns, thousand events a second\n\n\
         | | median | to (a) | aim | rounds | processor of the process that writes, us/event |\n\
         | --- | --- | --- | --- | --- | --- |\n"
    );
    for row in rows {
        let rates = of(*row, |run| run.events_per_second);
        let each: Vec<String> = rates
            .iter()
            .map(|rate| format!("{:.0}", rate / 1e3))
            .collect();
        let rate = median(rates);
        text.push_str(&format!(
            "| {} | {:.0} | {} | {} | {} | {:.2} |\n",
            row.about(),
            rate / 1e3,
            base.map_or_else(
                || "not run".to_owned(),
                |base| format!("{:.2}", rate / base)
            ),
            row.aim(),
            each.join(", "),
            median(of(*row, |run| run.cpu_seconds)) / events as f64 * 1e6,
        ));
    }
    text
}
