//! Dead letters that are put back: which ones, in which order, how fast, how often.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Graveyard, ask, number};
use crate::harness::host::{BINARY, Setup, command};
use crate::harness::kafka;
use crate::harness::main_flow::guest;
use crate::harness::process;
use crate::harness::topic::{Record, Stored};
use crate::harness::wait;
use crate::harness::witness::Witness;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Letters, of three causes in turn.
const LETTERS: usize = 10_000;

/// At which they are put back.
const RATE: f64 = 1_500.0;

/// What a cause was in each of the letters.
fn three_causes(yard: &Graveyard) -> Vec<Record> {
    let letter = |number: usize| match number % 3 {
        0 => {
            let message = format!("no price for order {number}");
            yard.letter(number, ["reject", "no-price", &message, ""])
        }
        1 => yard.letter(
            number,
            [
                "trap",
                "UnreachableCodeReached",
                "wasm `unreachable` instruction executed",
                ":orders::price<orders::handle",
            ],
        ),
        _ => {
            let message = format!("10.0.0.{}:443 timed out after {number} ms", number % 250);
            yard.letter(number, ["exhausted", "upstream", &message, ""])
        }
    };
    (0..LETTERS).map(letter).collect()
}

fn of_cause<'c>(clusters: &'c Value, cause: &str) -> &'c Value {
    let clusters = clusters["clusters"].as_array().expect("a list");
    let found = clusters.iter().find(|cluster| cluster["cause"] == cause);
    found.unwrap_or_else(|| panic!("no {cause} in {clusters:?}"))
}

/// The numbers of each key's events, in the order of their topic.
fn by_key(records: &[Stored]) -> BTreeMap<Vec<u8>, Vec<u64>> {
    let mut keys: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
    for record in records {
        let key = record.key.clone().expect("each has one");
        keys.entry(key).or_default().push(number(record));
    }
    keys
}

/// Exactly one cluster is there, as it was before it failed, in the order of each key and not before its time.
#[track_caller]
fn assert_put_back(records: &[Stored]) {
    let expected = (0..LETTERS as u64).filter(|number| number % 3 == 0);
    let mut keys: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
    for number in expected {
        let key = format!("key-{}", number % 40).into_bytes();
        keys.entry(key).or_default().push(number);
    }
    assert_eq!(
        by_key(records),
        keys,
        "exactly those, and each key in its order"
    );
    for record in records {
        let number = number(record);
        assert_eq!(i64::from(record.partition), (number % 40 % 3) as i64);
        assert_eq!(
            record.header("correlation-id"),
            Some(&*format!("c-{number}"))
        );
        assert_eq!(record.header("millrace.dlq.redrives"), Some("1"));
        assert_eq!(
            record.header("millrace.dlq.origin.offset"),
            Some(&*number.to_string())
        );
        assert_eq!(record.header("millrace.dlq.cause"), None);
        assert!(record.headers.contains(&("nothing".to_owned(), None)));
    }
    // By the broker's clock no record came before its turn; what may be caught up on is 20 ms.
    let mut times: Vec<i64> = records.iter().filter_map(|it| it.timestamp_ms).collect();
    times.sort_unstable();
    for (at, time_ms) in times.iter().enumerate() {
        let due_ms = at as f64 / RATE * 1_000.0 - 25.0;
        let came_ms = (time_ms - times[0]) as f64;
        assert!(
            came_ms >= due_ms,
            "record {at} came after {came_ms} ms, not {due_ms}"
        );
    }
}

#[test]
fn of_ten_thousand_dead_letters_of_three_causes_exactly_one_cluster_is_put_back_in_order_and_at_its_rate()
 {
    let yard = Graveyard::new("three-causes", 3);
    yard.letters.produce(&three_causes(&yard));
    let clusters = ask(&["clusters", yard.name()]);
    assert_eq!(clusters["clusters"].as_array().map(Vec::len), Some(3));
    let rejected = of_cause(&clusters, "reject");
    assert_eq!(rejected["count"], 3_334);
    assert_eq!(rejected["message"], "no price for order #");
    assert_eq!(
        of_cause(&clusters, "exhausted")["message"],
        "# timed out after # ms"
    );
    let signature = rejected["signature"].as_str().expect("a text");

    let redrive = ["redrive", yard.name(), "--signature", signature, "--rate"];
    let rate = format!("{RATE}/s");
    let dry = ask(&[&redrive[..], &[&rate, "--dry-run"]].concat());
    assert_eq!(dry["redriven"], 3_334);
    assert_eq!(yard.source.read_all(), [], "a dry run writes nothing");
    let done = ask(&[&redrive[..], &[&rate]].concat());
    assert_eq!(done["matched"], 3_334);
    assert_eq!(done["to"], json!({ yard.source.name(): 3_334 }));

    assert_put_back(&yard.source.read_all());

    let again = ask(&[&redrive[..], &[&rate]].concat());
    assert_eq!(again["redriven"], 0);
    assert_eq!(again["stayed"], json!({ "already-redriven": 3_334 }));
    assert_eq!(yard.source.read_all().len(), 3_334);
    let open = ask(&["clusters", yard.name(), "--open"]);
    assert_eq!(open["clusters"].as_array().map(Vec::len), Some(2));
    let listed = ask(&["list", yard.name(), "--limit", "3", "--cause", "trap"]);
    assert_eq!(listed["matched"], 3_333);
    let shown: Vec<&Value> = listed["letters"]
        .as_array()
        .expect("a list")
        .iter()
        .collect();
    assert_eq!(shown.len(), 3);
    assert_eq!(
        shown[2]["origin"]["offset"], 9_997,
        "the newest is the last"
    );
}

