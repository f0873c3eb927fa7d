//! Routes by pattern, on topics that are there and on topics that appear.

use super::{Copiers, TIMEOUT, all_of};
use crate::harness::main_flow::summary;
use crate::harness::topic::{Record, Topic};
use crate::harness::topic_admin;
use crate::harness::wait;

fn events(range: std::ops::Range<usize>, partitions: usize) -> Vec<Record> {
    range
        .map(|n| {
            let value = match n % 40 {
                7 => r#"{"do":"retry","times":1}"#,
                _ => "{}",
            };
            Record::new(format!("k{}", n % 100), value).partition((n % partitions) as i32)
        })
        .collect()
}

#[test]
fn a_topic_goes_by_its_name_else_by_the_narrowest_pattern_and_what_the_group_writes_is_not_read() {
    let copiers = Copiers::new("precedence", 1);
    let topics = ["eu", "special", "eu.created"].map(|name| copiers.topic(name, 1));
    let out = copiers.topic("out", 1);
    let routes = "{ BASE.**: wide, BASE.*: narrow, BASE.special: special }";
    let setup = copiers.setup(
        &["narrow", "special", "wide"],
        routes,
        "    dead_letter: { topic: BASE.dead }\n    retry: { mode: topic }\n",
    );
    for topic in topics.iter().chain([&out]) {
        topic.produce(&[Record::keyless("{}")]);
    }
    topics[0].produce(&[Record::keyless(r#"{"do":"reject"}"#)]);
    let host = setup.start();
    for topic in &topics {
        topic.wait_for_no_lag(&copiers.group, TIMEOUT);
    }
    host.metrics().assert_ledger_balanced(&copiers.group);
    let exit = host.sigterm().expect_code(0);
    let all = summary(&exit, &copiers.group);
    assert_eq!((all["processed"], all["dead"]), (3, 1), "{all:?}");
    let by: Vec<(String, String)> = copiers
        .copied()
        .into_keys()
        .map(|of| (of.0, of.3))
        .collect();
    let expected = [(0, "narrow"), (2, "wide"), (1, "special")];
    let expected =
        expected.map(|(at, by): (usize, &str)| (topics[at].name().to_owned(), by.to_owned()));
    assert_eq!(by, expected);
    assert_eq!(copiers.named("dead").read_all().len(), 1);
}

#[test]
fn a_topic_that_appears_while_events_flow_is_read_and_nothing_is_lost() {
    let copiers = Copiers::new("appears", 2);
    let first = copiers.topic("first", 2);
    let retry = "    retry: { mode: topic, attempts: 3, backoff: { initial: 200ms } }\n";
    let host = copiers.setup(&["a"], "{ BASE.*: a }", retry).start();
    let flood = std::thread::spawn({
        let first = first.clone();
        move || (0..40).for_each(|at| drop(first.produce(&events(at * 100..(at + 1) * 100, 2))))
    });
    wait::eventually("events that flow", TIMEOUT, || {
        host.metrics().outcomes(&copiers.group).get("processed") > Some(&100.0)
    });
    let second = copiers.topic("second", 2);
    second.produce(&events(0..500, 2));
    flood.join().expect("all are produced");
    let settled = |topic: &Topic| topic.wait_for_no_lag(&copiers.group, TIMEOUT);
    for topic in [&first, &second] {
        settled(topic);
        settled(&copiers.named(&format!(
            "{}.{}.retry",
            topic.name().rsplit('.').next().unwrap_or_default(),
            copiers.group
        )));
    }

    host.metrics().assert_ledger_balanced(&copiers.group);
    let log = host.sigterm().expect_code(0).stderr;
    assert!(log.contains("a topic appeared and is read"), "{log}");
    let copied = copiers.copied();
    let copied_once: Vec<_> = copied.keys().cloned().collect();
    assert_eq!(copied_once, all_of(&[&first, &second], "a"));
    let repeats = copied.values().sum::<usize>() - copied.len();
    assert_eq!(repeats, 0, "a topic that appears repeats nothing");
}

#[test]
fn a_group_waits_for_the_first_topic_and_goes_on_when_one_is_gone() {
    let copiers = Copiers::new("comes-and-goes", 1);
    let host = copiers.setup(&["a"], "{ 'BASE.**': a }", "").start();
    let one = copiers.topic("eu.one", 1);
    one.produce(&events(0..5, 1));
    one.wait_for_no_lag(&copiers.group, TIMEOUT);
    let two = copiers.topic("eu.two", 1);
    two.produce(&events(0..5, 1));
    two.wait_for_no_lag(&copiers.group, TIMEOUT);
    topic_admin::delete(&one);
    wait::eventually_some("one topic less", TIMEOUT, || {
        let log = host.log();
        let gone = |line: &serde_json::Value| line.to_string().contains("are read from now on");
        let last = log.iter().rfind(|line| gone(line)).map(ToString::to_string);
        match last {
            Some(line) if line.contains("eu.two") && !line.contains("eu.one") => Ok(()),
            last => Err(format!("{last:?}")),
        }
    });
    two.produce(&events(5..10, 1));
    two.wait_for_no_lag(&copiers.group, TIMEOUT);
    host.metrics().assert_ledger_balanced(&copiers.group);
    let exit = host.sigterm().expect_code(0);
    assert_eq!(summary(&exit, &copiers.group)["processed"], 15);
}
