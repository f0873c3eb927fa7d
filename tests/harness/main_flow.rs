//! The main job, as several tests run it: one topic of sample events, the analytics plugin in one group and
//! the audit plugin in another, and what must be true of everything that they leave behind.
//!
//! What is expected is worked out from what was sent and from the topics themselves, never from what the
//! host says of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use super::host::{Exit, Host};
use super::samples::{self, Sent};
use super::topic::{Stored, Topic, unique};
use super::{kafka, wait};

/// A hundred thousand events settle in a few seconds on idle cores; a busy machine gets time.
pub(crate) const SETTLE_TIMEOUT: Duration = Duration::from_secs(90);

/// Where the analytics plugin writes. All tests share it, and tell their counts by the event time.
const COUNTS_TOPIC: &str = "analytics.counts";

/// Event time that one flow has to itself, in milliseconds: far more than its events take up.
const TIME_OF_A_FLOW_MS: i64 = 600_000;

/// A configuration whose groups miss a member soon after it was killed; the default of 45 s is for people.
/// The drain has to fit into a session.
pub(crate) fn with_sessions_of(session_ms: u32, config: &str) -> String {
    format!(
        "kafka:\n  brokers: {}\n  \
         properties: {{ session.timeout.ms: {session_ms}, heartbeat.interval.ms: 500 }}\n\
         drain_timeout: {}ms\n{config}",
        kafka::shared(),
        session_ms - 500,
    )
}

/// The file of a plugin as `make plugins` builds it.
pub(crate) fn plugin(name: &str) -> String {
    built(&format!("plugins/dist/{name}.wasm"))
}

/// The file of a plugin that only tests use.
pub(crate) fn guest(name: &str) -> String {
    built(&format!("tests/guests/target/{name}.wasm"))
}

fn built(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    assert!(
        path.exists(),
        "{} is missing: run `make plugins`",
        path.display()
    );
    path.to_str().expect("the path is text").to_owned()
}

/// One run of the main job, over as many hosts as the test likes.
#[derive(Debug)]
pub(crate) struct MainFlow {
    pub(crate) source: Topic,
    pub(crate) dead_letters: Topic,
    pub(crate) analytics: String,
    pub(crate) audit: String,
    counts: Topic,
    counts_from: BTreeMap<i32, i64>,
    start_ms: i64,
}

impl MainFlow {
    /// Makes the topics.
    pub(crate) fn new(hint: &str, partitions: i32) -> Self {
        static COUNTS: LazyLock<Topic> = LazyLock::new(|| {
            let counts = Topic::named(kafka::shared(), COUNTS_TOPIC);
            if counts.exists() {
                return counts;
            }
            Topic::create_with(kafka::shared(), COUNTS_TOPIC, 2, &[])
        });
        // From 2020 on; a broker that outlives the run has counts of earlier runs before `counts_from`.
        static NEXT_START: AtomicI64 = AtomicI64::new(2_650_000 * TIME_OF_A_FLOW_MS);
        let counts = COUNTS.clone();
        Self {
            source: Topic::create(kafka::shared(), hint, partitions),
            dead_letters: Topic::create(kafka::shared(), &format!("{hint}.dlq"), 1),
            analytics: unique(&format!("{hint}-analytics")),
            audit: unique(&format!("{hint}-audit")),
            counts_from: counts.end_offsets(),
            counts,
            start_ms: NEXT_START.fetch_add(TIME_OF_A_FLOW_MS, Ordering::Relaxed),
        }
    }

    /// The configuration, without the section `kafka`.
    pub(crate) fn config(&self) -> String {
        format!(
            r#"
plugins:
  analytics:
    path: {analytics_wasm}
    grants: [metrics, tally, "output:{COUNTS_TOPIC}"]
    tick: 500ms
  audit:
    path: {audit_wasm}
    grants: [journal]
    journal: {{ path: audit.log }}
groups:
  - id: {analytics}
    routes: {{ {source}: analytics }}
    dedup: {{ id: "json:/id", window: 24h }}
    dead_letter: {{ topic: {dead_letters} }}
    store: store/analytics
  - id: {audit}
    routes: {{ {source}: audit }}
    store: store/audit
"#,
            analytics_wasm = plugin("analytics"),
            audit_wasm = plugin("audit"),
            analytics = self.analytics,
            audit = self.audit,
            source = self.source.name(),
            dead_letters = self.dead_letters.name(),
        )
    }

    /// Sends this many sample events to the source.
    #[track_caller]
    pub(crate) fn produce(&self, count: u64, args: &[&str]) -> Sent {
        let (count, start) = (count.to_string(), self.start_ms.to_string());
        let own = ["--count", count.as_str(), "--start-ms", start.as_str()];
        samples::produce(&self.source, &[&own, args].concat())
    }

