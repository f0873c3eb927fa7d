//! `millrace plugin test`: scenarios on the real data path in virtual time, typed as an author types it.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::{Answer, millrace};
use crate::harness::main_flow::{guest, plugin};
use crate::harness::process;

/// A plugin's folder with one file of scenarios, and the component that they are played on.
struct Tried {
    folder: PathBuf,
    component: String,
}

/// What lies in the output of the plugin `copy`.
const COPIES: &str =
    "plugin:\n  grants: [config, \"output:copies\"]\n  config: { output: copies, host: h }\n";

impl Tried {
    fn new(component: String, manifest: &str, scenarios: &str) -> Self {
        let folder = process::folder("tried");
        let head = "name: tried\nlanguage: rust\ntopics: [orders]\n";
        fs::create_dir(folder.join("tests")).expect("the folder is new");
        fs::write(folder.join("plugin.yaml"), format!("{head}{manifest}")).expect("it is new");
        fs::write(folder.join("tests/a.yaml"), scenarios).expect("it is new");
        Self { folder, component }
    }

    #[track_caller]
    fn run(&self, more: &[&str]) -> Answer {
        let args = ["plugin", "test", "--component", &self.component];
        millrace(&self.folder, &[&args, more].concat(), &[])
    }

    /// What came of its only scenario, which passes.
    #[track_caller]
    fn passes(&self) -> Value {
        let answer = self.run(&["--output", "json"]).expect(0).json();
        assert_eq!(answer["failed"], 0, "{answer:#}");
        answer["scenarios"][0].clone()
    }
}

#[test]
fn a_day_of_retries_passes_in_virtual_time() {
    let tried = Tried::new(
        guest("copy"),
        COPIES,
        r#"name: a day of an hour each
group: { retry: { attempts: 25, max_park: 24h, backoff: { initial: 1h, max: 1h } } }
steps:
  - event: { key: a, value: { id: 1, do: retry, times: 23 } }
    expect: { outcome: retry, code: asked-for, attempt: 1 }
  - event: { key: a, value: { id: 2 } }
    expect: held
  - advance: 22h
  - expect: { outputs: [], lag: 2 }
  - advance: 2h
expect:
  outputs:
    - { value: { id: 1, seq: 0, topic: orders, partition: 0, offset: 0, attempt: 24, host: h } }
    - { value: { id: 2, seq: 0, topic: orders, partition: 0, offset: 1, attempt: 1, host: h } }
  dead_letters: []
  lag: 0
"#,
    );
    let virtual_ms = tried.passes()["virtual_ms"].as_u64();
    assert!(virtual_ms >= Some(24 * 60 * 60 * 1_000), "{virtual_ms:?}");
}

#[test]
fn what_is_not_as_expected_is_shown_line_by_line_and_written_for_others() {
    let tried = Tried::new(
        guest("copy"),
        COPIES,
        r#"name: as expected
steps: [ { event: { key: a, value: { id: 1 } }, expect: processed } ]
---
name: not as expected
steps:
  - event: { key: a, value: { id: 1 } }
    expect: filtered
  - event: { key: b, value: { id: 2 } }
expect:
  outputs:
    - { key: a }
    - { key: c }
  metrics: { "millrace_events_total{outcome=\"processed\"}": 3 }
"#,
    );
    let answer = tried.run(&["--junit", "report.xml"]).expect(1);
    let told = &answer.stdout;
    for part in [
        "ok      as expected  (",
        "FAILED  not as expected  (",
        "./tests/a.yaml:7: outcome of event orders/0/0, key \"a\"\n      - filtered\n      + processed\n",
        "outputs to copies\n        { topic: copies, key: \"a\" }\n      - { topic: copies, key: \"c\" }\n      \
         + { topic: copies, key: \"b\" }\n",
        "      - millrace_events_total{outcome=\"processed\"} 3\n      \
         + millrace_events_total{outcome=\"processed\"} 2\n",
        "2 scenarios: 1 ok, 1 failed, in ",
    ] {
        assert!(told.contains(part), "{part}\nis not in\n{told}");
    }
    let xml = fs::read_to_string(tried.folder.join("report.xml")).expect("it was written");
    assert!(
        xml.contains("tests=\"2\" failures=\"1\" errors=\"0\""),
        "{xml}"
    );
    let one = tried
        .run(&["--filter", "as exp", "--output", "json"])
        .expect(1);
    assert_eq!(one.json()["scenarios"].as_array().map(Vec::len), Some(2));
    tried
        .run(&["--filter", "nothing like it"])
        .expect(1)
        .says(&["no scenario's name holds"]);
}

