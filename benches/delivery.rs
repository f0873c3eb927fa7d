//! What delivery costs those that it is not for, on a real Kafka:
//!
//! - one key in a hundred fails for ever, by asking for a retry or by trapping: what is left of the throughput of
//!   the keys that are well;
//! - handlers that wait: how much further `ordering: key` gets than `partition`.
//!
//! Every pair runs in turns in one run of the bench, and its ratio is what counts. `MILLRACE_BENCH_ROUNDS` (3)
//! and `MILLRACE_TEST_BROKERS` are as in the end-to-end bench.

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

use std::path::Path;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use shared::harness::host::Setup;
use shared::harness::kafka::Speed;
use shared::harness::metrics::Metrics;
use shared::harness::topic::{Topic, unique};
use shared::{PATIENCE, cluster, leave, median, number};

/// How often the host is asked how far it is. Its own figures are as old as its commit interval.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Events of the rows with failing keys, and their keys.
const EVENTS: u64 = 4_000_000;
const KEYS: u64 = 1_000;
const FAILING_KEYS: u64 = KEYS / 100;

/// Events of the rows that wait, for each ordering, so that each takes some seconds.
const WAITING_BY_PARTITION: u64 = 6_000;
const WAITING_BY_KEY: u64 = 100_000;
const WAITING_KEYS: u64 = 100;

/// A topic and how a group takes it.
struct Course {
    topic: Topic,
    /// Events that are to succeed.
    well: u64,
    /// Further lines of the group.
    group: &'static str,
}

/// A row of the table.
struct Row {
    name: &'static str,
    course: Course,
    /// The row that it is held against.
    base: Option<usize>,
    bound: &'static str,
}

fn main() {
    let rounds = number("MILLRACE_BENCH_ROUNDS", 3);
    let (_node, brokers) = cluster(Speed::Throughput);
    let rows = rows(&brokers);
    eprintln!("warming up");
    rows[0].course.run(&brokers);
    let mut rates = vec![Vec::new(); rows.len()];
    for round in 1..=rounds {
        for (row, rates) in rows.iter().zip(&mut rates) {
            let rate = row.course.run(&brokers);
            eprintln!("round {round}: {}: {rate:.0} events/s", row.name);
            rates.push(rate);
        }
    }
    let medians: Vec<f64> = rates.into_iter().map(median).collect();
    let mut table = format!(
        "{rounds} rounds in turns, medians\n\n\
         | | events/s of keys that are well | to its base | bound |\n| --- | ---: | ---: | ---: |\n"
    );
    for (row, median) in rows.iter().zip(&medians) {
        let ratio = row.base.map_or(String::new(), |base| {
            format!("{:.2}", median / medians[base])
        });
        let (name, bound) = (row.name, row.bound);
        table.push_str(&format!("| {name} | {median:.0} | {ratio} | {bound} |\n"));
    }
    leave("delivery", &table);
}

/// Fills the topics, and says what is measured on each.
fn rows(brokers: &str) -> [Row; 5] {
    let failing = |deed: Option<&'static str>| {
        let deed = move |key| (key < FAILING_KEYS).then_some(deed).flatten();
        fill(brokers, 4, (EVENTS, KEYS), deed)
    };
    let well = EVENTS / KEYS * (KEYS - FAILING_KEYS);
    let waiting = |events| fill(brokers, 2, (events, WAITING_KEYS), |_| Some("wait"));
    let row = |name, (topic, well, group), base, bound| Row {
        name,
        course: Course { topic, well, group },
        base,
        bound,
    };
    let partition = "    ordering: partition\n    concurrency: 2\n";
    let key = "    ordering: key\n    concurrency: 256\n";
    let by_partition = (
        waiting(WAITING_BY_PARTITION),
        WAITING_BY_PARTITION,
        partition,
    );
    let by_key = (waiting(WAITING_BY_KEY), WAITING_BY_KEY, key);
    let retries = (failing(Some("retry")), well, "");
    let traps = (failing(Some("trap")), well, "");
    [
        row("no key fails", (failing(None), EVENTS, ""), None, ""),
        row(
            "1 % of keys ask for a retry for ever",
            retries,
            Some(0),
            "at least 0.95",
        ),
        row("1 % of keys trap for ever", traps, Some(0), "reported"),
        row(
            "handlers wait 1 ms, `partition`, 2 partitions",
            by_partition,
            None,
            "",
        ),
        row(
            "the same, `key`, 100 keys, 256 lanes",
            by_key,
            Some(3),
            "at least 10",
        ),
    ]
}

/// A topic full of events whose keys come in turns; `deed` says what the events of a key ask for.
fn fill(
    brokers: &str,
    partitions: i32,
    (events, keys): (u64, u64),
    deed: impl Fn(u64) -> Option<&'static str>,
) -> Topic {
    let topic = Topic::create(brokers, "delivery", partitions);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("linger.ms", "50")
        .set("batch.size", "1000000")
        .set("queue.buffering.max.kbytes", "262144")
        .create()
        .expect("a producer can be made");
    for id in 0..events {
        let key = id % keys;
        let deed = deed(key).map_or(String::new(), |deed| format!(",\"do\":\"{deed}\""));
        let value = format!(
            "{{\"id\":\"{id:032}\",\"type\":\"order.placed\",\"country\":\"CH\",\"amount\":{id},\
             \"note\":\"as long as an event of the other bench\"{deed}}}"
        );
        let key = format!("key {key}");
        let mut record: BaseRecord<'_, str, str> = BaseRecord::to(topic.name())
            .key(key.as_str())
            .payload(value.as_str());
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
    eprintln!("filled {} with {events} events", topic.name());
    topic
}

impl Course {
    /// Runs a host until every event that is well has settled. Returns how many of them it settled a second,
    /// from the first one to the last.
    fn run(&self, brokers: &str) -> f64 {
        let (topic, group) = (self.topic.name(), unique("delivery"));
        let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests/target/fussy.wasm");
        let config = format!(
            "plugins:\n  fussy: {{ path: {} }}\n\
             groups:\n  - id: {group}\n    routes: {{ {topic}: fussy }}\n    store: ./data\n{}",
            plugin.display(),
            self.group,
        );
        let host = Setup::new(brokers, &config).spawn();
        let asked = Instant::now();
        let settled = || {
            let (_, body) = host.get("/metrics").ok()?;
            let metrics = Metrics::parse(&body);
            metrics
                .outcomes(&group)
                .get("processed")
                .map(|of| *of as u64)
        };
        let mut began = None;
        loop {
            assert!(asked.elapsed() < PATIENCE, "{:?} events settled", settled());
            let (now, settled) = (Instant::now(), settled().unwrap_or(0));
            // From the first figure on, so that starting and joining the group do not count.
            let (since, before) = *began.get_or_insert((now, settled));
            if settled == 0 {
                began = None;
            } else if settled >= self.well {
                // What is given up on or waits is nobody's concern here.
                host.kill9();
                return (settled - before) as f64 / (now - since).as_secs_f64();
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }
}
