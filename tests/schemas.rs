//! Rules that events have to keep, through `millrace run`: refused at a gateway, given up on in a group, and replaced
//! while events flow.

mod ingest;
mod reload;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::host::{Setup, command};
use crate::harness::kafka;
use crate::harness::main_flow::{assert_kept, origin};
use crate::harness::topic::{Record, Stored, recent_ms};
use crate::harness::wait;
use crate::harness::witness::Witness;

const TIMEOUT: Duration = Duration::from_secs(60);

/// The section `validation` that the schemas of [`write_schemas`] belong to.
const RULES: &str = "validation:\n  orders:\n    folder: schemas\n    envelope: envelope.json\n    \
                     type: \"json:/type\"\n    types: types\n    payload: /data\n";

/// The schemas of two types of events.
fn write_schemas(folder: &Path) {
    let write = |name: &str, schema: Value| {
        let file = folder.join(name);
        fs::create_dir_all(file.parent().expect("it is in a folder")).expect("it can be made");
        fs::write(file, schema.to_string()).expect("it can be written");
    };
    write(
        "envelope.json",
        json!({
            "type": "object",
            "required": ["id", "type", "data"],
            "properties": { "id": { "type": "integer" }, "type": { "type": "string" } }
        }),
    );
    write(
        "types/order.created.json",
        json!({ "required": ["total"], "properties": { "total": { "$ref": "../money.json" } } }),
    );
    write("types/order.paid.json", json!({ "required": ["by"] }));
    write(
        "money.json",
        json!({ "type": "object", "properties": { "cents": { "type": "integer" } } }),
    );
}

/// A group of `witness` whose events have to keep the rules.
fn checked(witness: &Witness, settings: &str) -> Setup {
    let config = witness.config(settings);
    let plain = format!("{}: witness", witness.source.name());
    let route = format!(
        "{}: {{ plugin: witness, validate: orders }}",
        witness.source.name()
    );
    assert!(config.contains(&plain), "the route is there");
    let config = format!("{RULES}{}", config.replace(&plain, &route));
    let setup = Setup::new(kafka::shared(), &config);
    write_schemas(&setup.folder().join("schemas"));
    setup
}

/// An event that keeps every rule. What it lets the plugin do comes with it.
fn good(id: usize, deed: Value) -> Value {
    let mut event =
        json!({ "id": id, "type": "order.created", "data": { "total": { "cents": 5 } } });
    for (name, value) in deed.as_object().expect("an object") {
        event[name] = value.clone();
    }
    event
}

