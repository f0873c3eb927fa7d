//! `millrace replay`: a range beside the live group, and that nothing of the live group is touched.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{TIMEOUT, command};
use crate::harness::host::{Exit, Setup};
use crate::harness::kafka;
use crate::harness::main_flow::guest;
use crate::harness::topic::{Record, Stored, Topic, unique};
use crate::harness::wait;
use crate::harness::witness::Witness;

/// One group that counts the events of each key in its state, and outputs the counts.
pub(super) struct Counting {
    pub(super) source: Topic,
    pub(super) group: String,
    dead_letters: Topic,
    /// What all keys of this test begin with; the topic of outputs is shared with others.
    pub(super) keys: String,
}

impl Counting {
    pub(super) fn new(hint: &str) -> (Self, Setup) {
        Self::over(hint, 1)
    }

    /// The same, of so many partitions.
    pub(super) fn over(hint: &str, partitions: i32) -> (Self, Setup) {
        let counting = Self {
            source: Topic::create(kafka::shared(), hint, partitions),
            group: unique(hint),
            dead_letters: Topic::create(kafka::shared(), &format!("{hint}.dlq"), 1),
            keys: unique(hint),
        };
        let config = format!(
            "plugins:\n  counter: {{ path: {}, grants: [state, \"output:counts\"] }}\n\
             groups:\n  - id: {}\n    routes: {{ {}: counter }}\n    store: store/live\n    \
             dead_letter: {{ topic: {} }}\n",
            guest("counter-state"),
            counting.group,
            counting.source.name(),
            counting.dead_letters.name(),
        );
        let setup = Setup::new(kafka::shared(), &config);
        (counting, setup)
    }

    /// Three keys in turn.
    pub(super) fn produce(&self, values: &[&str]) {
        let records: Vec<Record> = values
            .iter()
            .enumerate()
            .map(|(n, value)| Record::new(format!("{}-{}", self.keys, n % 3), *value))
            .collect();
        self.source.produce(&records);
    }

    pub(super) fn replay(&self, setup: &Setup, options: &[&str]) -> Exit {
        command(setup, &["replay"], &self.group, options)
    }

    /// Sends one more event of the first key, lets a host handle it, and says what its count became.
    #[track_caller]
    pub(super) fn counts_after(&self, setup: &Setup, value: &str) -> i64 {
        self.produce(&[value]);
        self.handle_all(setup);
        self.last_count(0)
    }

    /// Lets a host handle what there is.
    pub(super) fn handle_all(&self, setup: &Setup) {
        let host = setup.start();
        self.source.wait_for_no_lag(&self.group, TIMEOUT);
        host.sigterm().expect_code(0);
    }

    /// The last count of a key that has been sent.
    #[track_caller]
    pub(super) fn last_count(&self, key: usize) -> i64 {
        let key = format!("{}-{key}", self.keys);
        let of_key = self.outputs().into_iter();
        let of_key = of_key.filter(|record| record.key.as_deref() == Some(key.as_bytes()));
        let last = of_key.max_by_key(|record| record.offset);
        last.and_then(|record| record.json().as_i64())
            .expect("a count")
    }

    /// The outputs of this test that the live topic has.
    pub(super) fn outputs(&self) -> Vec<Stored> {
        let of_test = |record: &Stored| {
            let key = record.key.as_deref().unwrap_or_default();
            key.starts_with(self.keys.as_bytes())
        };
        let counts = Topic::named(kafka::shared(), "counts");
        counts.read_all().into_iter().filter(of_test).collect()
    }
}

/// The lines of a file that a replay has written.
pub(super) fn lines(setup: &Setup, file: &str) -> Vec<Value> {
    let path = setup.folder().join("store/live.replay").join(file);
    let text = fs::read_to_string(&path).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect()
}

