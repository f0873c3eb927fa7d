//! Throughput on a real Kafka, beside loops that do nothing of what the host does:
//!
//! - `bare`: a `BaseConsumer` loop that counts;
//! - `native`: that loop with the analytics handler compiled natively, and every offset stored;
//! - `millrace`: `millrace run` with the analytics plugin and everything on but tracing;
//! - `no-dedup`: the same without dedup;
//! - `traced-1`, `traced-100`: `millrace` with tracing on, of 1 % and of all events, to a collector that takes
//!   everything. What that costs is the difference to `millrace`, most surely in processor time, because the
//!   collector runs in this process and shares the cores;
//! - `franz-go`, `sarama`, `kafka-go`: the same work in Go, where `MILLRACE_BENCH_RIVALS` names the program
//!   that `make bench-rivals` builds.
//!
//! All read the same topic with the same consumer settings, each in a process of its own, in turns. What
//! counts is the time from the first event to the last one done, without start-up and joining the group.
//!
//! `MILLRACE_BENCH_EVENTS` (2 000 000), `MILLRACE_BENCH_ROUNDS` (3) and `MILLRACE_BENCH_ROWS` (all, with
//! commas between) choose; `MILLRACE_TEST_BROKERS` names a cluster in place of a node of its own.

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

#[path = "end_to_end/collector.rs"]
mod collector;
#[path = "end_to_end/row.rs"]
mod row;
#[path = "end_to_end/table.rs"]
mod table;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use millrace::kafka::consumer;
use millrace::sample::{SampleSettings, Sampler};
use millrace_sdk::{Event, testing};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message};
use serde_json::{Value, json};

use collector::Collector;
use row::{ROWS, Row};
use table::table;

use shared::harness::host::Setup;
use shared::harness::kafka::Speed;
use shared::harness::metrics::Metrics;
use shared::harness::process::setting;
use shared::harness::topic::{Topic, unique};
use shared::{PATIENCE, chosen, cluster, cpu_of_children, in_child, leave, number};

const PARTITIONS: i32 = 4;

/// How often the host is asked whether it is done. Its own figures are as old as its commit interval.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// How often the native handler's effects are taken: the plugin's tick.
const TICK: Duration = Duration::from_secs(10);

/// What one run of one row read.
#[derive(Debug, Clone, Copy)]
struct Run {
    row: Row,
    events_per_second: f64,
    /// User and system time of the process, start-up included.
    cpu_seconds: f64,
}

/// The topic that every row reads.
struct Course {
    brokers: String,
    topic: Topic,
    events: u64,
    collector: Collector,
}

fn main() {
    if let Some(order) = shared::order() {
        println!("{}", consume(&order));
        return;
    }
    let events = number("MILLRACE_BENCH_EVENTS", 2_000_000);
    let rounds = number("MILLRACE_BENCH_ROUNDS", 3).max(1);
    let can_run = |row: &Row| !row.is_rival() || setting("MILLRACE_BENCH_RIVALS").is_some();
    let rows: Vec<Row> = ROWS.into_iter().filter(can_run).collect();
    let rows = chosen(&rows, Row::name);
    let (_node, brokers) = cluster(Speed::Throughput);
    let course = Course::new(brokers, events);
    // The broker's own code is compiled as it runs; the first reader would pay for all.
    eprintln!("warming up");
    course.run(Row::Bare);
    let mut runs = Vec::new();
    for round in 1..=rounds {
        for row in &rows {
            let run = course.run(*row);
            let (name, per_second) = (row.name(), run.events_per_second);
            eprintln!(
                "round {round}: {name} {per_second:.0} events/s, {:.1} s of processor",
                run.cpu_seconds
            );
            runs.push(run);
        }
    }
    let table = table(&rows, &runs, events);
    leave("end-to-end", &table);
}

