//! `millrace pause` and `millrace resume`, as somebody types them.

use serde_json::{Value, json};

use super::{Copying, TIMEOUT};
use crate::harness::host::{Exit, Host, command};
use crate::harness::wait;

/// Types `pause` or `resume` for this host.
fn typed(host: &Host, words: &[&str]) -> Exit {
    let admin = host.admin().to_string();
    command(&[words, &["--admin", &admin]].concat())
}

/// The same, with its answer for programs.
#[track_caller]
fn answer(host: &Host, words: &[&str]) -> Value {
    let words = [words, &["--output", "json"]].concat();
    typed(host, &words).expect_code(0).json()
}

#[test]
fn what_is_paused_on_the_command_line_waits_until_it_is_resumed_there() {
    let mut copying = Copying::new("typed");
    let (_setup, host) = copying.start("");
    let (group, topic) = (copying.group.clone(), copying.source.name().to_owned());
    let of_topic = ["--group", &group, "--topic", &topic];
    let of_partition = [&of_topic[..], &["--partition", "0"]].concat();
    let of_key = [&of_topic[..], &["--key", "k1"]].concat();
    let of_bytes = [&of_topic[..], &["--key-base64", "azE="]].concat();
    let in_group = ["--group", &group, "--plugin", "copier"];
    // What is paused and how it is resumed, and of forty events how many go by.
    for (paused, resumed, what, flows) in [
        (
            &["--group", &group][..],
            &["--group", &group][..],
            "group",
            0,
        ),
        (&of_topic, &of_topic, "topic", 0),
        (&of_partition, &of_partition, "partition", 20),
        (&of_key, &of_bytes, "key", 30),
        (&["--plugin", "copier"], &in_group, "plugin", 0),
    ] {
        let said = answer(&host, &[&["pause"], paused].concat());
        assert_eq!(said[0]["what"], what, "{said}");
        assert_eq!(answer(&host, &["pause", "--list"]), said);
        let before = copying.copies_of(|_, _| true);
        copying.produce(5);
        wait::eventually_some("what is not paused", TIMEOUT, || {
            // The other partition, and the other keys: all but what waits is copied.
            match copying.copies_of(|_, _| true) - before {
                copied if copied == flows => Ok(()),
                copied => Err(copied),
            }
        });
        let waits = if what == "partition" { 1 } else { 2 };
        let lag = if what == "key" { 38 } else { waits * 20 };
        copying.wait_until_paused(&host, waits as usize, lag);
        assert_eq!(copying.copies_of(|_, _| true) - before, flows, "{what}");

        assert_eq!(answer(&host, &[&["resume"], resumed].concat()), json!([]));
        copying.assert_all_copied(&host);
    }
    host.sigterm().expect_code(0);
}

#[test]
fn what_is_paused_is_listed_for_people_and_what_cannot_be_is_told_with_what_to_do() {
    let copying = Copying::new("listed");
    let (_setup, host) = copying.start("");
    let (group, topic) = (copying.group.as_str(), copying.source.name());
    let list = || typed(&host, &["pause", "--list"]).expect_code(0).stdout;
    assert_eq!(list(), "nothing is paused\n");
    typed(&host, &["pause", "--plugin", "copier"]).expect_code(0);
    let of_key = ["--group", group, "--topic", topic, "--key", "k1"];
    let told = typed(&host, &[&["pause"], &of_key[..]].concat()).expect_code(0);
    for (line, waits) in told
        .stdout
        .lines()
        .skip(1)
        .zip(["plugin copier".to_owned(), format!("topic {topic}, key k1")])
    {
        assert!(
            line.contains(group) && line.trim_end().ends_with(&waits),
            "{told:?}"
        );
    }
    assert_eq!(told.stdout.lines().count(), 3, "{told:?}");
    assert_eq!(list().lines().count(), 3);

    for (words, part) in [
        (
            &["pause", "--group", "nobody"][..],
            "the configuration has: ",
        ),
        (&["pause", "--plugin", "other"], "no group has plugin other"),
        (
            &["pause", "--group", group, "--plugin", "other"],
            "its routes lead to copier",
        ),
        (
            &["pause", "--group", group, "--topic", "other"],
            "no route for topic other",
        ),
        (&["resume", "--group", group], "the whole group of group"),
        (&["resume", "--plugin", "other"], "paused in no group"),
        (&["pause"], "say what to pause"),
        (&["resume"], "say what to resume"),
    ] {
        let exit = typed(&host, words).expect_code(1);
        assert!(exit.stderr.contains(part), "{words:?}: {}", exit.stderr);
    }
    let misread = typed(&host, &["pause", "--group", group, "--partition", "1"]).expect_code(2);
    assert!(misread.stderr.contains("--topic"), "{}", misread.stderr);
    assert_eq!(
        list().lines().count(),
        3,
        "nothing of that has changed anything"
    );
    host.sigterm().expect_code(0);
}