#[test]
fn a_crash_repeats_what_was_not_durable_and_applies_local_effects_once() {
    let manifest = "plugin:\n  grants: [state, \"output:counts\"]\n";
    let tried = Tried::new(
        guest("counter-state"),
        manifest,
        r#"name: counts once
steps:
  - event: { key: a, value: "{}" }
  - advance: 1s
  - expect: { commits: { orders: 1 } }
  - event: { key: a, value: "{}" }
  - crash
expect:
  outcomes: [ processed, processed, processed ]
  outputs: [ { value: "1" }, { value: "2" }, { value: "2" } ]
  state: { a: { count: "2" } }
  commits: { orders: 2 }
---
name: an orderly restart repeats nothing
steps:
  - event: { key: a, value: "{}" }
  - restart
  - event: { key: a, value: "{}" }
expect:
  outcomes: [ processed, processed ]
  outputs: [ { value: "1" }, { value: "2" } ]
"#,
    );
    tried.passes();
}

#[test]
fn journal_lines_of_a_host_that_was_killed_stand_there_once() {
    let manifest = "plugin:\n  grants: [journal]\n  journal: { path: unused.log }\n";
    let line = |offset: u8| {
        format!(
            "{{\"topic\":\"orders\",\"partition\":0,\"offset\":{offset},\"timestamp_ms\":5,\
             \"key\":\"a\",\"value\":\"x\"}}"
        )
    };
    let tried = Tried::new(
        plugin("audit"),
        manifest,
        &format!(
            "name: audits once\nsteps:\n  - event: {{ key: a, value: x, timestamp_ms: 5 }}\n  - advance: 1s\n  \
             - event: {{ key: a, value: x, timestamp_ms: 5 }}\n    times: 2\n  - crash\nexpect:\n  journal:\n    \
             - '{}'\n    - '{}'\n    - '{}'\n",
            line(0),
            line(1),
            line(2)
        ),
    );
    tried.passes();
    assert!(
        !tried.folder.join("unused.log").exists(),
        "a scenario has a journal of its own"
    );
}

#[test]
fn ticks_rebalances_and_repeated_ids_are_played() {
    let manifest = "plugin:\n  grants: [config, \"output:copies\"]\n  config: { output: copies }\n  tick: 10s\n";
    let tried = Tried::new(
        guest("copy"),
        manifest,
        r#"name: the last tick closes the partition
group: { dedup: { id: "json:/id" } }
steps:
  - event: { key: a, value: { id: 1 } }
    expect: processed
  - tick
  - event: { key: a, value: { id: 1 } }
    expect: duplicate
  - rebalance
  - event: { key: a, value: { id: 1 } }
    expect: duplicate
expect:
  outputs:
    - { key: a }
    - { key: null, value: { closed: true, topic: orders, partition: 0, host: "" } }
  lag: 0
"#,
    );
    let virtual_ms = tried.passes()["virtual_ms"].as_u64();
    assert!(virtual_ms >= Some(10_000), "{virtual_ms:?}");
}

#[test]
fn a_retry_topic_is_read_in_virtual_time_too() {
    let tried = Tried::new(
        guest("copy"),
        COPIES,
        r#"name: its key goes on meanwhile
group: { retry: { mode: topic, backoff: { initial: 6h, max: 6h } } }
steps:
  - event: { key: a, value: { id: 1, do: retry, times: 1 } }
    expect: retry
  - event: { key: a, value: { id: 2 } }
    expect: processed
  - advance: 7h
expect:
  outcomes:
    - { outcome: retry, attempt: 1, offset: 0 }
    - { outcome: processed, attempt: 1, offset: 1 }
    - { outcome: processed, attempt: 2, offset: 0 }
  lag: 0
"#,
    );
    tried.passes();
}