#[test]
fn a_range_runs_beside_the_live_group_of_which_nothing_is_touched() {
    let (counting, setup) = Counting::new("aside");
    counting.produce(&["a", "b", "c", "a", "b", "c", "reject", "b", "c"]);
    // The last offset before the end is the marker's, which no reader ever sees.
    counting
        .source
        .produce_in_a_transaction(&format!("{}-0", counting.keys), &["last".to_owned()]);
    let live = setup.start();
    wait::eventually("everything handled", TIMEOUT, || {
        counting.source.committed(&counting.group).get(&0) == Some(&10)
    });
    let touched = || {
        let committed = counting.source.committed(&counting.group);
        let letters = counting.dead_letters.read_all().len();
        (committed, letters, counting.outputs().len())
    };
    let before = touched();
    assert_eq!(
        (before.1, before.2),
        (1, 9),
        "the live group has done its work"
    );

    let said = counting.replay(&setup, &["--from", "earliest"]);
    let said = said.expect_code(1).json();
    assert_eq!(said["complete"], true);
    let events = &said["events"];
    let counts = ["polled", "processed", "dead"].map(|name| events[name].as_u64());
    assert_eq!(counts, [Some(10), Some(9), Some(1)]);
    assert_eq!(
        (&said["outputs"], &said["dead_letters"]),
        (&json!({ "counts": 9 }), &json!(1))
    );
    let outputs = lines(&setup, "outputs/counts.jsonl");
    let mut of_first: Vec<&Value> = outputs
        .iter()
        .filter(|line| line["key"] == format!("{}-0", counting.keys))
        .map(|line| &line["value"])
        .collect();
    of_first.sort_by_key(|value| value.as_i64());
    assert_eq!(of_first, [1, 2, 3], "the side began with state of its own");
    let letters = lines(&setup, "dead-letters.jsonl");
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["value"], "reject");
    assert_eq!(touched(), before, "nothing of the live group was touched");

    let refused = counting.replay(&setup, &["--from", "earliest"]);
    let refused = refused.expect_code(2);
    assert!(refused.stderr.contains("--again"), "{}", refused.stderr);
    let part = ["--from", "1", "--to", "4", "--again"];
    let said = counting.replay(&setup, &part).expect_code(0).json();
    assert_eq!(said["events"]["polled"], 3);
    assert_eq!(lines(&setup, "outputs/counts.jsonl").len(), 3);
    let nothing = ["--from", "latest", "--again"];
    let said = counting.replay(&setup, &nothing).expect_code(0).json();
    assert_eq!(said["events"], Value::Null);
    assert_eq!(touched(), before);
    live.sigterm().expect_code(0);
}

#[test]
fn records_of_a_replay_go_to_topics_where_that_is_asked_for_and_requests_are_not_sent_unasked() {
    let (counting, setup) = Counting::new("elsewhere");
    counting.produce(&["a", "b", "reject"]);
    let outputs = Topic::create(kafka::shared(), "elsewhere.out", 1);
    let letters = Topic::create(kafka::shared(), "elsewhere.letters", 1);
    let send = format!("counts={}", outputs.name());
    let options = [
        "--from",
        "earliest",
        "--send",
        &send,
        "--dead-letters-to",
        letters.name(),
    ];
    counting.replay(&setup, &options).expect_code(1);
    assert_eq!(outputs.read_all().len(), 2);
    let letter = letters.read_all().remove(0);
    assert_eq!(
        letter.header("millrace.dlq.group"),
        Some(format!("{}.replay", counting.group).as_str())
    );
    assert!(lines(&setup, "outputs/counts.jsonl").is_empty());

    let config = fs::read_to_string(setup.config_file()).expect("it is there");
    let asks = config.replace("grants: [state", "grants: [\"https:example.org\", state");
    setup.write_config(&asks);
    let refused = counting.replay(&setup, &["--from", "earliest", "--again"]);
    let refused = refused.expect_code(2);
    assert!(
        refused.stderr.contains("--web refuse"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_replay_that_does_not_come_to_its_end_gives_up_at_its_time_and_says_what_is_left() {
    let witness = Witness::new("gives-up", 1);
    let setup = Setup::new(kafka::shared(), &witness.config(""));
    let replay = |options: &[&str]| command(&setup, &["replay"], &witness.group, options);
    let events = [
        ("a", "{}"),
        ("b", r#"{"do":"retry","after-ms":600000}"#),
        ("a", "{}"),
    ];
    let events = events.map(|(key, value)| Record::new(key, value));
    witness.source.produce(&events);
    let began = Instant::now();
    let said = replay(&["--from", "earliest", "--timeout", "5s"]);
    let said = said.expect_code(1).json();
    let took = began.elapsed();
    assert!(Duration::from_secs(5) < took && took < TIMEOUT, "{took:?}");
    assert_eq!(
        (&said["complete"], &said["offsets_left"]),
        (&json!(false), &json!(2)),
        "the event that waits holds the commit: {said}"
    );
    let why = said["ended_early"].as_str().expect("a reason");
    assert!(why.contains("--timeout"), "{why}");
    assert_eq!(said["events"]["processed"], 2, "{said}");
    assert_eq!(said["dead_letters"], 0, "it is not given up: {said}");
    assert_eq!(witness.source.committed(&witness.group), [].into());

    let swap = command(&setup, &["replay", "swap"], &witness.group, &[]).expect_code(2);
    let told = "has not come to its end";
    assert!(swap.stderr.contains(told), "{}", swap.stderr);
    let again = replay(&["--from", "earliest"]).expect_code(2);
    assert!(again.stderr.contains("--again"), "{}", again.stderr);
    let part = [
        "--from",
        "earliest",
        "--to",
        "1",
        "--again",
        "--timeout",
        "1m",
    ];
    let said = replay(&part).expect_code(0).json();
    assert_eq!(
        (&said["complete"], &said["events"]["polled"]),
        (&json!(true), &json!(1)),
        "it began at its start: {said}"
    );
    let misread = replay(&["--from", "earliest", "--timeout", "soon"]).expect_code(2);
    assert!(misread.stderr.contains("--timeout"), "{}", misread.stderr);
}