/// An event that breaks a rule, with the cause and the code that it is given up with, and how the message begins.
fn flawed(id: usize) -> (String, [&'static str; 3]) {
    let event =
        |kind: &str, data: Value| json!({ "id": id, "type": kind, "data": data }).to_string();
    let envelope = [
        "schema",
        "envelope",
        "/id: value is not of type \"integer\" (envelope.json#",
    ];
    let payload = [
        "schema",
        "payload",
        "/data/total/cents: value is not of type \"integer\" (money.json#",
    ];
    let missing = [
        "schema",
        "payload",
        "/data: \"by\" is a required property (types/order.paid.json#",
    ];
    let unknown = [
        "unknown-type",
        "unknown-type",
        "/type: there is no schema of the event type `order.lost`",
    ];
    match id % 5 {
        0 => (
            "{\"id\": 1".to_owned(),
            ["schema", "not-json", "the value is no JSON"],
        ),
        1 => (
            json!({ "id": "x", "type": "order.paid", "data": {} }).to_string(),
            envelope,
        ),
        2 => (
            event("order.created", json!({ "total": { "cents": "5" } })),
            payload,
        ),
        3 => (event("order.paid", json!({})), missing),
        _ => (event("order.lost", json!({})), unknown),
    }
}

#[test]
fn what_breaks_a_rule_is_a_dead_letter_byte_for_byte_that_says_where() {
    let witness = Witness::new("checked", 1);
    let setup = checked(&witness, "");
    let record = |id: usize, value: String| {
        let record = Record::new(format!("key {id}"), value);
        let record = record.header("trace", [0xff, 0]).null_header("trace");
        record.timestamp_ms(recent_ms())
    };
    let mut records: Vec<Record> = (0..5).map(|id| record(id, flawed(id).0)).collect();
    records.push(record(5, good(5, json!({})).to_string()));
    witness.source.produce(&records);
    let host = setup.start();
    witness.source.wait_for_no_lag(&witness.group, TIMEOUT);
    let letters = letters_of(&witness, 5);
    let metrics = host.metrics();
    for id in 0..5 {
        let ([cause, code, message], letter) = (flawed(id).1, &letters[&(id as i64)]);
        let told = |name: &str| {
            letter
                .header(&format!("millrace.dlq.{name}"))
                .unwrap_or_default()
        };
        assert_eq!(
            (told("cause"), told("code")),
            (cause, code),
            "{}",
            told("message")
        );
        assert!(told("message").starts_with(message), "{}", told("message"));
        let source = witness.source.read_all();
        assert_kept(&source[id], letter);
    }
    let dead = |cause: &str| {
        let labels = [("group", witness.group.as_str()), ("cause", cause)];
        metrics.sum("millrace_dead_letters_total", &labels)
    };
    assert_eq!((dead("schema"), dead("unknown-type")), (4.0, 1.0));
    let refused = |stage: &str| {
        let labels = [("rules", "orders"), ("at", "group"), ("stage", stage)];
        metrics.sum("millrace_validation_refused_events_total", &labels)
    };
    let stages = ["not-json", "envelope", "no-type", "unknown-type", "payload"];
    assert_eq!(stages.map(refused), [1.0, 1.0, 0.0, 1.0, 2.0]);
    host.sigterm().expect_code(0);
    assert_eq!(witness.places(&setup), [(0, 5)]);
}

/// Dead letters by the offset that they come from, once so many are there.
fn letters_of(witness: &Witness, count: usize) -> BTreeMap<i64, Stored> {
    wait::eventually_some("all dead letters", TIMEOUT, || {
        let letters = witness.dead_letters.read_all();
        let letters: BTreeMap<i64, Stored> = letters
            .into_iter()
            .map(|letter| (origin(&letter).1, letter))
            .collect();
        if letters.len() < count {
            return Err(format!("{} of {count}", letters.len()));
        }
        Ok(letters)
    })
}

#[test]
fn with_failures_in_between_nothing_is_lost_and_keys_keep_their_order() {
    const EVENTS: usize = 3_000;
    let witness = Witness::new("checkedorder", 1);
    let retries =
        "    retry: { attempts: 5, backoff: { initial: 2ms, max: 10ms } }\n    concurrency: 3\n";
    let setup = checked(&witness, retries);
    let mut random = fastrand::Rng::with_seed(11);
    let (mut records, mut wrong) = (Vec::new(), BTreeSet::new());
    for id in 0..EVENTS {
        let deed = match random.u8(0..20) {
            0 => json!({ "do": "retry", "times": 2 }),
            1 => json!({ "do": "overload", "times": 1, "after-ms": 20 }),
            _ => json!({}),
        };
        let value = if random.u8(0..5) == 0 {
            wrong.insert(id as i64);
            flawed(id).0
        } else {
            good(id, deed).to_string()
        };
        records.push(Record::new(format!("key {}", random.u8(0..12)), value));
    }
    witness.source.produce(&records);
    let host = setup.start();
    witness.source.wait_for_no_lag(&witness.group, TIMEOUT);
    host.sigterm().expect_code(0);
    let letters = letters_of(&witness, wrong.len());
    assert!(
        letters.keys().eq(wrong.iter()),
        "each flaw is a dead letter, and nothing else is"
    );
    let lines = witness.lines(&setup);
    assert_eq!(lines.len(), EVENTS - wrong.len());
    let mut last: BTreeMap<&[u8], i64> = BTreeMap::new();
    for line in &lines {
        let offset = line["offset"].as_i64().expect("a number");
        let key = records[offset as usize]
            .key
            .as_deref()
            .expect("it has a key");
        let before = last.insert(key, offset);
        assert!(before < Some(offset), "{offset} comes after {before:?}");
    }
}

#[test]
fn schemas_are_checked_offline_with_the_configuration() {
    let witness = Witness::new("offline", 1);
    let setup = checked(&witness, "");
    let file = setup.config_file();
    let validate = || {
        command(&[
            "validate",
            "--output",
            "json",
            "-c",
            file.to_str().expect("text"),
        ])
    };
    let answer = validate().expect_code(0).json();
    assert_eq!(
        answer["validation"],
        json!([{ "rules": "orders", "files": 4, "types": ["order.created", "order.paid"] }])
    );
    let schemas = setup.folder().join("schemas");
    fs::write(
        schemas.join("types/order.paid.json"),
        r#"{"required": "by"}"#,
    )
    .expect("it can be written");
    fs::write(schemas.join("money.json"), "{").expect("it can be written");
    let told = validate().expect_code(78).stderr;
    for wanted in [
        "rules orders: ",
        "types/order.paid.json#/required",
        "money.json is no JSON",
    ] {
        assert!(told.contains(wanted), "{wanted} is not in: {told}");
    }
    let exit = setup.run_to_exit().expect_code(78);
    assert!(
        exit.stderr.contains("money.json is no JSON"),
        "{}",
        exit.stderr
    );
    assert_eq!(
        witness.source.committed(&witness.group),
        BTreeMap::new(),
        "nothing is consumed"
    );
}
