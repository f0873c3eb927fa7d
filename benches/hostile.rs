//! Plugins that loop for ever, one for each core, beside a topic of 1 000 events a second that is well:
//!
//! - latency: from the moment an event is given to the test's producer to the moment when its copy, which the
//!   healthy plugin writes, is in the hands of the test's consumer. Both Kafka's own time and that of the test are in
//!   it, so the row without loops stands beside it;
//! - health: how long `/livez` takes to answer, asked every 5 ms;
//! - stalls: how long the host's threads `poll`, `settle` and `serve` were ready to run and did not, by the
//!   kernel's own account (`schedstat`), the most within two looks that are 5 ms apart.
//!
//! The loops are in the group of the healthy topic or in another one. All of their events must end as dead letters
//! of cause `deadline`. `MILLRACE_BENCH_SECONDS` (20) is how long each row takes; `MILLRACE_TEST_BROKERS` names a
//! cluster in place of a node of its own. Ends with 1 where a bound does not hold.

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

#[path = "hostile/watch.rs"]
mod watch;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use shared::harness::host::Setup;
use shared::harness::kafka::Speed;
use shared::harness::topic::{Record, Topic, unique};
use shared::harness::wait;
use shared::{cluster, leave, number};

const RATE: u64 = 1_000;

/// What must not be exceeded.
const P99_MAX: Duration = Duration::from_millis(50);
const STALL_MAX: Duration = Duration::from_millis(50);

/// For everything that ends by itself on a working machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Before anything is measured: connections and warm caches. Events flow, and are not counted.
const WARM_UP: Duration = Duration::from_secs(3);

/// Where the loops are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loops {
    None,
    InAnotherGroup,
    InTheSameGroup,
}

impl Loops {
    fn about(self) -> &'static str {
        match self {
            Self::None => "no loops",
            Self::InAnotherGroup => "loops in another group",
            Self::InTheSameGroup => "loops in the same group",
        }
    }
}

struct Figures {
    sent: usize,
    arrived: usize,
    latencies: Vec<Duration>,
    health_worst: Duration,
    stalls: watch::Stalls,
    looped: usize,
}

fn main() -> ExitCode {
    let seconds = number("MILLRACE_BENCH_SECONDS", 20);
    let (_node, brokers) = cluster(Speed::Latency);
    let cores = thread::available_parallelism().map_or(2, usize::from);
    let mut table = format!(
        "{cores} cores, {cores} loops, {RATE} healthy events a second for {seconds} s\n\n\
         | | p50 | p99 | max | slowest `/livez` | stall of poll | of settle | of serve | loops given up on | bounds |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n"
    );
    // A broker that was started a moment ago compiles itself while it serves.
    Course::new(&brokers, Loops::None, cores).run(WARM_UP);
    let mut held = true;
    for loops in [Loops::None, Loops::InAnotherGroup, Loops::InTheSameGroup] {
        let figures = Course::new(&brokers, loops, cores).run(Duration::from_secs(seconds));
        let (row, holds) = row(loops, figures);
        eprintln!("{row}");
        table.push_str(&row);
        held &= holds || loops == Loops::None;
    }
    leave("hostile", &table);
    if held {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn row(loops: Loops, mut figures: Figures) -> (String, bool) {
    figures.latencies.sort_unstable();
    let at = |share: f64| {
        let last = figures.latencies.len().saturating_sub(1);
        let at = (last as f64 * share) as usize;
        figures.latencies.get(at).copied().unwrap_or_default()
    };
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1_000.0);
    let (p99, stalls) = (at(0.99), &figures.stalls);
    let worst = stalls.poll.max(stalls.serve).max(figures.health_worst);
    let mut broken = Vec::new();
    if p99 > P99_MAX {
        broken.push("p99".to_owned());
    }
    if worst > STALL_MAX {
        broken.push("stall".to_owned());
    }
    if figures.arrived < figures.sent {
        broken.push(format!("{} of {} arrived", figures.arrived, figures.sent));
    }
    if loops != Loops::None && figures.looped == 0 {
        broken.push("no loop was ended".to_owned());
    }
    let bounds = if broken.is_empty() {
        "held".to_owned()
    } else {
        format!("MISSED: {}", broken.join(", "))
    };
    let row = format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {bounds} |\n",
        loops.about(),
        ms(at(0.5)),
        ms(p99),
        ms(at(1.0)),
        ms(figures.health_worst),
        ms(stalls.poll),
        ms(stalls.settle),
        ms(stalls.serve),
        figures.looped,
    );
    (row, broken.is_empty())
}

