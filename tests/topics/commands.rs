//! `millrace topics create`, `list` and `describe`.

use serde_json::json;

use super::{Copiers, ask};
use crate::harness::host::command;
use crate::harness::kafka;
use crate::harness::topic::{Record, Topic, unique};

/// What a command that is refused says, on the shared broker.
#[track_caller]
fn refused(args: &[&str]) -> String {
    let all = [&["topics"], args, &["--brokers", kafka::shared()]].concat();
    let exit = command(&all);
    assert_ne!(exit.code, Some(0), "{}", exit.stdout);
    assert_eq!(exit.stdout, "");
    exit.stderr
}

#[test]
fn a_topic_is_made_as_it_was_asked_for_and_shown_with_what_is_in_it() {
    let name = unique("cli.orders.created");
    let made = ask(&[
        "create",
        &name,
        "--partitions",
        "2",
        "--replication",
        "1",
        "--retention",
        "7d",
        "--retention-size",
        "1GiB",
        "--cleanup",
        "both",
        "--config",
        "max.message.bytes=2000000",
    ]);
    assert_eq!(
        made,
        json!({ "topic": name, "partitions": 2, "created": true })
    );
    let again = ask(&["create", &name, "--partitions", "5", "--if-not-exists"]);
    assert_eq!(
        again,
        json!({ "topic": name, "partitions": 2, "created": false })
    );
    let topic = Topic::named(kafka::shared(), &name);
    topic.produce(&[
        Record::new("a", "1").partition(1),
        Record::new("a", "2").partition(1),
    ]);

    let shown = ask(&["describe", &name]);

    let config = json!({
        "cleanup.policy": "compact,delete",
        "max.message.bytes": "2000000",
        "retention.bytes": "1073741824",
        "retention.ms": "604800000",
    });
    let mut own = shown["config"].clone();
    let own = own.as_object_mut().expect("what is configured");
    // Brokers of late set this by themselves for each topic.
    own.remove("min.insync.replicas");
    assert_eq!(
        shown["config"].as_object().map(|it| it.len() >= 4),
        Some(true)
    );
    assert_eq!(serde_json::Value::Object(own.clone()), config);
    let partitions = shown["partitions"].as_array().expect("partitions");
    assert_eq!(partitions.len(), 2);
    let leader = &partitions[1]["leader"];
    assert_eq!(
        partitions[1],
        json!({
            "partition": 1, "leader": leader, "replicas": [leader], "in_sync": [leader],
            "oldest_offset": 0, "end_offset": 2,
        })
    );
    assert_eq!(shown["groups"], json!(null));
    let text = command(&["topics", "describe", &name, "--brokers", kafka::shared()]);
    let text = text.expect_code(0).stdout;
    assert!(
        text.contains("retention.ms=604800000") && text.contains("2 partitions"),
        "{text}"
    );
}

#[test]
fn a_topic_is_shown_with_the_groups_of_a_configuration_that_read_it() {
    let copiers = Copiers::new("cli-readers", 1);
    let topic = copiers.topic("eu", 1);
    let setup = copiers.setup(&["a", "b"], "{ BASE.*: a, BASE.eu.**: b }", "");
    let config = setup.config_file().display().to_string();
    let describe = |topic: &str| {
        let shown = command(&[
            "topics", "describe", topic, "-c", &config, "--output", "json",
        ]);
        shown.expect_code(0).json()["groups"].clone()
    };
    let route = format!("{}.*", copiers.base);
    assert_eq!(
        describe(topic.name()),
        json!([{ "group": copiers.group, "plugin": "a", "route": route }])
    );
    assert_eq!(describe(copiers.copies.name()), json!([]));
}

#[test]
fn each_mistake_gets_one_answer_that_says_what_to_do() {
    let topic = Topic::create(kafka::shared(), "cli-mistakes", 1);
    let new = unique("cli-new");
    let create = |more: &[&str]| refused(&[&["create", &new, "--partitions", "1"], more].concat());
    let exists = refused(&["create", topic.name(), "--partitions", "1"]);
    assert_eq!(
        exists.trim(),
        format!("topic {} exists already", topic.name())
    );
    let bad = refused(&["create", "a b", "--partitions", "1"]);
    assert!(bad.contains("\"a b\" cannot be a topic"), "{bad}");
    let many = create(&["--replication", "3"]);
    assert!(
        many.contains("it has 1 broker, and 3 replicas") && many.contains("at most 1"),
        "{many}"
    );
    let setting = create(&["--config", "retension.ms=1"]);
    assert!(
        setting.contains("retension.ms=1; check their names"),
        "{setting}"
    );
    let twice = create(&["--retention", "1d", "--config", "retention.ms=1"]);
    assert!(twice.contains("keep one of the two"), "{twice}");
    let unit = create(&["--retention", "7"]);
    assert!(unit.contains("has no unit"), "{unit}");
    let absent = refused(&["describe", &new]);
    assert!(
        absent.contains("does not exist") && absent.contains("topics list"),
        "{absent}"
    );
    for line in [&exists, &bad, &many, &setting, &twice, &absent] {
        assert_eq!(line.trim().lines().count(), 1, "{line}");
    }
    let away = command(&["topics", "list", "--brokers", "127.0.0.1:1"]);
    let away = away.expect_code(69).stderr;
    assert!(
        away.contains("no Kafka broker answered at 127.0.0.1:1"),
        "{away}"
    );
}
