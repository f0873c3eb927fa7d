//! Dead letters by the time at which they were given up: found, put back, and removed.

use serde_json::{Value, json};

use super::{Graveyard, ask, number, refused};
use crate::harness::host::command;
use crate::harness::kafka;
use crate::harness::topic::{Record, recent_ms, rfc3339};

const HOUR_MS: i64 = 3_600_000;

const DAY_MS: i64 = 24 * HOUR_MS;

/// The letter of an event that was given up at this time.
fn given_up(yard: &Graveyard, number: usize, at_ms: i64) -> Record {
    yard.letter_of(number, at_ms, ["reject", "no-price", "no price", ""])
}

/// The numbers of the events of the letters that are listed.
fn listed(said: &Value) -> Vec<u64> {
    let letters = said["letters"].as_array().expect("a list").iter();
    let offset = |letter: &Value| letter["origin"]["offset"].as_u64().expect("an offset");
    let mut numbers: Vec<u64> = letters.map(offset).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn every_command_means_those_that_were_given_up_from_one_time_to_before_another() {
    let yard = Graveyard::new("between", 3);
    let now_ms = recent_ms();
    // The first ten hours ago, the last an hour ago.
    let at_ms = |number: i64| now_ms - (10 - number) * HOUR_MS;
    let mut letters: Vec<Record> = (0..10)
        .map(|number| given_up(&yard, number, at_ms(number as i64)))
        .collect();
    // One that says nothing of itself counts by the time of its record.
    letters.push(Record::new("mute", "{}").timestamp_ms(now_ms - HOUR_MS / 2));
    yard.letters.produce(&letters);

    let (since, until) = (rfc3339(at_ms(3)), rfc3339(at_ms(6)));
    let between = ["--since", &since, "--until", &until];
    let said = ask(&[&["list", yard.name()], &between[..]].concat());
    assert_eq!(said["matched"], 3);
    assert_eq!(listed(&said), [3, 4, 5], "from the one to before the other");
    let said = ask(&["list", yard.name(), "--until", "9h", "--cause", "reject"]);
    assert_eq!(
        listed(&said),
        [0, 1],
        "nine hours ago, and a minute, is before"
    );
    let said = ask(&["list", yard.name(), "--since", "150m"]);
    assert_eq!(said["matched"], 3, "two, and the one that is mute: {said}");
    let said = ask(&["list", yard.name(), "--since", "45m"]);
    assert_eq!(said["matched"], 1, "{said}");

    let clusters = ask(&[&["clusters", yard.name()], &between[..]].concat());
    let clusters = clusters["clusters"].as_array().expect("a list");
    assert_eq!(clusters.len(), 1, "{clusters:?}");
    assert_eq!(clusters[0]["count"], 3);

    let redrive = [&["redrive", yard.name()], &between[..]].concat();
    let dry = ask(&[&redrive[..], &["--dry-run"]].concat());
    assert_eq!((&dry["matched"], &dry["redriven"]), (&json!(3), &json!(3)));
    assert_eq!(yard.source.read_all(), [], "a dry run writes nothing");
    assert_eq!(ask(&redrive)["redriven"], 3);
    let mut back: Vec<u64> = yard.source.read_all().iter().map(number).collect();
    back.sort_unstable();
    assert_eq!(back, [3, 4, 5]);
    // Those that are open around them, by the same words.
    let open = ask(&[
        "list",
        yard.name(),
        "--open",
        "--since",
        &rfc3339(at_ms(2)),
        "--until",
        "3h",
    ]);
    assert_eq!(listed(&open), [2, 6, 7]);

    for words in [["--since", "yesterday"], ["--until", "25:00"]] {
        let said = refused(&[&["list", yard.name()], &words[..]].concat());
        assert!(
            said.contains("or how long ago it was, such as 2h"),
            "{said}"
        );
    }
}

#[test]
fn what_is_purged_by_time_lies_before_the_first_that_was_given_up_then_or_later() {
    let yard = Graveyard::new("aged", 3);
    let now_ms = recent_ms();
    let letter = |number: usize, partition: i32, days: i64| {
        given_up(&yard, number, now_ms - days * DAY_MS).partition(partition)
    };
    yard.letters.produce(&[
        letter(0, 0, 40),
        letter(1, 0, 35),
        letter(2, 0, 20),
        // Older than what is asked for, and behind one that is not.
        letter(3, 0, 36),
        letter(4, 1, 50),
        letter(5, 1, 45),
    ]);
    let left = || {
        let mut left: Vec<u64> = yard.letters.read_all().iter().map(number).collect();
        left.sort_unstable();
        left
    };
    let put_back = format!("{}/1/0", yard.name());
    assert_eq!(ask(&["redrive", &put_back])["redriven"], 1);

    let purge = ["dlq", "purge", yard.name(), "--before-time", "30d"];
    let asked = command(&[&purge[..], &["--brokers", kafka::shared()]].concat()).expect_code(1);
    for told in [
        "4 would be removed, 3 of them never put back",
        "partition 0: offsets 0 to before 2, 2 letters",
        "partition 1: offsets 0 to before 2, 2 letters",
    ] {
        assert!(asked.stdout.contains(told), "{told}: {}", asked.stdout);
    }
    assert!(asked.stderr.contains("--yes"), "{}", asked.stderr);
    assert_eq!(left(), [0, 1, 2, 3, 4, 5], "nothing was removed");

    let purge = |before: &str| ask(&["purge", yard.name(), "--before-time", before, "--yes"]);
    let done = purge("30d");
    let counts = ["letters", "not_redriven"].map(|name| done[name].as_u64());
    assert_eq!(
        (counts, &done["removed"]),
        ([Some(4), Some(3)], &json!(true))
    );
    assert_eq!(left(), [2, 3]);
    assert_eq!(purge("30d")["letters"], 0, "and a second time nothing");

    // One that was given up at that very time stays, with all behind it.
    let at_ms = now_ms - 20 * DAY_MS;
    assert_eq!(purge(&rfc3339(at_ms))["letters"], 0);
    assert_eq!(left(), [2, 3]);
    assert_eq!(purge(&rfc3339(at_ms + 1))["letters"], 2);
    assert_eq!(left(), Vec::<u64>::new());
}