impl Course {
    /// Makes the topics and fills the one that is read. The events are well-formed and distinct, so that
    /// every row has the same work.
    fn new(brokers: String, events: u64) -> Self {
        let topic = Topic::create(&brokers, "bench", PARTITIONS);
        for name in ["analytics.counts", &format!("{}.dlq", topic.name())] {
            if !Topic::named(&brokers, name).exists() {
                Topic::create_with(&brokers, name, 1, &[]);
            }
        }
        eprintln!("filling {} with {events} events", topic.name());
        let began = Instant::now();
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &brokers)
            .set("linger.ms", "50")
            .set("batch.size", "1000000")
            .set("queue.buffering.max.kbytes", "262144")
            .create()
            .expect("a producer can be made");
        let settings = SampleSettings {
            bad_share: 0.0,
            duplicate_share: 0.0,
            ..SampleSettings::default()
        };
        let mut bytes = 0;
        for sample in Sampler::new(settings).take(events as usize) {
            bytes += sample.value.len();
            let mut record: BaseRecord<'_, str, str> = BaseRecord::to(topic.name())
                .key(sample.key.as_str())
                .payload(sample.value.as_str());
            while let Err((error, again)) = producer.send(record) {
                let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
                assert_eq!(error, full, "the topic cannot be filled");
                producer.poll(Duration::from_millis(10));
                record = again;
            }
        }
        producer
            .flush(PATIENCE)
            .expect("the broker takes everything");
        let written: i64 = topic.end_offsets().values().sum();
        assert_eq!(
            written, events as i64,
            "the topic holds another number of events"
        );
        eprintln!(
            "filled in {:.1?}; {} bytes an event",
            began.elapsed(),
            bytes as u64 / events
        );
        Self {
            brokers,
            topic,
            events,
            collector: Collector::start(),
        }
    }

    /// Runs a Go client to the end of the topic. It times itself, from its first event to its last.
    fn rival(&self, row: Row) -> f64 {
        let program = setting("MILLRACE_BENCH_RIVALS").expect("the row is chosen only with it");
        let events = self.events.to_string();
        let output = std::process::Command::new(program)
            .args([
                row.name(),
                &self.brokers,
                self.topic.name(),
                &unique("bench-rival"),
                &events,
            ])
            .stderr(Stdio::inherit())
            .output()
            .expect("the program that MILLRACE_BENCH_RIVALS names can run");
        assert!(output.status.success(), "{} failed", row.name());
        let report: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
        report["seconds"].as_f64().expect("it prints its seconds")
    }

    fn run(&self, row: Row) -> Run {
        let cpu_before = cpu_of_children();
        let seconds = match row {
            Row::Bare | Row::Native => self.loop_in_child(row),
            Row::Millrace | Row::NoDedup | Row::TracedOne | Row::TracedAll => self.host(row),
            Row::FranzGo | Row::Sarama | Row::KafkaGo => self.rival(row),
        };
        Run {
            row,
            events_per_second: self.events as f64 / seconds,
            cpu_seconds: cpu_of_children() - cpu_before,
        }
    }

    /// Runs one of the loops in this binary, in a process of its own.
    fn loop_in_child(&self, row: Row) -> f64 {
        let order = json!({
            "brokers": self.brokers,
            "topic": self.topic.name(),
            "group": unique(row.name()),
            "events": self.events,
            "native": row == Row::Native,
        });
        let answer = in_child(&order);
        answer.trim().parse().expect("the child prints seconds")
    }

    /// Runs the host until it has settled every event.
    fn host(&self, row: Row) -> f64 {
        let (topic, group) = (self.topic.name(), unique(row.name()));
        let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/dist/analytics.wasm");
        let dedup = if row == Row::NoDedup {
            ""
        } else {
            "dedup: { id: \"json:/id\", window: 24h }"
        };
        let config = format!(
            "plugins:\n  analytics:\n    path: {}\n    \
                 grants: [metrics, tally, \"output:analytics.counts\"]\n    tick: 10s\n\
             groups:\n  - id: {group}\n    routes: {{ {topic}: analytics }}\n    \
                 dead_letter: {{ topic: {topic}.dlq }}\n    store: ./data\n    {dedup}\n",
            plugin.display()
        );
        let host = self.set_up(row, &config).spawn();
        let began = Instant::now();
        let settled = || {
            let (_, body) = host.get("/metrics").ok()?;
            let metrics = Metrics::parse(&body);
            Some(metrics.sum("millrace_events_total", &[("group", &group)]) as u64)
        };
        while settled().unwrap_or(0) < self.events {
            assert!(
                began.elapsed() < PATIENCE,
                "{settled:?} events settled",
                settled = settled()
            );
            std::thread::sleep(LOOK_INTERVAL);
        }
        let metrics = host.metrics();
        let exit = host.sigterm().expect_code(0);
        self.tell_of_spans(row, &metrics);
        let summary = exit.json();
        let of_group = &summary["groups"][0];
        assert_eq!(of_group["total"]["processed"], self.events, "{summary}");
        let ms = |name: &str| {
            of_group[name]
                .as_u64()
                .unwrap_or_else(|| panic!("{summary}"))
        };
        (ms("last_settled_at_ms") - ms("first_event_at_ms")) as f64 / 1e3
    }

    /// A host of this configuration, traced as the row says, whatever this process has in its environment.
    fn set_up(&self, row: Row, config: &str) -> Setup {
        let setup = Setup::new(&self.brokers, config);
        match row.traced() {
            None => setup.env("OTEL_TRACES_EXPORTER", "none"),
            Some(share) => setup
                .env("OTEL_TRACES_EXPORTER", "otlp")
                .env("OTEL_EXPORTER_OTLP_ENDPOINT", &self.collector.endpoint())
                .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
                .env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
                .env("OTEL_TRACES_SAMPLER_ARG", share),
        }
    }

    /// How many spans left the host, because a queue that is full drops those that would hold events up.
    fn tell_of_spans(&self, row: Row, metrics: &Metrics) {
        if row.traced().is_none() {
            return;
        }
        let [sent, dropped] = ["exported", "dropped"]
            .map(|outcome| metrics.sum("millrace_spans_total", &[("outcome", outcome)]));
        let bytes = self.collector.take_bytes();
        assert!(bytes > 0, "no span has reached the collector");
        eprintln!(
            "{}: {sent} spans sent before its end, {dropped} dropped by a full queue, {bytes} bytes",
            row.name()
        );
    }
}

