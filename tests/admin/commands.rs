//! `millrace lag` and `millrace tap`, as somebody types them.

use std::fs::File;

use serde_json::Value;

use super::{TIMEOUT, Trouble};
use crate::harness::host::{BINARY, command};
use crate::harness::topic::Record;
use crate::harness::{process, wait};

#[test]
fn lag_says_how_far_each_topic_and_partition_is_behind_and_why() {
    let trouble = Trouble::new("lag");
    let host = trouble.start();
    let admin = host.admin().to_string();
    let lag = |more: &[&str]| command(&[&["lag", "--admin", &admin], more].concat());

    let lines = wait::eventually_some("a lag", TIMEOUT, || {
        let lines = lag(&["--output", "json"]).expect_code(0).json();
        let behind = lines[0]["lag"] == 1;
        behind.then(|| lines.clone()).ok_or(lines)
    });
    assert_eq!(lines.as_array().map(Vec::len), Some(1));
    assert_eq!(lines[0]["topic"], trouble.topic());
    assert_eq!(lines[0]["partitions"], 2);
    assert!(lines[0]["lag_seconds"].as_f64() > Some(0.0), "{lines:#}");
    assert_eq!(lines[0]["drain_seconds"], Value::Null, "nothing gets on");

    let told = wait::eventually_some("the reason", TIMEOUT, || {
        let told = lag(&["--partitions", "--topic", trouble.topic()]).expect_code(0);
        let why = told.stdout.contains("waiting: 1 events wait for a retry");
        why.then(|| told.stdout.clone()).ok_or(told.stdout)
    });
    assert_eq!(told.lines().count(), 3, "{told}");
    assert!(
        told.contains("DRAINED IN") && told.contains("idle"),
        "{told}"
    );
    let nobody = lag(&["--group", "nobody"]).expect_code(1);
    let known = format!(
        "there is no group nobody: {} are there",
        trouble.witness.group
    );
    assert!(nobody.stderr.contains(&known), "{}", nobody.stderr);
    host.sigterm().expect_code(0);
}

#[test]
fn tap_shows_events_with_what_becomes_of_them_until_there_are_enough() {
    let trouble = Trouble::new("tap");
    let host = trouble.start();
    let admin = host.admin().to_string();
    let folder = process::folder("tap");
    let out = folder.join("out");
    let mut tap = process::tethered(BINARY);
    tap.args(["tap", "--admin", &admin, "--output", "json", "--limit", "3"])
        .args(["--plugin", "witness", "--topic", trouble.topic()])
        .stdout(File::create(&out).expect("the folder can be written"));
    let mut tap = process::spawn(tap).expect("the binary can be started");
    // Whoever looks sees what comes from then on, so that events are sent until there were enough.
    wait::eventually("three events", TIMEOUT, || {
        trouble.witness.source.produce(&[
            Record::new("good", "{}").partition(1),
            Record::new("bad", [b'n', 0xff]).partition(1),
        ]);
        tap.try_wait().expect("it can be waited for").is_some()
    });
    let said = std::fs::read_to_string(&out).expect("it is text");
    let events: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).expect("one object a line"))
        .collect();
    assert_eq!(events.len(), 3, "{said}");
    let of = |outcome: &str| {
        let mut events = events.iter();
        let found = events.find(|event| event["outcome"] == outcome);
        found.unwrap_or_else(|| panic!("none is {outcome}: {said}"))
    };
    let good = of("processed");
    assert_eq!(
        (&good["key"], &good["value"]),
        (&"good".into(), &"{}".into())
    );
    assert_eq!(good["group"], trouble.witness.group.as_str());
    let bad = of("dead");
    assert_eq!(
        (&bad["code"], &bad["value_base64"]),
        (&"malformed".into(), &"bv8=".into())
    );

    let nobody = ["tap", "--admin", &admin, "--plugin", "nobody"];
    let refused = command(&nobody).expect_code(1);
    assert!(
        refused
            .stderr
            .contains("there is no plugin nobody: witness"),
        "{}",
        refused.stderr
    );
    host.sigterm().expect_code(0);
}
