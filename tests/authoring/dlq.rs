//! `millrace dlq show`: a dead letter from a real topic, and as an event for `millrace plugin test`.

use std::fs;
use std::time::Duration;

use serde_json::json;

use super::millrace;
use crate::harness::host::Setup;
use crate::harness::kafka;
use crate::harness::main_flow::guest;
use crate::harness::process;
use crate::harness::topic::{Record, recent_ms};
use crate::harness::witness::Witness;

const TIMEOUT: Duration = Duration::from_secs(60);

#[test]
fn a_dead_letter_becomes_a_fixture_that_a_scenario_plays_again() {
    let witness = Witness::new("shown", 1);
    let config = witness.config("    retry: { attempts: 2, backoff: { initial: 1ms } }\n");
    let setup = Setup::new(kafka::shared(), &config);
    let time_ms = recent_ms();
    witness.source.produce(&[
        Record::new("good", "{}"),
        Record::new("bad", r#"{"do":"trap"}"#)
            .timestamp_ms(time_ms)
            .header("trace", "x")
            .null_header("empty"),
    ]);
    let host = setup.start();
    witness.source.wait_for_no_lag(&witness.group, TIMEOUT);
    host.sigterm().expect_code(0);

    let folder = process::folder("shown");
    let (source, letters) = (witness.source.name(), witness.dead_letters.name());
    let show = |more: &[&str]| {
        let args = ["dlq", "show", letters, "--brokers", kafka::shared()];
        millrace(&folder, &[&args, more].concat(), &[])
    };
    let told = show(&[]).expect(0).stdout;
    for part in [
        "cause            trap",
        "attempts         2",
        "key              bad",
        "header trace     x",
    ] {
        assert!(told.contains(part), "{part}\nis not in\n{told}");
    }
    let shown = show(&["--partition", "0", "--offset", "0", "--output", "json"])
        .expect(0)
        .json();
    assert_eq!(shown[0]["dead_letter"]["origin.topic"], source);
    assert_eq!(shown[0]["dead_letter"]["cause"], "trap");
    let event = json!({ "topic": source, "partition": 0, "offset": 1, "timestamp_ms": time_ms, "key": "bad",
        "value": { "do": "trap" },
        "headers": [ { "name": "trace", "value": "x" }, { "name": "empty", "value": null } ] });
    assert_eq!(shown[0]["event"], event);
    let fixture = show(&["--last", "5", "--as-fixture"]).expect(0).stdout;
    let line: serde_json::Value =
        serde_json::from_str(fixture.trim()).expect("it is one line of JSON");
    assert_eq!(line, event);
    show(&["--partition", "0", "--offset", "99"])
        .expect(1)
        .says(&[
            "there is no record at offset 99 of partition 0",
            "--last 10",
        ]);

    // The event is played again where its plugin is written.
    fs::create_dir_all(folder.join("fixtures")).expect("the folder is new");
    fs::write(folder.join("fixtures/bad.jsonl"), &fixture).expect("it is new");
    let manifest = format!(
        "name: again\nlanguage: rust\ntopics: [{source}]\nplugin:\n  grants: [config, tally, journal]\n  \
         journal: {{ path: lines }}\n"
    );
    fs::write(folder.join("plugin.yaml"), manifest).expect("it is new");
    fs::write(
        folder.join("again.yaml"),
        "name: again\nsteps:\n  - events: fixtures/bad.jsonl\n    expect: trap\n",
    )
    .expect("it is new");
    let component = guest("witness");
    millrace(
        &folder,
        &["plugin", "test", "again.yaml", "--component", &component],
        &[],
    )
    .expect(0);
}

#[test]
fn a_topic_that_is_not_there_or_empty_is_told() {
    let folder = process::folder("nothing");
    let show = |topic: &str| {
        let args = ["dlq", "show", topic, "--brokers", kafka::shared()];
        millrace(&folder, &args, &[])
    };
    show("no-such-topic")
        .expect(1)
        .says(&["there is no topic no-such-topic", "topics list"]);
    let empty = crate::harness::topic::Topic::create(kafka::shared(), "empty", 2);
    show(empty.name())
        .expect(1)
        .says(&["is empty: there is no dead letter"]);
}