/// The loops: returns the seconds from the first event to the last one done.
fn consume(order: &Value) -> f64 {
    let text = |name: &str| order[name].as_str().expect("the parent names it");
    let native = order["native"] == true;
    let events = order["events"].as_u64().expect("the parent counts");
    let mut settings = ClientConfig::new();
    for (name, value) in consumer::DEFAULTS {
        settings.set(name, value);
    }
    settings
        .set("bootstrap.servers", text("brokers"))
        .set("group.id", text("group"))
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.offset.store", "false")
        .set("enable.auto.commit", if native { "true" } else { "false" });
    let consumer: BaseConsumer = settings.create().expect("a consumer can be made");
    consumer
        .subscribe(&[text("topic")])
        .expect("the topic can be subscribed to");
    let seconds = if native {
        native_loop(&consumer, events)
    } else {
        bare_loop(&consumer, events)
    };
    // Leaving the group is no part of the measurement, and waiting for it no use.
    std::mem::forget(consumer);
    seconds
}

/// The next event. A poll also returns for what is no event, such as an assignment.
fn next(consumer: &BaseConsumer) -> BorrowedMessage<'_> {
    for _ in 0..PATIENCE.as_secs() {
        if let Some(message) = consumer.poll(Duration::from_secs(1)) {
            return message.expect("the topic can be read");
        }
    }
    panic!("no event came");
}

fn bare_loop(consumer: &BaseConsumer, events: u64) -> f64 {
    let _first = next(consumer);
    let began = Instant::now();
    for _ in 1..events {
        let _message = next(consumer);
    }
    began.elapsed().as_secs_f64()
}

fn native_loop(consumer: &BaseConsumer, events: u64) -> f64 {
    let mut began = Instant::now();
    let mut taken_at = Instant::now();
    let mut counted = 0.0;
    let mut take = || {
        let effects = testing::take_effects();
        counted += effects
            .metrics
            .iter()
            .map(|change| change.value)
            .sum::<f64>();
    };
    for index in 0..events {
        let message = next(consumer);
        if index == 0 {
            began = Instant::now();
        }
        let event = Event::of_value(&[])
            .at(message.topic(), message.partition(), message.offset())
            .with_key(message.key())
            .with_value(message.payload())
            .with_timestamp_ms(message.timestamp().to_millis());
        testing::run_buffered(&event, analytics::handle).expect("every event is well-formed");
        consumer
            .store_offset_from_message(&message)
            .expect("the partition is assigned");
        // The clock is asked seldom, because asking is not for nothing.
        if index % 4_096 == 0 && taken_at.elapsed() >= TICK {
            take();
            taken_at = Instant::now();
        }
    }
    take();
    let seconds = began.elapsed().as_secs_f64();
    assert_eq!(
        counted as u64, events,
        "the handler counted another number of events"
    );
    seconds
}
