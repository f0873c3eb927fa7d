//! `millrace dlq repro` of every dead letter that the attacks leave behind.

use std::time::Duration;

use serde_json::Value;

use super::deeds::{ComesTo, DEEDS, Deed};
use crate::harness::host::{Setup, command};
use crate::harness::kafka;
use crate::harness::main_flow::guest;
use crate::harness::topic::{Record, Topic, unique};

const TIMEOUT: Duration = Duration::from_secs(120);

/// A value that no output of `repro` may hold.
const SECRET: &str = "a-token-that-nobody-may-read";

/// What is given up for what other events did before it cannot be run again alone.
fn stands_alone(deed: &Deed) -> bool {
    deed.name != "new-sums"
}

fn event(deed: &Deed) -> Record {
    let value = match deed.n {
        Some(n) => format!(r#"{{"do":"{}","n":{n}}}"#, deed.name),
        None => format!(r#"{{"do":"{}"}}"#, deed.name),
    };
    Record::new(deed.name, value)
}

#[test]
fn every_dead_letter_of_the_attacks_ends_the_same_when_it_is_run_again() {
    let topic = |hint| Topic::create(kafka::shared(), hint, 1);
    let (source, letters, outputs) = (topic("repro"), topic("repro-dlq"), topic("repro-out"));
    let group = unique("repro");
    let setup = Setup::new(
        kafka::shared(),
        &format!(
            "plugins:\n  hostile:\n    path: {}\n    \
             grants: [logging, config, metrics, state, tally, journal, \"output:{outputs}\"]\n    \
             config: {{ output: {outputs}, token: {SECRET} }}\n    journal: {{ path: hostile.journal }}\n    \
             tick: 24h\n    transcripts: true\n    limits: {{ deadline: 300ms }}\n\
             groups:\n  - id: {group}\n    routes: {{ {source}: hostile }}\n    \
             dead_letter: {{ topic: {letters} }}\n    retry: {{ attempts: 1 }}\n    breaker: {{ enabled: false }}\n    \
             store: store\n",
            guest("hostile"),
            outputs = outputs.name(),
            source = source.name(),
            letters = letters.name(),
        ),
    );
    let fatal = DEEDS
        .iter()
        .filter(|deed| stands_alone(deed) && matches!(deed.comes_to, ComesTo::Dead(..)));
    // After many faults in a row the host would wait.
    let events = fatal.flat_map(|deed| [event(deed), Record::new("well", "{}")]);
    let events: Vec<Record> = events.collect();
    let host = setup.start();
    source.produce(&events);
    source.wait_for_no_lag(&group, TIMEOUT);
    host.sigterm().expect_code(0);

    let config = setup.config_file();
    let config = config.to_str().expect("the path is text");
    let stored = letters.read_all();
    assert_eq!(stored.len(), events.len() / 2);
    let mut wrong = Vec::new();
    for letter in stored {
        let id = format!("{}/0/{}", letters.name(), letter.offset);
        let exit = command(&["dlq", "repro", &id, "-c", config, "--output", "json"]);
        let told: Value = serde_json::from_str(&exit.stdout).unwrap_or_default();
        let as_it_was = exit.code == Some(0) && told["same"] == true && told["repeatable"] == true;
        if !as_it_was || exit.stdout.contains(SECRET) {
            let key =
                String::from_utf8_lossy(letter.key.as_deref().unwrap_or_default()).into_owned();
            wrong.push(format!("{key}: {told} {}", exit.stderr));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