#[test]
fn what_a_killed_redrive_had_not_remembered_does_not_go_twice() {
    let yard = Graveyard::new("killed", 3).with_rejected(3_000);
    let mut redrive = process::tethered(BINARY);
    redrive.args(["dlq", "redrive", yard.name(), "--all", "--rate", "1500/s"]);
    redrive.args(["--brokers", kafka::shared()]);
    let mut redrive = process::spawn(redrive).expect("the binary can be started");
    let gone = || yard.source.end_offsets().values().sum::<i64>();
    wait::eventually("some events put back", TIMEOUT, || gone() > 500);
    redrive.kill().expect("it can be killed");
    redrive.wait().expect("it can be waited for");
    let before = gone();
    assert!(before < 3_000, "it was killed in the middle");
    let done = ask(&["redrive", yard.name(), "--all"]);
    assert_eq!(done["redriven"], 3_000 - before, "{done}");
    let mut numbers: Vec<u64> = yard.source.read_all().iter().map(number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..3_000).collect::<Vec<_>>());
    assert_eq!(ask(&["redrive", yard.name(), "--all"])["redriven"], 0);
    let again = ["redrive", yard.name(), "--all", "--again", "--dry-run"];
    assert_eq!(ask(&again)["redriven"], 3_000);
}

#[test]
fn only_what_a_version_of_the_plugin_mends_is_put_back() {
    let yard = Graveyard::new("mended", 3).with_rejected(30);
    let still: Vec<Record> = (30..40)
        .map(|number| Record {
            value: Some(format!(r#"{{"id":{number},"do":"reject"}}"#).into_bytes()),
            ..yard.letter(number, ["reject", "asked-for", "the event said so", ""])
        })
        .collect();
    yard.letters.produce(&still);
    let setup = Setup::new(
        kafka::shared(),
        &format!(
            "plugins:\n  versioned:\n    path: {file}\n    grants: [config, state, tally, \"output:out\"]\n    \
             config: {{ output: out }}\n\
             groups:\n  - id: {name}-group\n    routes: {{ {name}: versioned }}\n    store: store\n    \
             dead_letter: {{ topic: {dlq} }}\n",
            file = guest("versioned"),
            name = yard.source.name(),
            dlq = yard.name(),
        ),
    );
    let config = setup.config_file();
    let config = config.to_str().expect("the path is text");
    let component = guest("versioned");
    let args = [
        "dlq",
        "redrive",
        "--all",
        "-c",
        config,
        "--if-fixed-by",
        &component,
        "--output",
        "json",
    ];
    let exit = command(&args);
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    let done: Value = serde_json::from_str(&exit.stdout).expect("it is JSON");
    assert_eq!(done["redriven"], 30, "{done}");
    assert_eq!(done["stayed"], json!({ "still-failing": 10 }));
    assert_eq!(done["warnings"], json!([]));
    let mut back: Vec<u64> = yard.source.read_all().iter().map(number).collect();
    back.sort_unstable();
    assert_eq!(back, (0..30).collect::<Vec<_>>());
}

#[test]
fn an_event_that_goes_on_failing_is_handled_again_each_time_and_refused_in_the_end() {
    let witness = Witness::new("again", 1);
    let settings = "    retry: { attempts: 2, backoff: { initial: 1ms } }\n    \
                    dedup: { id: key, window: 1h }\n    breaker: { enabled: false }\n";
    let setup = Setup::new(kafka::shared(), &witness.config(settings));
    witness
        .source
        .produce(&[Record::new("bad", r#"{"do":"retry"}"#).header("trace", "x")]);
    let host = setup.start();
    let letters = || witness.dead_letters.read_all();
    for redrives in 0..3 {
        let what = format!("a dead letter after {redrives} redrives");
        wait::eventually(&what, TIMEOUT, || letters().len() == redrives + 1);
        let done = ask(&["redrive", witness.dead_letters.name(), "--all"]);
        assert_eq!(done["redriven"], 1, "{done}");
    }
    wait::eventually("the last dead letter", TIMEOUT, || letters().len() == 4);
    let last = letters().pop().expect("there are four");
    assert_eq!(last.header("millrace.dlq.redrives"), Some("3"));
    assert_eq!(last.header("millrace.dlq.origin.offset"), Some("0"));
    assert_eq!(last.header("trace"), Some("x"));
    let done = ask(&["redrive", witness.dead_letters.name(), "--all"]);
    assert_eq!(
        done["stayed"],
        json!({ "already-redriven": 3, "too-many-redrives": 1 })
    );
    host.sigterm().expect_code(0);
    assert_eq!(witness.source.read_all().len(), 4);
    let shown = ask(&["show", &format!("{}/0/3", witness.dead_letters.name())]);
    assert_eq!(shown[0]["dead_letter"]["cause"], "exhausted");
    fs::remove_dir_all(setup.folder()).ok();
}
