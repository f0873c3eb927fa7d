//! Candidates for a plugin's next version: a canary handles a share of the keys, a shadow only watches; and either
//! comes to serve when it did well, and handles nothing any more when it did not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Value, json};

use crate::harness::host::{Host, Setup};
use crate::harness::topic::Record;
use crate::harness::versions::{
    SERVES_TIMEOUT, Versioned, component, replace, state, wait_for_version,
};
use crate::harness::wait;

/// A host whose plugin serves in version 1.0.0, with a candidate.
fn setup(versioned: &Versioned, trial: &str, candidate: &[u8]) -> Setup {
    let first = component("original", Some("1.0.0"));
    let (setup, _) = versioned.setup(&first, &format!("    {trial}\n"));
    fs::write(setup.folder().join("next.wasm"), candidate).expect("the folder can be written");
    setup
}

fn trial(host: &Host) -> Value {
    state(host)["trial"].clone()
}

#[track_caller]
fn wait_for_trial(host: &Host, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    wait::eventually_some(what, SERVES_TIMEOUT, || {
        let trial = trial(host);
        if holds(&trial) {
            Ok(trial)
        } else {
            Err(trial.to_string())
        }
    })
}

fn by_key(ids: std::ops::Range<u64>, deed: &str) -> Vec<Record> {
    let value = |id: u64| json!({ "id": id, "do": deed }).to_string();
    ids.map(|id| Record::new(format!("key-{}", id % 200), value(id)))
        .collect()
}

#[test]
fn a_canary_handles_its_share_of_the_keys_and_all_of_them_once_it_is_promoted() {
    let versioned = Versioned::new("canary", 2);
    let canary = "canary: { path: next.wasm, share: 25%, by: key }";
    let next = component("second..", Some("2.0.0"));
    let setup = setup(&versioned, canary, &next);
    let host = setup.start();
    versioned.source.produce(&by_key(0..2_000, "stamp"));
    versioned.wait_until_committed();

    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut by_candidate = 0;
    for output in versioned.stamps().into_values().flatten() {
        let key = String::from_utf8(output.key.clone().expect("a key")).expect("text");
        let header = output
            .header("millrace.plugin")
            .expect("a header")
            .to_owned();
        by_candidate += u64::from(header == "versioned@2.0.0");
        versions.entry(key).or_default().insert(header);
    }
    assert!(
        versions.values().all(|of_key| of_key.len() == 1),
        "a key has one version: {versions:?}"
    );
    // Of 200 keys 50 are meant; five deviations of the binomial are 31 either way.
    let keys = versions
        .values()
        .filter(|of_key| of_key.contains("versioned@2.0.0"))
        .count();
    assert!((19..=81).contains(&keys), "{keys} of 200 keys");
    let told = trial(&host);
    assert_eq!(told["candidate"]["events"], by_candidate, "{told}");
    assert_eq!(told["serving"]["events"], 2_000 - by_candidate, "{told}");
    let metrics = host.metrics();
    let counted = [("plugin", "versioned"), ("version", "2.0.0")];
    let counted = metrics.sum("millrace_plugin_version_events_total", &counted);
    assert_eq!(counted, by_candidate as f64);

    let (status, body) = host
        .post("/v1/plugins/versioned/promote")
        .expect("it answers");
    assert_eq!(status, 200, "{body}");
    versioned.source.produce(&by_key(2_000..2_400, "stamp"));
    versioned.wait_until_committed();
    let stamps = versioned.stamps();
    let later = stamps.range(2_000..).flat_map(|(_, outputs)| outputs);
    let markers: BTreeSet<_> = later
        .map(|output| output.json()["marker"].to_string())
        .collect();
    assert_eq!(markers, BTreeSet::from(["\"second..\"".to_owned()]));
    assert_eq!(
        (
            state(&host)["version"].clone(),
            trial(&host)["ended"]["promoted"].clone()
        ),
        (json!("2.0.0"), json!(true))
    );
    let (status, body) = host
        .post("/v1/plugins/versioned/promote")
        .expect("it answers");
    assert_eq!(status, 409, "there is nothing more to promote: {body}");
    host.sigterm().expect_code(0);
}

