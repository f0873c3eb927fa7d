//! `millrace plugin run`: what each event came to, and how a command ends that could not run any.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Answer, millrace};
use crate::harness::host::BINARY;
use crate::harness::process;
use crate::sandbox::guest;

/// What the guest `one-at-a-time` imports and writes to.
const GRANTS: [&str; 10] = [
    "--grant",
    "tally",
    "--grant",
    "journal",
    "--grant",
    "metrics",
    "--grant",
    "state",
    "--grant",
    "output:echo",
];

/// A folder with these lines as events.jsonl.
fn events(lines: &[&str]) -> PathBuf {
    let folder = process::folder("events");
    fs::write(folder.join("events.jsonl"), lines.join("\n")).unwrap();
    folder
}

fn run(folder: &Path, plugin: &str, args: &[&str]) -> Answer {
    let component = guest(plugin).display().to_string();
    let mut all = vec!["plugin", "run", &component, "--events", "events.jsonl"];
    all.extend(args);
    millrace(folder, &all, &[])
}

/// The answer, line by line.
#[track_caller]
fn lines(answer: &Answer) -> Vec<Value> {
    let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    answer.stdout.lines().map(read).collect()
}

#[test]
fn each_event_tells_its_outcome_and_what_it_did() {
    let folder = events(&[
        r#"{"key":"a","value":"x","partition":2,"offset":7,"headers":{"t":"1"}}"#,
        r#"{"key":"a","value":"fail","partition":2}"#,
        r#"{"key":"a","value":"skip","partition":2}"#,
        r#"{"key":"b","value":"x","partition":2}"#,
    ]);
    let args = [&GRANTS[..], &["--output", "json", "--topic", "orders"]].concat();
    let answer = run(&folder, "one-at-a-time", &args).expect(1);
    let told = lines(&answer);
    let outcomes: Vec<_> = told
        .iter()
        .map(|event| event["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["processed", "retry", "filtered", "processed"]);
    let first = &told[0];
    assert_eq!(
        (&first["topic"], &first["offset"]),
        (&json!("orders"), &json!(7))
    );
    let output = &first["outputs"][0];
    assert_eq!(
        (&output["topic"], &output["value"]),
        (&json!("echo"), &json!("x"))
    );
    assert_eq!(output["headers"], json!([{ "name": "t", "value": "1" }]));
    assert_eq!(first["metrics"][0]["name"], "seen_total");
    assert_eq!(
        first["sums"][0],
        json!({ "name": "events", "op": "add", "value": 1 })
    );
    assert_eq!(first["state"], json!({ "last": "7" }));
    assert_eq!(first["journal"], json!(["7:"]));
    assert!(first["us"].as_f64().unwrap() > 0.0 && first["fuel"].is_null());
    assert!(first["memory_bytes"].as_u64().unwrap() > 1 << 16);
    assert_eq!(
        (&told[1]["code"], &told[1]["after_ms"]),
        (&json!("asked-for"), &json!(250))
    );
}

#[test]
fn state_stays_between_the_events_of_a_key_and_a_failure_leaves_none() {
    let folder = events(&[
        r#"{"key":"a","value":"x","offset":1}"#,
        r#"{"key":"a","value":"fail","offset":2}"#,
        r#"{"key":"a","value":"trap","offset":3}"#,
        r#"{"key":"b","value":"x","offset":4}"#,
        r#"{"key":"a","value":"x","offset":5}"#,
    ]);
    let args = [&GRANTS[..], &["--output", "json"]].concat();
    let told = lines(&run(&folder, "one-at-a-time", &args).expect(1));
    assert_eq!(
        told[1]["state"],
        json!({}),
        "the effects of a failure are dropped"
    );
    assert_eq!(told[1]["outputs"], json!([]));
    assert_eq!(told[2]["outcome"], "trap");
    let said = told[2]["message"].as_str().unwrap();
    assert!(said.contains("the event said so"), "{said}");
    assert_eq!(told[3]["journal"], json!(["4:"]), "another key has its own");
    assert_eq!(
        told[4]["journal"],
        json!(["5:1"]),
        "what the first event wrote"
    );
}

#[test]
fn a_loop_ends_at_its_deadline_and_the_next_event_runs() {
    let folder = events(&[r#"{"value":{"do":"loop"}}"#, r#"{"value":{"do":"ok"}}"#]);
    let args = [
        "--grant", "tally", "--grant", "journal", "--fuel", "--output", "json",
    ];
    let told = lines(&run(&folder, "rogue", &args).expect(1));
    assert_eq!(
        (&told[0]["outcome"], &told[1]["outcome"]),
        (&json!("deadline"), &json!("processed"))
    );
    let fuel = told[1]["fuel"].as_u64().expect("it is counted");
    assert!((100..10_000_000).contains(&fuel), "{fuel}");
    assert!(told[0]["fuel"].is_null(), "what a loop took is not known");
}

#[test]
fn the_last_tick_shows_what_a_plugin_emits() {
    let folder = events(&[
        r#"{"value":{"id":"1","event_type":"login","user_id":"u","timestamp":1700000000000}}"#,
        r#"{"value":{"id":"2","event_type":"login","user_id":"v","timestamp":1700000000000}}"#,
    ]);
    let grants = [
        "--grant",
        "metrics",
        "--grant",
        "tally",
        "--grant",
        "output:analytics.counts",
    ];
    let answer = run(&folder, "analytics", &grants).expect(0);
    let tick = answer
        .stdout
        .lines()
        .find(|line| line.contains("analytics.counts"));
    let tick = tick.unwrap_or_else(|| panic!("{}", answer.stdout));
    assert!(tick.contains(r#""event_type":"login","count":2"#), "{tick}");
    assert!(
        answer.stdout.contains("2 events: 2 processed; "),
        "{}",
        answer.stdout
    );
    let told = lines(&run(
        &folder,
        "analytics",
        &[&grants[..], &["--output", "json"]].concat(),
    ));
    assert_eq!((told.len(), &told[2]["tick"]), (3, &json!(true)));
}

#[test]
fn nothing_runs_where_a_line_is_no_event_and_its_place_is_told() {
    let folder = events(&[r#"{"value":"x"}"#, "", r#"{"key":"a","vlaue":1}"#]);
    let answer = run(&folder, "one-at-a-time", &GRANTS).expect(2);
    answer.says(&["events.jsonl:3:12: unknown key `vlaue`: did you mean `value`?"]);
    assert_eq!(answer.stdout, "");
    let answer = run(&events(&[]), "one-at-a-time", &GRANTS).expect(2);
    answer.says(&["there are no events to run", "--events FILE"]);
}

#[test]
fn every_missing_grant_is_named_at_once_with_what_to_type() {
    let folder = events(&[r#"{"value":"x"}"#]);
    let answer = run(&folder, "one-at-a-time", &["--grant", "state"]).expect(2);
    answer.says(&[
        "journal, metrics, tally",
        "--grant journal --grant metrics --grant tally",
    ]);
    let answer = run(&folder, "one-at-a-time", &["--grant", "metric"]).expect(2);
    answer.says(&["did you mean `metrics`?"]);
    // An output names its topic only when it is made.
    let answer = run(&folder, "one-at-a-time", &GRANTS[..8]).expect(1);
    assert!(answer.stdout.contains("capability"), "{}", answer.stdout);
    assert!(answer.stdout.contains("`output:echo`"), "{}", answer.stdout);
}

#[test]
fn a_manifest_above_the_component_grants_and_names_the_topic() {
    let folder = events(&[r#"{"key":"a","value":"x"}"#]);
    let manifest = "name: orders\nlanguage: other\nbuild: { command: [\"true\"], component: x.wasm }\ntopics: [orders]\n\
                    plugin: { grants: [metrics, tally, journal, state, \"output:echo\"], journal: { path: j.log } }\n";
    fs::write(folder.join("plugin.yaml"), manifest).unwrap();
    fs::create_dir(folder.join("dist")).unwrap();
    fs::create_dir(folder.join("fixtures")).unwrap();
    fs::copy(folder.join("events.jsonl"), folder.join("fixtures/a.jsonl")).unwrap();
    let answer = millrace(&folder, &["plugin", "run"], &[]).expect(2);
    answer.says(&["dist/orders.wasm", "millrace plugin build"]);
    fs::copy(guest("one-at-a-time"), folder.join("dist/orders.wasm")).unwrap();
    for args in [
        &[
            "plugin",
            "run",
            "dist/orders.wasm",
            "--events",
            "events.jsonl",
        ][..],
        &["plugin", "run"],
    ] {
        let answer = millrace(&folder, args, &[]).expect(0);
        assert!(
            answer.stdout.starts_with("orders/0@0 "),
            "{}",
            answer.stdout
        );
    }
    fs::write(
        folder.join("plugin.yaml"),
        manifest.replace("metrics, ", ""),
    )
    .unwrap();
    let answer = millrace(&folder, &["plugin", "run"], &[]).expect(2);
    answer.says(&[
        "is not granted: metrics",
        "write `grants: [metrics]` under `plugin` in ./plugin.yaml",
    ]);
}

#[test]
fn events_come_by_standard_input_too_and_lines_may_be_values() {
    let folder = events(&["x", "skip"]);
    let said = folder.join("said");
    let mut command = process::tethered(BINARY);
    command
        .args(["plugin", "run", "--values"])
        .arg(guest("one-at-a-time"))
        .args(GRANTS)
        .stdin(File::open(folder.join("events.jsonl")).unwrap())
        .stdout(File::create(&said).unwrap());
    let mut child = process::spawn(command).unwrap();
    let status = process::wait_for_exit(&mut child, "plugin run", super::BUILD_TIMEOUT);
    let said = fs::read_to_string(said).unwrap();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("2 events: 1 filtered, 1 processed"), "{said}");
}