/// One row: a host and its topics.
struct Course {
    loops: Loops,
    setup: Setup,
    healthy: Topic,
    copies: Topic,
    hostile: Vec<Topic>,
    letters: Topic,
}

impl Course {
    fn new(brokers: &str, loops: Loops, cores: usize) -> Self {
        let topic = |hint: &str| Topic::create(brokers, hint, 1);
        let (healthy, copies, letters) = (topic("healthy"), topic("copies"), topic("letters"));
        let count = if loops == Loops::None { 0 } else { cores };
        let hostile: Vec<Topic> = (0..count).map(|_| topic("hostile")).collect();
        let component = |name: &str| {
            let top = env!("CARGO_MANIFEST_DIR");
            format!("{top}/tests/guests/target/{name}.wasm")
        };
        let mut plugins = format!(
            "  copy:\n    path: {}\n    grants: [config, \"output:{out}\"]\n    \
             config: {{ output: {out}, host: a }}\n",
            component("copy"),
            out = copies.name(),
        );
        let mut routes = String::new();
        for (at, topic) in hostile.iter().enumerate() {
            plugins.push_str(&format!(
                "  loop-{at}:\n    path: {}\n    grants: [logging, config, metrics, state, tally, journal]\n    \
                 journal: {{ path: loop-{at}.journal }}\n",
                component("hostile"),
            ));
            routes.push_str(&format!(", {}: loop-{at}", topic.name()));
        }
        let group = |routes: &str| {
            let id = unique("group");
            format!(
                "  - id: {id}\n    routes: {{ {routes} }}\n    dead_letter: {{ topic: {} }}\n    \
                 store: store/{id}\n    retry: {{ attempts: 1 }}\n",
                letters.name(),
            )
        };
        let well = format!("{}: copy", healthy.name());
        let groups = match loops {
            Loops::None => group(&well),
            Loops::InAnotherGroup => group(&well) + &group(routes.trim_start_matches(", ")),
            Loops::InTheSameGroup => group(&(well + &routes)),
        };
        let setup = Setup::new(brokers, &format!("plugins:\n{plugins}groups:\n{groups}"));
        Self {
            loops,
            setup,
            healthy,
            copies,
            hostile,
            letters,
        }
    }