#[test]
fn a_canary_that_fails_more_often_steps_back_by_itself_and_is_tried_again_when_its_file_changes() {
    let versioned = Versioned::new("unwell", 2);
    let canary = "canary: { path: next.wasm, share: 20%, promote_after: 1000 }";
    let setup = setup(&versioned, canary, &component("rejects!", Some("2.0.0")));
    let host = setup.start();
    versioned.source.produce(&by_key(0..4_000, "plain"));
    let told = wait_for_trial(&host, "the canary stepped back", |trial| {
        !trial["ended"].is_null()
    });
    assert_eq!(told["ended"]["promoted"], false, "{told}");
    versioned.wait_until_committed();
    let letters = versioned.dead_letters.read_all();
    let refused_by = |letter: &crate::harness::topic::Stored| {
        letter
            .header("millrace.dlq.plugin.version")
            .map(str::to_owned)
    };
    assert!(
        letters
            .iter()
            .all(|letter| refused_by(letter).as_deref() == Some("2.0.0"))
    );
    // A lane hears of it between two batches.
    assert!(
        letters.len() < 800,
        "{} dead letters: it went on",
        letters.len()
    );
    assert_eq!(
        versioned.stamps().len() + letters.len(),
        4_000,
        "nothing is lost"
    );

    replace(
        &setup.folder().join("next.wasm"),
        &component("improved", Some("2.0.1")),
    );
    wait_for_trial(&host, "the next candidate", |trial| {
        trial["version"] == "2.0.1" && trial["ended"].is_null()
    });
    versioned.source.produce(&by_key(4_000..14_000, "plain"));
    wait_for_version(&host, "2.0.1");
    versioned.wait_until_committed();
    assert_eq!(
        versioned.dead_letters.read_all().len(),
        letters.len(),
        "it rejects nothing"
    );
    assert_eq!(
        versioned.stamps().len() + letters.len(),
        14_000,
        "nothing is lost"
    );
    host.sigterm().expect_code(0);
}

/// One event in a thousand is seeded: the candidate does something else there.
fn assert_differences_found(hint: &str, marker: &str, events: u64, kinds: [u64; 3]) {
    let versioned = Versioned::new(hint, 2);
    let setup = setup(
        &versioned,
        "shadow: { path: next.wasm }",
        &component(marker, Some("2.0.0")),
    );
    let host = setup.start();
    versioned.source.produce(&by_key(0..events, "plain"));
    versioned.wait_until_committed();

    let told = wait_for_trial(&host, "every event compared", |trial| {
        trial["candidate"]["events"] == events
    });
    let found = ["outcome", "outputs", "state"]
        .map(|kind| told["differences"][kind].as_u64().expect("a number"));
    assert_eq!(found, kinds, "{told}");
    let mut seeded = BTreeSet::new();
    for stored in versioned.source.read_all() {
        let id = stored.json()["id"].as_u64().expect("a number");
        if id % 1_000 == 500 {
            seeded.insert((stored.partition, stored.offset));
        }
    }
    let samples = told["samples"].as_array().expect("a list").iter();
    let place = |sample: &Value| {
        (
            sample["partition"].as_i64().expect("a number") as i32,
            sample["offset"].as_i64().expect("a number"),
        )
    };
    let sampled: BTreeSet<_> = samples.map(place).collect();
    assert_eq!(
        sampled, seeded,
        "each difference is found where it was seeded"
    );

    let stamps = versioned.stamps();
    assert_eq!(stamps.len() as u64, events);
    for (id, outputs) in stamps {
        let [output] = &outputs[..] else {
            panic!("event {id} has {} outputs", outputs.len())
        };
        assert_eq!(output.json()["double"], id * 2);
        assert_eq!(output.header("millrace.plugin"), Some("versioned@1.0.0"));
    }
    assert_eq!(
        versioned.dead_letters.read_all().len(),
        0,
        "what a shadow does has no effect"
    );
    assert_eq!(trial(&host)["ended"], Value::Null, "it goes on");
    host.sigterm().expect_code(0);
}

#[test]
fn a_shadow_finds_each_event_that_the_next_version_would_handle_otherwise_and_has_no_effect() {
    assert_differences_found("shadow", "mutated!", 9_000, [3, 3, 3]);
}

#[test]
fn a_shadow_that_traps_on_some_events_is_compared_on_all_others() {
    assert_differences_found("crashing", "crashes!", 6_000, [6, 0, 0]);
}

#[test]
fn a_shadow_without_a_difference_comes_to_serve_by_itself() {
    let versioned = Versioned::new("same", 2);
    let shadow = "shadow: { path: next.wasm, promote_after: 2000 }";
    let setup = setup(&versioned, shadow, &component("the-same", Some("2.0.0")));
    let host = setup.start();
    versioned.source.produce(&by_key(0..3_000, "plain"));
    wait_for_version(&host, "2.0.0");
    versioned.wait_until_committed();
    assert_eq!(
        versioned.stamps().values().map(Vec::len).sum::<usize>(),
        3_000
    );
    host.sigterm().expect_code(0);
}