    /// The same at a rate of events a second, while the test goes on.
    pub(crate) fn produce_meanwhile(&self, count: u64, rate: u64) -> JoinHandle<Sent> {
        let (count, rate) = (count.to_string(), rate.to_string());
        let start = self.start_ms.to_string();
        let args = ["--count", &count, "--rate", &rate, "--start-ms", &start];
        samples::produce_meanwhile(&self.source, &args)
    }

    /// Both groups.
    pub(crate) fn groups(&self) -> [&str; 2] {
        [&self.analytics, &self.audit]
    }

    /// Waits until both groups have committed everything.
    #[track_caller]
    pub(crate) fn wait_until_settled(&self) {
        for group in self.groups() {
            self.source.wait_for_no_lag(group, SETTLE_TIMEOUT);
        }
    }

    /// Waits until a host says that a group has finished this many events, and returns how many it has.
    #[track_caller]
    pub(crate) fn wait_for_finished(&self, host: &Host, group: &str, events: u64) -> u64 {
        let what = format!("{events} events finished by {group}");
        wait::eventually_some(&what, SETTLE_TIMEOUT, || {
            let finished: f64 = host.metrics().outcomes(group).values().sum();
            if finished >= events as f64 {
                Ok(finished as u64)
            } else {
                Err(format!("{finished} were"))
            }
        })
    }

    /// Checks that both groups have committed exactly to the end of each partition.
    #[track_caller]
    pub(crate) fn assert_committed_to_the_end(&self) {
        let mut ends = self.source.end_offsets();
        // Nothing is committed for a partition that never held a record.
        ends.retain(|_, end| *end > 0);
        for group in self.groups() {
            assert_eq!(self.source.committed(group), ends, "{group}");
        }
    }

    /// Checks that the counts by type, over distinct emissions, are exactly those of what was sent.
    /// Returns how many emissions there were, and how many distinct ones.
    #[track_caller]
    pub(crate) fn assert_counts_exact(&self, sent: &Sent) -> (usize, usize) {
        let mut emissions: BTreeMap<String, Stored> = BTreeMap::new();
        let mut all = 0;
        for record in self.counts.read_from(&self.counts_from) {
            let start_ms = record.json()["window_start_ms"].as_i64().expect("a number");
            if !(self.start_ms..self.start_ms + TIME_OF_A_FLOW_MS).contains(&start_ms) {
                continue;
            }
            all += 1;
            let id = record.header("millrace.emission").expect("an emission id");
            let repeated = emissions.insert(id.to_owned(), record.clone());
            if let Some(first) = repeated {
                let same = (&first.key, &first.value) == (&record.key, &record.value);
                assert!(
                    same,
                    "emission {id} came with two contents: {first:?}, {record:?}"
                );
            }
        }
        let mut counted: BTreeMap<String, u64> = BTreeMap::new();
        for emission in emissions.values() {
            let count = emission.json();
            let event_type = count["event_type"].as_str().expect("it is text").to_owned();
            *counted.entry(event_type).or_default() += count["count"].as_u64().expect("a number");
        }
        assert_eq!(counted, sent.by_type, "counted, sent");
        (all, emissions.len())
    }

    /// Checks that the dead-letter topic holds exactly the malformed events, byte for byte and with what
    /// happened to them. Returns how many records there were, repeats included.
    #[track_caller]
    pub(crate) fn assert_dead_letters(&self, sent: &Sent) -> usize {
        let source = by_place(self.source.read_all());
        let bad = source
            .iter()
            .filter(|(_, record)| sent.is_bad(&record.value));
        let expected: BTreeSet<Place> = bad.map(|(place, _)| *place).collect();
        assert_eq!(
            expected.len() as u64,
            sent.bad,
            "malformed events in the source"
        );
        let dead_letters = self.dead_letters.read_all();
        let mut found = BTreeSet::new();
        for letter in &dead_letters {
            let place = origin(letter);
            let record = source.get(&place).expect("the origin exists");
            assert_kept(record, letter);
            self.assert_told(record, letter);
            found.insert(place);
        }
        let missing: Vec<_> = expected.difference(&found).collect();
        let surplus: Vec<_> = found.difference(&expected).collect();
        assert!(
            missing.is_empty() && surplus.is_empty(),
            "dead letters missing: {missing:?}, of sound events: {surplus:?}"
        );
        dead_letters.len()
    }

