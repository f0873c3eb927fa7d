//! What is not done, and what is said about it.

use serde_json::json;

use super::{Graveyard, ask, refused};
use crate::harness::host::{Setup, command};
use crate::harness::kafka;
use crate::harness::main_flow::plugin;

#[test]
fn dead_letters_do_not_go_where_they_would_come_back_from_or_where_nothing_is() {
    let yard = Graveyard::new("loops", 3).with_rejected(3);
    let name = yard.name();
    for (args, part) in [
        (&["redrive", name][..], "say which dead letters"),
        (
            &["redrive", name, "--all", "--to", name],
            "is the topic of dead letters itself",
        ),
        (
            &["redrive", "no-such-topic.dlq", "--all"],
            "there is no topic no-such-topic.dlq",
        ),
        (&["redrive", "a.dlq/0/x"], "TOPIC/PARTITION/OFFSET"),
        (&["list"], "name the topic of dead letters"),
        (
            &["show", &format!("{name}/0/99")],
            "there is no record at offset 99",
        ),
        (&["purge", name], "required"),
    ] {
        let said = refused(args);
        assert!(said.contains(part), "{args:?}: {said}");
    }
    let done = ask(&["redrive", name, "--all", "--to", "nowhere-at-all"]);
    assert_eq!(done["stayed"], json!({ "no-such-topic": 3 }));
    assert_eq!(done["missing_topics"], json!(["nowhere-at-all"]));
    assert_eq!(yard.source.read_all(), []);
}

#[test]
fn a_topic_that_no_group_reads_gets_a_warning() {
    let yard = Graveyard::new("unread", 3).with_rejected(3);
    let setup = Setup::new(
        kafka::shared(),
        &format!(
            "plugins:\n  audit: {{ path: {}, grants: [journal], journal: {{ path: audit.log }} }}\n\
             groups:\n  - id: other\n    routes: {{ other: audit }}\n    store: store\n    \
             dead_letter: {{ topic: {} }}\n",
            plugin("audit"),
            yard.name(),
        ),
    );
    let config = setup.config_file();
    let config = config.to_str().expect("the path is text");
    let exit = command(&["dlq", "redrive", "--all", "--dry-run", "-c", config]);
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    assert!(
        exit.stdout.contains("3 of 3 would be put back"),
        "{}",
        exit.stdout
    );
    let warning = format!(
        "no group of the configuration reads topic {}",
        yard.source.name()
    );
    assert!(exit.stderr.contains(&warning), "{}", exit.stderr);
}
