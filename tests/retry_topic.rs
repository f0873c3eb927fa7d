//! Retry by topic: nothing waits for the event, its attempts survive the host, and it comes back as what it
//! was. And eviction: what would hold its key and the commit too long goes there too.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::harness::host::Setup;
use crate::harness::kafka;
use crate::harness::main_flow::{assert_kept, origin, place_of, summary, with_sessions_of};
use crate::harness::topic::{Record, Stored, Topic, recent_ms};
use crate::harness::wait;
use crate::harness::witness::Witness;

const TIMEOUT: Duration = Duration::from_secs(90);

fn retry_topic(witness: &Witness) -> Topic {
    let name = format!("{}.{}.retry", witness.source.name(), witness.group);
    Topic::named(kafka::shared(), &name)
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("it is after 1970").as_millis() as u64
}

#[test]
fn an_event_in_the_retry_topic_holds_nothing_up_and_comes_back_with_its_own_place() {
    let witness = Witness::new("by-topic", 2);
    let (source, group) = (&witness.source, witness.group.as_str());
    let retry =
        "    retry: { mode: topic, attempts: 3, backoff: { initial: 1500ms, jitter: 0 } }\n";
    let setup = Setup::new(kafka::shared(), &witness.config(retry));
    source.produce(&[
        Record::new("a", r#"{"do":"retry","times":1,"after-ms":4000}"#)
            .partition(1)
            .header("kept", "as it was")
            .null_header("null")
            .timestamp_ms(recent_ms()),
        Record::new("a", "{}").partition(1),
    ]);
    let began_ms = now_ms();
    let host = setup.start();

    source.wait_for_no_lag(group, TIMEOUT);
    let retries = retry_topic(&witness);
    let copy = retries.read_all().into_iter().next();
    let copy = copy.expect("the event waits there");
    let told = |name: &str| copy.header(&format!("millrace.retry.{name}"));
    let due_ms: u64 = told("due-at")
        .and_then(|at| at.parse().ok())
        .expect("a time");
    assert!(due_ms >= began_ms + 4_000);
    assert_eq!(
        (told("attempt"), told("origin.offset")),
        (Some("2"), Some("0"))
    );
    assert_eq!(copy.header("kept"), Some("as it was"));
    wait::eventually("its second attempt", TIMEOUT, || {
        host.metrics().outcomes(group).get("processed") == Some(&2.0)
    });
    retries.wait_for_no_lag(group, TIMEOUT);

    host.metrics().assert_ledger_balanced(group);
    let exit = host.sigterm().expect_code(0);
    let summary = summary(&exit, group);
    assert_eq!((summary["processed"], summary["moved"]), (2, 1));
    let lines = witness.lines(&setup);
    let order: Vec<_> = lines.iter().map(place_of).collect();
    assert_eq!(
        order,
        [(1, 1), (1, 0)],
        "the key went on, and the event came back as it was"
    );
    let retried = &lines[1];
    assert_eq!(retried["topic"], source.name());
    assert_eq!(retried["attempts"], serde_json::json!([1, 2]));
    let gap_ms = retried["gaps_ms"][0].as_f64().expect("a number");
    assert!(gap_ms >= 4_000.0, "early: {gap_ms}");
    assert_eq!(witness.counted(), 2);
    assert_eq!(witness.dead_letters.read_all(), []);
}

#[test]
fn an_event_that_used_its_attempts_up_by_topic_is_a_dead_letter_of_its_first_place() {
    let witness = Witness::new("by-topic-dead", 2);
    let (source, group) = (&witness.source, witness.group.as_str());
    let retry = "    retry: { mode: topic, attempts: 3, backoff: { initial: 500ms } }\n";
    let setup = Setup::new(kafka::shared(), &witness.config(retry));
    source.produce(&[Record::new("b", r#"{"do":"retry"}"#)
        .partition(0)
        .header("kept", "as it was")]);
    let host = setup.start();

    wait::eventually("it is given up on", TIMEOUT, || {
        host.metrics().outcomes(group).get("dead") == Some(&1.0)
    });
    retry_topic(&witness).wait_for_no_lag(group, TIMEOUT);

    host.metrics().assert_ledger_balanced(group);
    let exit = host.sigterm().expect_code(0);
    assert_eq!(summary(&exit, group)["moved"], 2);
    let letters = witness.dead_letters.read_all();
    let [letter] = letters.as_slice() else {
        panic!("one dead letter, not {letters:?}")
    };
    assert_eq!(origin(letter), (0, 0));
    assert_eq!(
        letter.header("millrace.dlq.origin.topic"),
        Some(source.name())
    );
    assert_eq!(letter.header("millrace.dlq.attempts"), Some("3"));
    assert_kept(&source.read_all()[0], letter);
    assert!(
        letter
            .headers
            .iter()
            .all(|(name, _)| !name.starts_with("millrace.retry.")),
        "{letter:?}"
    );
}

#[test]
fn attempts_in_the_retry_topic_survive_kill_9() {
    let witness = Witness::new("survives", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    // Copies that a kill repeats are keys of their own to the breaker, and nothing succeeds here.
    let retry = "    breaker: { enabled: false }\n    \
        retry: { mode: topic, attempts: 4, backoff: { initial: 1s, factor: 1, jitter: 0 } }\n";
    let setup = Setup::new(
        kafka::shared(),
        &with_sessions_of(6_000, &witness.config(retry)),
    );
    source.produce(&[Record::new("a", r#"{"do":"retry"}"#)]);
    let retries = retry_topic(&witness);
    for copies in [1, 2] {
        let host = setup.start();
        wait::eventually("one more attempt", TIMEOUT, || {
            retries.exists() && retries.read_all().len() >= copies
        });
        host.kill9();
    }
    let host = setup.start();
    wait::eventually("the dead letter", TIMEOUT, || {
        !witness.dead_letters.read_all().is_empty()
    });
    retries.wait_for_no_lag(group, TIMEOUT);

    host.metrics().assert_ledger_balanced(group);
    host.sigterm().expect_code(0);
    let letters = witness.dead_letters.read_all();
    assert!(letters.iter().all(|letter| origin(letter) == (0, 0)));
    assert_eq!(letters[0].header("millrace.dlq.attempts"), Some("4"));
    let attempt_of = |copy: &Stored| -> u32 {
        let attempt = copy.header("millrace.retry.attempt");
        attempt.expect("it is there").parse().expect("a number")
    };
    let attempts: Vec<u32> = retries.read_all().iter().map(attempt_of).collect();
    // A kill before the commit lets the event begin once more beside its own copy. Neither of the two forgets an
    // attempt: each copy follows one of the attempt before it.
    let begun = attempts.iter().filter(|attempt| **attempt == 2).count();
    assert!((1..=3).contains(&begun), "two kills: {attempts:?}");
    for (at, attempt) in attempts.iter().enumerate() {
        let follows = *attempt == 2 || attempts[..at].contains(&(attempt - 1));
        assert!(follows, "attempt {attempt} out of nowhere: {attempts:?}");
    }
    assert_eq!(attempts.last(), Some(&4), "{attempts:?}");
}

#[test]
fn an_event_that_would_hold_the_commit_too_long_is_evicted_to_the_retry_topic() {
    let witness = Witness::new("evicted", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    let retry = "    retry: { max_park: 2s, topic: \"{topic}.{group}.retry\" }\n";
    let setup = Setup::new(kafka::shared(), &witness.config(retry));
    source.produce(&[
        Record::new("a", r#"{"do":"retry","times":1,"after-ms":8000}"#),
        Record::new("a", "{}"),
    ]);
    let host = setup.start();

    source.wait_for_no_lag(group, TIMEOUT);
    assert_eq!(witness.places(&setup), [(0, 1)], "its key went on");
    wait::eventually("its second attempt", TIMEOUT, || {
        host.metrics().outcomes(group).get("processed") == Some(&2.0)
    });

    host.metrics().assert_ledger_balanced(group);
    let exit = host.sigterm().expect_code(0);
    assert_eq!(summary(&exit, group)["moved"], 1);
    let lines = witness.lines(&setup);
    assert_eq!(lines[1]["attempts"], serde_json::json!([1, 2]));
    let gap_ms = lines[1]["gaps_ms"][0].as_f64().expect("a number");
    assert!(gap_ms >= 8_000.0, "early: {gap_ms}");
    assert_eq!(witness.dead_letters.read_all(), []);
}

#[test]
fn without_a_retry_topic_it_is_evicted_to_the_dead_letters() {
    let witness = Witness::new("evicted-dead", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    let setup = Setup::new(
        kafka::shared(),
        &witness.config("    retry: { max_park: 1s }\n"),
    );
    source.produce(&[Record::new("a", r#"{"do":"retry","after-ms":60000}"#)]);
    let host = setup.start();

    source.wait_for_no_lag(group, TIMEOUT);

    host.metrics().assert_ledger_balanced(group);
    host.sigterm().expect_code(0);
    let letters = witness.dead_letters.read_all();
    let [letter] = letters.as_slice() else {
        panic!("one dead letter, not {letters:?}")
    };
    let told = |name: &str| letter.header(&format!("millrace.dlq.{name}"));
    assert_eq!(
        (told("cause"), told("code")),
        (Some("evicted"), Some("asked-for"))
    );
    assert_eq!(told("attempts"), Some("1"));
}

#[test]
fn a_key_that_fails_for_ever_with_many_events_behind_it_never_stops_the_others() {
    const OF_BAD_KEY: usize = 2_000;
    const OTHERS: usize = 3_000;
    let witness = Witness::new("pressed", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    // The bad key alone would fill the budget many times.
    let retry = "    retry: { park_events: 200, topic: \"{topic}.{group}.retry\" }\n";
    let setup = Setup::new(kafka::shared(), &witness.config(retry));
    let bad = r#"{"do":"retry","after-ms":600000}"#;
    let mut records: Vec<_> = (0..OF_BAD_KEY).map(|_| Record::new("bad", bad)).collect();
    records.extend((0..OTHERS).map(|n| Record::new(format!("key {n}"), "{}")));
    source.produce(&records);
    let host = setup.start();

    wait::eventually("all the others", TIMEOUT, || {
        host.metrics().outcomes(group).get("processed") == Some(&(OTHERS as f64))
    });

    host.metrics().assert_ledger_balanced(group);
    host.sigterm().expect_code(0);
    assert_eq!(witness.dead_letters.read_all(), []);
    let moved = retry_topic(&witness).read_all().len();
    assert!(
        (OF_BAD_KEY - 200..=OF_BAD_KEY).contains(&moved),
        "{moved} were moved"
    );
}