    fn run(&self, time: Duration) -> Figures {
        let host = self.setup.start();
        // One second each; more than can be done in the time, and every one of another key.
        let loops: Vec<Record> = (0..(WARM_UP + time).as_secs() + 2)
            .map(|key| Record::new(format!("{key}"), r#"{"do":"loop"}"#))
            .collect();
        for topic in &self.hostile {
            topic.produce(&loops);
        }
        if self.loops != Loops::None {
            wait::eventually("a loop that was ended", PATIENCE, || {
                host.metrics().sum("millrace_plugin_traps_total", &[]) > 0.0
            });
        }
        let stop = AtomicBool::new(false);
        let letters_before = self.letters.end_offsets()[&0];
        let mut figures = thread::scope(|scope| {
            let health = scope.spawn(|| watch::health(&host, &stop));
            let stalls = scope.spawn(|| watch::stalls(host.pid(), &stop));
            let flow = Flow::new(&self.healthy, &self.copies);
            let (sent, latencies) = flow.run(time);
            stop.store(true, Ordering::Release);
            Figures {
                sent,
                arrived: latencies.len(),
                latencies,
                health_worst: health.join().expect("health was watched"),
                stalls: stalls.join().expect("threads were watched"),
                looped: 0,
            }
        });
        figures.looped = self.looped_since(letters_before);
        host.kill9();
        figures
    }

    /// Dead letters since then, each of which must say that it ran past its deadline.
    fn looped_since(&self, letters_before: i64) -> usize {
        let letters = self.letters.read_from(&[(0, letters_before)].into());
        for letter in &letters {
            assert_eq!(letter.header("millrace.dlq.cause"), Some("deadline"));
        }
        letters.len()
    }
}

/// Events that flow, and their copies.
struct Flow {
    from: Topic,
    reader: BaseConsumer,
}

impl Flow {
    /// The reader begins at the end of what is there.
    fn new(from: &Topic, to: &Topic) -> Self {
        let reader: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", from.brokers())
            .set("group.id", "unused: nothing is committed")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "10")
            .create()
            .expect("a consumer can be made");
        let mut assignment = TopicPartitionList::new();
        let end = to.end_offsets()[&0];
        assignment
            .add_partition_offset(to.name(), 0, Offset::Offset(end))
            .expect("the offset is valid");
        reader.assign(&assignment).expect("it can be assigned");
        Self {
            from: from.clone(),
            reader,
        }
    }

    /// Sends at the rate, and waits for every copy. Returns how many were sent after the warm-up, and how long each of
    /// those took.
    fn run(self, time: Duration) -> (usize, Vec<Duration>) {
        let warm = (WARM_UP.as_secs() * RATE) as usize;
        let events = warm + (time.as_secs() * RATE) as usize;
        let sent_at: Arc<Vec<OnceLock<Instant>>> =
            Arc::new((0..events).map(|_| OnceLock::new()).collect());
        let sender = thread::spawn({
            let (from, sent_at) = (self.from.clone(), Arc::clone(&sent_at));
            move || send(&from, &sent_at)
        });
        let mut latencies = Vec::with_capacity(events);
        let mut arrived = 0;
        let until = Instant::now() + WARM_UP + time + PATIENCE;
        while arrived < events && Instant::now() < until {
            let Some(message) = self.reader.poll(Duration::from_millis(100)) else {
                continue;
            };
            let now = Instant::now();
            let message = message.expect("the copies can be read");
            let copy: serde_json::Value =
                serde_json::from_slice(message.payload().expect("it has a value")).expect("JSON");
            let id = copy["id"].as_u64().expect("a number") as usize;
            arrived += 1;
            if id >= warm {
                latencies.push(now - *sent_at[id].get().expect("it was sent"));
            }
        }
        sender.join().expect("everything was sent");
        (events - warm, latencies)
    }
}

fn send(to: &Topic, sent_at: &[OnceLock<Instant>]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", to.brokers())
        .set("linger.ms", "0")
        .create()
        .expect("a producer can be made");
    let client = producer.client();
    client
        .fetch_metadata(Some(to.name()), PATIENCE)
        .expect("the broker answers");
    let began = Instant::now();
    for (id, at) in sent_at.iter().enumerate() {
        let due = Duration::from_micros(id as u64 * 1_000_000 / RATE);
        while began.elapsed() < due {
            producer.poll(due.saturating_sub(began.elapsed()));
        }
        let (key, value) = (format!("{}", id % 100), format!("{{\"id\":{id}}}"));
        at.set(Instant::now()).expect("it is sent once");
        let record = BaseRecord::to(to.name()).key(&key).payload(&value);
        producer
            .send(record)
            .map_err(|(error, _)| error)
            .expect("the queue has room");
    }
    producer
        .flush(PATIENCE)
        .expect("everything is acknowledged");
}