    /// Every header that says what happened.
    #[track_caller]
    fn assert_told(&self, record: &Stored, letter: &Stored) {
        let told = |name: &str| letter.header(&format!("millrace.dlq.{name}"));
        let origin_ms = record.timestamp_ms.map(|ms| ms.to_string());
        assert_eq!(told("origin.topic"), Some(self.source.name()));
        assert_eq!(told("origin.timestamp"), origin_ms.as_deref());
        for (name, value) in [
            ("version", "1"),
            ("group", self.analytics.as_str()),
            ("plugin", "analytics"),
            ("cause", "reject"),
            ("code", "malformed"),
            ("attempts", "1"),
        ] {
            assert_eq!(told(name), Some(value), "{name} of {letter:?}");
        }
        assert!(told("message").is_some_and(|message| !message.is_empty()));
        let digest = told("plugin.digest").expect("it is there");
        assert_eq!(digest.len(), 64);
        let signature = format!("{}:reject:malformed", &digest[..12]);
        assert_eq!(told("signature"), Some(signature.as_str()));
        let failed_ms = ["first-failed-at", "last-failed-at"].map(|name| {
            let at = told(name).expect("it is there");
            at.parse::<i64>().expect("it is a number")
        });
        assert!(record.timestamp_ms.is_some_and(|ms| ms <= failed_ms[0]));
        assert!(failed_ms[0] <= failed_ms[1]);
    }

    /// Checks that the journals together hold exactly one whole line for each record, saying what the
    /// record says. Returns how many lines there are.
    #[track_caller]
    pub(crate) fn assert_audited_once(&self, folders: &[&Path]) -> usize {
        let mut source = by_place(self.source.read_all());
        let files: Vec<PathBuf> = folders.iter().map(|f| f.join("audit.log")).collect();
        let mut lines = 0;
        for line in files.iter().flat_map(|file| journal_lines(file)) {
            let place = place_of(&line);
            let record = source.remove(&place);
            let record = record.unwrap_or_else(|| panic!("a second line for {place:?}: {line}"));
            let text = |bytes: &Option<Vec<u8>>| {
                let text = bytes.as_deref().map(String::from_utf8_lossy);
                text.map_or(Value::Null, |text| Value::from(text.into_owned()))
            };
            assert_eq!(line["topic"], self.source.name());
            assert_eq!(line["timestamp_ms"].as_i64(), record.timestamp_ms);
            assert_eq!(line["key"], text(&record.key));
            assert_eq!(line["value"], text(&record.value));
            lines += 1;
        }
        let first: Vec<_> = source.keys().take(5).collect();
        assert!(
            source.is_empty(),
            "{} records without a line, as {first:?}",
            source.len()
        );
        lines
    }
}

/// Partition and offset.
pub(crate) type Place = (i32, i64);

fn by_place(records: Vec<Stored>) -> BTreeMap<Place, Stored> {
    let place = |record: Stored| ((record.partition, record.offset), record);
    records.into_iter().map(place).collect()
}

/// Where a dead letter comes from.
#[track_caller]
pub(crate) fn origin(letter: &Stored) -> Place {
    let number = |name: &str| {
        let header = letter.header(&format!("millrace.dlq.origin.{name}"));
        header.unwrap_or_else(|| panic!("no origin.{name} in {letter:?}"))
    };
    let (partition, offset) = (number("partition").parse(), number("offset").parse());
    (partition.expect("a number"), offset.expect("a number"))
}

/// Checks that a dead letter is its record byte for byte, apart from the headers that the host adds.
#[track_caller]
pub(crate) fn assert_kept(record: &Stored, letter: &Stored) {
    assert_eq!(letter.key, record.key);
    assert_eq!(letter.value, record.value);
    assert_eq!(letter.timestamp_ms, record.timestamp_ms);
    let mut headers = letter.headers.clone();
    headers.retain(|(name, _)| !name.starts_with("millrace.dlq."));
    assert_eq!(headers, record.headers);
}

/// The lines of a journal, each a JSON object.
///
/// # Panics
/// When one is torn.
#[track_caller]
pub(crate) fn journal_lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    assert!(
        text.is_empty() || text.ends_with('\n'),
        "the last line is torn"
    );
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    text.lines().map(parse).collect()
}

/// Where the record of a journal line stood.
#[track_caller]
pub(crate) fn place_of(line: &Value) -> Place {
    let number = |name: &str| line[name].as_i64().expect("it is a number");
    (number("partition") as i32, number("offset"))
}

/// What a host said at its end about one group, and checks that it adds up and that the host had the time
/// to finish: on a disk that takes seconds for a sync it may not, and then counts wait in its store.
#[track_caller]
pub(crate) fn summary(exit: &Exit, group: &str) -> BTreeMap<String, u64> {
    let in_time = !exit
        .stderr
        .contains("not everything could be finished in time");
    assert!(in_time, "{}", exit.stderr);
    let said = exit.json();
    let groups = said["groups"].as_array().expect("a list of groups");
    let of_group = groups.iter().find(|each| each["group"] == group);
    let total = &of_group.unwrap_or_else(|| panic!("no {group} in {said}"))["total"];
    let total: BTreeMap<String, u64> = serde_json::from_value(total.clone()).expect("counts");
    let finished: u64 = total
        .iter()
        .filter(|(n, _)| *n != "polled")
        .map(|(_, n)| n)
        .sum();
    assert_eq!(total["polled"], finished, "{group}: {total:?}");
    total
}
