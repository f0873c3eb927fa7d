//! A plugin that loops, eats memory or traps costs its own bad events, and nobody else anything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::harness::host::{Host, Setup};
use crate::harness::kafka;
use crate::harness::main_flow::{self, Place, assert_kept, journal_lines, origin, place_of};
use crate::harness::topic::{Record, Topic, unique};
use crate::harness::wait;
use crate::harness::witness::Witness;
use crate::harness::{samples, samples::Sent};

const TIMEOUT: Duration = Duration::from_secs(90);

/// What bad events do, and what they are given up for.
const DEEDS: [(&str, &str); 3] = [
    ("loop", "deadline"),
    ("eat-memory", "memory"),
    ("trap", "trap"),
];

/// Bad events of each kind.
const BAD_OF_EACH: usize = 3;

/// Good events before each bad one, so that they share its batch.
const GOOD_BETWEEN: usize = 40;

/// With three attempts and these waits, a bad event fails over three seconds, and holds the commit of its
/// partition back meanwhile.
const RETRY: &str = "    retry: { attempts: 3, backoff: { initial: 1s, factor: 2, jitter: 0 } }\n";

/// More than one instance may take, and far less than what the bad events would take if they could.
const MEMORY_MAX_BYTES: u64 = 700 << 20;

/// The neighbour, and what is true of it.
struct Neighbour {
    source: Topic,
    group: String,
    sent: Sent,
}

impl Neighbour {
    /// Sends to the neighbour while the other plugin fails, and waits until all of it has settled. What
    /// it needs from the host has to be there meanwhile.
    fn settles_while_the_other_fails(&mut self, host: &Host, rogue: &Witness) {
        wait::eventually("a first failure", TIMEOUT, || failures(host, rogue) > 0.0);
        let began = Instant::now();
        self.sent = samples::produce(&self.source, &["--count", "5000"]);
        self.source.wait_for_no_lag(&self.group, TIMEOUT);
        let (took, lag) = (began.elapsed(), rogue.source.lag(&rogue.group));
        assert!(lag > 0, "the other plugin must still be failing");
        assert_eq!(host.get("/livez").expect("it is served").0, 200);
        eprintln!(
            "isolation: {} events of the neighbour settled {took:.1?} after the first was sent; the other \
             topic was {lag} behind, after {} failed calls",
            self.sent.total,
            failures(host, rogue),
        );
    }

    fn assert_undisturbed(&self, setup: &Setup, dead_letters: &Topic) {
        let lines = journal_lines(&setup.folder().join("audit.log"));
        let places: BTreeSet<Place> = lines.iter().map(place_of).collect();
        assert_eq!(lines.len() as u64, self.sent.total, "each event has a line");
        assert_eq!(places.len(), lines.len(), "and only one");
        let letters = dead_letters.read_all();
        let of_neighbour = |letter: &&_| topic_of(letter) == self.source.name();
        assert_eq!(letters.iter().filter(of_neighbour).count(), 0);
    }
}

fn topic_of(letter: &crate::harness::topic::Stored) -> &str {
    letter
        .header("millrace.dlq.origin.topic")
        .expect("it is there")
}

fn failures(host: &Host, rogue: &Witness) -> f64 {
    let labels = [("group", rogue.group.as_str()), ("plugin", "witness")];
    host.metrics().sum("millrace_plugin_traps_total", &labels)
}

fn audit() -> String {
    format!(
        "\n  audit:\n    path: {}\n    grants: [journal]\n    journal: {{ path: audit.log }}",
        main_flow::plugin("audit")
    )
}