#[test]
fn a_plugin_that_never_ends_traps_or_reads_the_clock_is_played_to_its_end() {
    let manifest = "plugin:\n  grants: [config, \"output:copies\"]\n  config:\n    output: copies\n    \
                    down_ms: \"1767268800000-1767272400000\"\n  limits: { deadline: 50ms }\n";
    let tried = Tried::new(
        guest("copy"),
        manifest,
        r#"name: down for the first hour of the year
now: 2026-01-01T12:00:00Z
group: { retry: { attempts: 100, max_park: 24h, backoff: { initial: 10m, max: 10m } } }
steps:
  - event: { key: a, value: { id: 1 } }
    expect: { outcome: retry, code: down }
  - advance: 59m
  - expect: { outputs: [] }
  - advance: 12m
expect: { outputs: [ { key: a } ] }
---
name: a loop and a trap
now: 2026-01-02T00:00:00Z
group: { retry: { attempts: 1 } }
steps:
  - event: { key: a, value: { id: 1, do: loop } }
    expect: deadline
  - event: { key: b, value: { id: 2, do: trap } }
    expect: { outcome: trap, message: the event said so }
  - event: { key: c, value: { id: 3 } }
    expect: processed
expect:
  dead_letters: [ { cause: deadline, key: a }, { cause: trap, key: b, attempts: 1 } ]
"#,
    );
    let virtual_ms = tried.passes()["virtual_ms"].as_u64();
    assert!(virtual_ms >= Some(71 * 60 * 1_000), "{virtual_ms:?}");
}

#[test]
fn everything_that_is_wrong_with_a_scenario_is_said_in_its_place() {
    let tried = Tried::new(
        guest("copy"),
        COPIES,
        "nmae: x\ngroup: { dedupe: { id: key } }\nsteps:\n  - evnt: { value: 1 }\n  - advance: 24\n  - tikc\n  \
         - event: { valeu: 1 }\n    expect: proccessed\n  - event: { topic: other, value: 1 }\n  - event: { value: 1, attempt: 2 }\nexpect:\n  \
         outputs: [ { keys: a } ]\n",
    );
    tried.run(&[]).expect(78).says(&[
        "./tests/a.yaml:1:1: `name` is missing",
        "./tests/a.yaml:1:1: unknown key `nmae`: did you mean `name`?",
        "./tests/a.yaml:2:10: unknown key `dedupe` in `group`: did you mean `dedup`?",
        "there is no step `evnt`: did you mean `event: ...`?",
        "./tests/a.yaml:5:14: ",
        "`24` has no unit",
        "there is no step `tikc`: did you mean `tick`?",
        "./tests/a.yaml:7:14: unknown key `valeu`: did you mean `value`?",
        "there is no outcome `proccessed`: did you mean `processed`?",
        "the plugin has no events of topic other",
        "./tests/a.yaml:12:16: unknown key `keys`",
        "`attempt` is counted by the host",
    ]);
}

#[test]
fn events_come_from_a_file_of_fixtures_and_its_mistakes_are_told_with_their_line() {
    let tried = Tried::new(
        guest("copy"),
        COPIES,
        "name: from a file\nsteps:\n  - events: fixtures/e.jsonl\n    expect: processed\n\
         expect: { outputs: [ { key: a }, { key: b } ] }\n",
    );
    fs::create_dir(tried.folder.join("fixtures")).expect("it is new");
    let file = tried.folder.join("fixtures/e.jsonl");
    fs::write(
        &file,
        "{\"key\":\"a\",\"value\":{\"id\":1}}\n{\"key\":\"b\",\"value\":{\"id\":2}}\n",
    )
    .expect("it is new");
    tried.passes();
    fs::write(
        &file,
        "{\"key\":\"a\",\"value\":{\"id\":1}}\n{\"kee\":\"b\"}\n",
    )
    .expect("it is there");
    tried
        .run(&[])
        .expect(78)
        .says(&["./tests/a.yaml:3:13: ", "e.jsonl:2:2: unknown key `kee`"]);
}

#[test]
fn a_plugin_that_feeds_itself_is_broken_off() {
    let manifest = "plugin:\n  grants: [config, \"output:orders\"]\n  config: { output: orders }\n";
    let tried = Tried::new(
        guest("copy"),
        manifest,
        "name: for ever\nsteps:\n  - event: { key: a, value: { id: 1 } }\n",
    );
    let answer = tried.run(&[]).expect(1);
    assert!(
        answer
            .stdout
            .contains("line 3: there is no end of what happens at one point of time"),
        "{}",
        answer.stdout
    );
}
