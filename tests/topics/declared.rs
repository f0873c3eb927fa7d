//! Topics that the configuration names.

use super::{Copiers, TIMEOUT, ask};
use crate::harness::kafka;
use crate::harness::topic::{Record, Topic};
use crate::harness::topic_admin;
use crate::harness::wait;

#[test]
fn a_missing_topic_is_made_as_written_and_read_at_once() {
    let copiers = Copiers::new("declared", 3);
    let topics = "topics:\n  BASE.eu.created: { partitions: 3, retention: 1h, cleanup: delete, config: \
                  { min.insync.replicas: 1 } }\n";
    let setup = copiers.setup(&["a"], "{ BASE.eu.created: a, BASE.us.*: a }", topics);
    let host = setup.start();
    let topic = copiers.named("eu.created");
    topic.produce(
        &(0..3)
            .map(|n| Record::keyless("{}").partition(n))
            .collect::<Vec<_>>(),
    );
    topic.wait_for_no_lag(&copiers.group, TIMEOUT);
    host.metrics().assert_ledger_balanced(&copiers.group);
    host.sigterm().expect_code(0);
    assert_eq!(copiers.copied().len(), 3);
    let shown = ask(&["describe", topic.name()]);
    assert_eq!(shown["config"]["retention.ms"], "3600000");
    assert_eq!(shown["partitions"].as_array().map(Vec::len), Some(3));
}

#[test]
fn what_differs_is_said_and_left_as_it_is() {
    let copiers = Copiers::new("declared-differs", 1);
    let topic = copiers.topic("eu", 1);
    topic_admin::configure(&topic, "retention.ms", "7200000");
    let topics = "topics:\n  BASE.eu: { partitions: 6, retention: 1h }\n";
    let host = copiers.setup(&["a"], "{ BASE.eu: a }", topics).start();
    let log = host.sigterm().expect_code(0).stderr;
    for part in [
        "it has 1 partitions, and 6 are written",
        "retention.ms is 7200000, and 3600000 is written",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
    assert_eq!(topic.end_offsets().len(), 1);
    assert_eq!(
        ask(&["describe", topic.name()])["config"]["retention.ms"],
        "7200000"
    );
}

#[test]
fn what_the_host_may_not_or_cannot_make_ends_the_start_with_the_command_that_does() {
    let copiers = Copiers::new("declared-refused", 1);
    let refused = |topic: &str| {
        let topics = format!("topics:\n  BASE.x: {topic}\n");
        let setup = copiers.setup(&["a"], "{ BASE.*: a }", &topics);
        let exit = setup.run_to_exit();
        assert_ne!(exit.code, Some(0));
        exit.stderr
    };
    let name = copiers.named("x");
    let said = refused("{ partitions: 4, replication: 1, retention: 1s, create: false }");
    let command = format!(
        "millrace topics create {} --partitions 4 --replication 1 --config retention.ms=1000 --brokers {}",
        name.name(),
        kafka::shared()
    );
    assert!(
        said.contains(&command) && said.contains(".create is false"),
        "{said}"
    );
    let said = refused("{ replication: 3 }");
    assert!(said.contains("it has 1 broker, and 3 replicas"), "{said}");
    assert!(!Topic::named(kafka::shared(), name.name()).exists());
    // The command does what it says.
    let args: Vec<&str> = command.split(' ').skip(1).collect();
    crate::harness::host::command(&args).expect_code(0);
    wait::eventually("the topic", TIMEOUT, || name.exists());
    copiers
        .setup(&["a"], "{ BASE.*: a }", "")
        .start()
        .sigterm()
        .expect_code(0);
}
