//! A steady stream of numbered events, sent from outside while faults happen, and what the broker said about
//! each of them. It must not know what becomes of them.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};
use serde_json::json;

use super::topic::Topic;

/// How long the producer goes on trying. Longer than any outage of a test.
const DELIVERY_TIMEOUT_MS: &str = "300000";

/// After the last event was sent; an outage may be under way.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(120);

/// How often the rate is caught up with.
const PULSE: Duration = Duration::from_millis(10);

/// More events than any test waits for: the load flows until it is stopped.
pub(crate) const ENDLESS: u64 = 10_000_000;

/// What is sent.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) events: u64,
    /// Events a second; none sends as fast as the broker takes them.
    pub(crate) rate: Option<u64>,
    /// Events of one key stand in one partition.
    pub(crate) keys: u64,
    pub(crate) partitions: i32,
    /// Bytes that each value is made longer by.
    pub(crate) padding_bytes: usize,
    /// What the event with this number asks its handler to do; see the plugin `copy`.
    pub(crate) deed: fn(u64) -> Option<serde_json::Value>,
}

impl Plan {
    /// This many events of a thousand keys over these partitions, which ask for nothing.
    pub(crate) fn of(events: u64, partitions: i32) -> Self {
        Self {
            events,
            rate: None,
            keys: 1_000,
            partitions,
            padding_bytes: 0,
            deed: |_| None,
        }
    }

    /// At this many events a second.
    pub(crate) fn rate(mut self, rate: u64) -> Self {
        self.rate = Some(rate);
        self
    }

    /// With values that are longer by this much.
    pub(crate) fn padding_bytes(mut self, bytes: usize) -> Self {
        self.padding_bytes = bytes;
        self
    }

    /// Some of which ask for something.
    pub(crate) fn deed(mut self, deed: fn(u64) -> Option<serde_json::Value>) -> Self {
        self.deed = deed;
        self
    }

    fn value(&self, id: u64) -> Vec<u8> {
        // The word must never show in a log or a metric; the checker looks for it.
        let mut value = json!({
            "id": id,
            "seq": id / self.keys,
            "secret": "canary-7f3a",
            "padding": "x".repeat(self.padding_bytes),
        });
        if let (Some(deed), Some(value)) = ((self.deed)(id), value.as_object_mut()) {
            value.extend(deed.as_object().cloned().unwrap_or_default());
        }
        serde_json::to_vec(&value).expect("it is JSON")
    }
}

/// A stream that flows.
#[derive(Debug)]
pub(crate) struct Load {
    sender: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
}

impl Load {
    /// Begins to send. What the broker said about each event is written to `record` at the end.
    pub(crate) fn start(topic: &Topic, plan: Plan, record: PathBuf) -> Self {
        let (stop, acked) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let stream = Stream {
            topic: topic.clone(),
            plan,
            record,
            stop: Arc::clone(&stop),
            acked: Arc::clone(&acked),
        };
        Self {
            sender: thread::spawn(move || stream.send()),
            stop,
            acked,
        }
    }

    /// How many events the broker has acknowledged.
    pub(crate) fn acked(&self) -> u64 {
        self.acked.load(Ordering::Acquire)
    }

    /// Whether everything has been sent.
    pub(crate) fn is_finished(&self) -> bool {
        self.sender.is_finished()
    }

    /// Sends nothing more, and waits until the broker has said something about everything.
    #[track_caller]
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Release);
        self.finish();
    }

    /// Waits until everything has been sent, and the broker has said something about all of it.
    #[track_caller]
    pub(crate) fn finish(self) {
        self.sender.join().expect("the load was sent");
    }
}

struct Stream {
    topic: Topic,
    plan: Plan,
    record: PathBuf,
    stop: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
}

impl Stream {
    fn send(&self) {
        let answers: Answers = Arc::new(Mutex::new(Vec::new()));
        let producer: BaseProducer<Listening> = ClientConfig::new()
            .set("bootstrap.servers", self.topic.brokers())
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            .set("message.timeout.ms", DELIVERY_TIMEOUT_MS)
            .set("reconnect.backoff.ms", "20")
            .set("reconnect.backoff.max.ms", "200")
            .set("log_level", "0")
            .create_with_context(Listening {
                answers: Arc::clone(&answers),
                acked: Arc::clone(&self.acked),
            })
            .expect("a producer can be made");
        let began = Instant::now();
        let mut sent = 0;
        while sent < self.plan.events && !self.stop.load(Ordering::Acquire) {
            let due = self.plan.rate.map_or(self.plan.events, |rate| {
                let due = began.elapsed().as_millis() as u64 * rate / 1_000;
                due.min(self.plan.events)
            });
            while sent < due {
                self.send_one(&producer, sent);
                sent += 1;
            }
            producer.poll(PULSE);
        }
        // What is not reported on by then is written down as unknown.
        producer.flush(FLUSH_TIMEOUT).ok();
        let answers = answers.lock().expect("no answer panics");
        self.write(sent, &answers);
    }

    fn send_one(&self, producer: &BaseProducer<Listening>, id: u64) {
        let key = format!("key {}", id % self.plan.keys);
        let value = self.plan.value(id);
        let partition = (id % self.plan.keys % self.plan.partitions as u64) as i32;
        let mut record = BaseRecord::with_opaque_to(self.topic.name(), Box::new(id))
            .partition(partition)
            .key(key.as_bytes())
            .payload(value.as_slice());
        loop {
            match producer.send(record) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    producer.poll(PULSE);
                    record = again;
                }
                Err((error, _)) => panic!("event {id}: {error}"),
            }
        }
    }

    fn write(&self, sent: u64, answers: &[(u64, bool)]) {
        let mut states = vec!["unknown"; sent as usize];
        for (id, acked) in answers {
            states[*id as usize] = if *acked { "acked" } else { "failed" };
        }
        let mut file = BufWriter::new(File::create(&self.record).expect("it can be written"));
        for (id, state) in states.iter().enumerate() {
            let line = json!({ "id": id, "state": state });
            writeln!(file, "{line}").expect("it can be written");
        }
        file.flush().expect("it can be written");
    }
}

/// Number, and whether the broker has it.
type Answers = Arc<Mutex<Vec<(u64, bool)>>>;

struct Listening {
    answers: Answers,
    acked: Arc<AtomicU64>,
}

impl ClientContext for Listening {}

impl ProducerContext for Listening {
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, id: Box<u64>) {
        if result.is_ok() {
            self.acked.fetch_add(1, Ordering::Release);
        }
        let mut answers = self.answers.lock().expect("no answer panics");
        answers.push((*id, result.is_ok()));
    }
}