/// Good events with bad ones between them, each of a key of its own. Returns the places of the good ones,
/// and of the bad ones with what they are given up for.
fn produce_mixture(topic: &Topic) -> (Vec<Place>, BTreeMap<Place, &'static str>) {
    let mut records = Vec::new();
    let mut causes = Vec::new();
    for (deed, cause) in DEEDS.iter().cycle().take(DEEDS.len() * BAD_OF_EACH) {
        for _ in 0..GOOD_BETWEEN {
            records.push(Record::new(format!("key {}", records.len()), "{}"));
            causes.push(None);
        }
        let bad = Record::new(
            format!("key {}", records.len()),
            format!(r#"{{"do":"{deed}"}}"#),
        );
        records.push(bad.header("kept", "as it was"));
        causes.push(Some(*cause));
    }
    let (mut good, mut bad) = (Vec::new(), BTreeMap::new());
    for (place, cause) in topic.produce(&records).into_iter().zip(causes) {
        match cause {
            Some(cause) => drop(bad.insert(place, cause)),
            None => good.push(place),
        }
    }
    good.sort_unstable();
    (good, bad)
}

fn assert_only_bad_events_paid(
    rogue: &Witness,
    setup: &Setup,
    good: &[Place],
    bad: &BTreeMap<Place, &str>,
) {
    assert_eq!(rogue.places(setup), good, "each good event has one line");
    assert_eq!(rogue.counted(), good.len() as i64, "and was counted once");
    let source = rogue.source.read_all();
    let mut causes = BTreeMap::new();
    for letter in &rogue.dead_letters.read_all() {
        let place = origin(letter);
        let record = source.iter().find(|r| (r.partition, r.offset) == place);
        assert_kept(record.expect("the origin exists"), letter);
        assert_eq!(letter.header("millrace.dlq.attempts"), Some("3"));
        let cause = letter
            .header("millrace.dlq.cause")
            .expect("it is there")
            .to_owned();
        assert_eq!(
            causes.insert(place, cause),
            None,
            "one dead letter for {place:?}"
        );
    }
    let expected = bad
        .iter()
        .map(|(place, cause)| (*place, (*cause).to_owned()))
        .collect();
    assert_eq!(causes, expected);
}

fn check(rogue: &Witness, neighbour: &mut Neighbour, config: &str, neighbour_letters: &Topic) {
    let setup = Setup::new(kafka::shared(), config);
    let (good, bad) = produce_mixture(&rogue.source);
    let host = setup.start();

    neighbour.settles_while_the_other_fails(&host, rogue);

    rogue.source.wait_for_no_lag(&rogue.group, TIMEOUT);
    for group in [&rogue.group, &neighbour.group] {
        host.metrics().assert_ledger_balanced(group);
    }
    let peak = host.peak_memory_bytes();
    assert!(peak < MEMORY_MAX_BYTES, "the host took {} MiB", peak >> 20);
    host.sigterm().expect_code(0);
    neighbour.assert_undisturbed(&setup, neighbour_letters);
    assert_only_bad_events_paid(rogue, &setup, &good, &bad);
    eprintln!(
        "isolation: {} good events once, {} bad ones dead-lettered with their causes; the host took {} MiB \
         at most",
        good.len(),
        bad.len(),
        peak >> 20,
    );
}

#[test]
fn a_plugin_that_loops_eats_memory_and_traps_does_not_disturb_another_group() {
    let rogue = Witness::new("rogue", 2);
    let mut neighbour = Neighbour {
        source: Topic::create(kafka::shared(), "neighbour", 2),
        group: unique("neighbour"),
        sent: Sent::default(),
    };
    let letters = Topic::named(kafka::shared(), &format!("{}.dlq", neighbour.group));
    let config = format!(
        "plugins:{}{}\ngroups:{}  - id: {}\n    routes: {{ {}: audit }}\n    store: store/audit\n",
        rogue.plugin(),
        audit(),
        rogue.group("", RETRY),
        neighbour.group,
        neighbour.source.name(),
    );
    check(&rogue, &mut neighbour, &config, &letters);
}

#[test]
fn a_plugin_that_loops_eats_memory_and_traps_does_not_disturb_another_topic_of_its_group() {
    let rogue = Witness::new("rogue-beside", 2);
    let mut neighbour = Neighbour {
        source: Topic::create(kafka::shared(), "neighbour-beside", 2),
        group: rogue.group.clone(),
        sent: Sent::default(),
    };
    let routes = format!(", {}: audit", neighbour.source.name());
    let config = format!(
        "plugins:{}{}\ngroups:{}",
        rogue.plugin(),
        audit(),
        rogue.group(&routes, RETRY)
    );
    let letters = rogue.dead_letters.clone();
    check(&rogue, &mut neighbour, &config, &letters);
}
