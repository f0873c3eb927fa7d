//! `millrace explain`, and a container that is configured by the names that containers are configured by.

use serde_json::{Value, json};

use crate::harness::host::{Exit, command_with};
use crate::harness::main_flow::guest;
use crate::harness::process;

/// The names, as an orchestrator sets them.
const COMMON: [(&str, &str); 5] = [
    ("KAFKA_BOOTSTRAP_SERVERS", "kafka-0:9092,kafka-1:9092"),
    ("KAFKA_GROUP_ID", "orders-service"),
    ("KAFKA_TOPICS", "orders, payments"),
    ("MAX_RETRIES", "2"),
    ("METRICS_PORT", "9100"),
];

/// Runs a command on a configuration.
fn run(command: &[&str], config: &str, env: &[(&str, &str)]) -> Exit {
    let file = process::folder("explained").join("millrace.yaml");
    std::fs::write(&file, config).expect("the folder can be written");
    let file = file.display().to_string();
    let args: Vec<&str> = command.iter().copied().chain(["-c", &file]).collect();
    command_with(&args, env)
}

/// What an image brings along: the component, and nothing of where it runs.
fn image() -> String {
    format!("plugins: {{ copy: {{ path: \"{}\" }} }}\n", guest("copy"))
}

fn explained(config: &str, env: &[(&str, &str)]) -> Value {
    run(&["explain", "--output", "json"], config, env)
        .expect_code(0)
        .json()
}

#[track_caller]
fn setting<'e>(explained: &'e Value, path: &str) -> &'e Value {
    let settings = explained["settings"].as_array().expect("a list");
    let found = settings.iter().find(|setting| setting["path"] == path);
    found.unwrap_or_else(|| panic!("nothing is told of {path}: {explained:#}"))
}

/// Value and variable of each setting that came from the environment.
fn by_environment(explained: &Value) -> Vec<(&str, &str, &str)> {
    let settings = explained["settings"].as_array().expect("a list");
    settings
        .iter()
        .filter_map(|setting| {
            Some((
                setting["path"].as_str()?,
                setting["value"].as_str()?,
                setting["from"]["variable"].as_str()?,
            ))
        })
        .collect()
}

#[test]
fn the_common_names_configure_an_image_that_says_only_what_it_runs() {
    let explained = explained(&image(), &COMMON);
    assert_eq!(
        by_environment(&explained),
        [
            (
                "kafka.brokers",
                "kafka-0:9092,kafka-1:9092",
                "KAFKA_BOOTSTRAP_SERVERS"
            ),
            (
                "groups.orders-service.id",
                "orders-service",
                "KAFKA_GROUP_ID"
            ),
            (
                "groups.orders-service.routes.orders",
                "copy",
                "KAFKA_TOPICS"
            ),
            (
                "groups.orders-service.routes.payments",
                "copy",
                "KAFKA_TOPICS"
            ),
            ("groups.orders-service.retry.attempts", "3", "MAX_RETRIES"),
            ("admin.listen", "127.0.0.1:9100", "METRICS_PORT"),
        ]
    );
    assert_eq!(explained["unused"], json!([]));
}

#[test]
fn metrics_are_served_on_every_interface_where_a_token_guards_them() {
    let config = format!("{}admin: {{ token: sixteen-or-more-of-them }}\n", image());
    let explained = explained(&config, &COMMON);
    assert_eq!(setting(&explained, "admin.listen")["value"], "0.0.0.0:9100");
    assert_eq!(setting(&explained, "admin.token")["value"], Value::Null);
    assert_eq!(setting(&explained, "admin.token")["secret"], true);
    assert!(!explained.to_string().contains("sixteen"), "{explained}");
}

#[test]
fn what_the_file_says_goes_before_the_common_names_and_they_are_told_as_unused() {
    let config = format!(
        "{}kafka: {{ brokers: \"b:1\" }}
groups: [{{ id: g, routes: {{ t: copy }}, retry: {{ attempts: 9 }} }}]
admin: {{ listen: \"127.0.0.1:1\" }}
",
        image()
    );
    let explained = explained(&config, &COMMON);
    assert_eq!(by_environment(&explained), []);
    let unused = explained["unused"].as_array().expect("a list").iter();
    let unused: Vec<&str> = unused.filter_map(|it| it["variable"].as_str()).collect();
    assert_eq!(unused, COMMON.map(|(name, _)| name));
}

#[test]
fn a_common_name_that_makes_no_sense_is_refused_by_its_name() {
    let two = image().replace("copy:", "copy: { path: x }, second:");
    let two = two.replace("path: x", &format!("path: \"{}\"", guest("copy")));
    for (config, name, value, message) in [
        (
            image(),
            "MAX_RETRIES",
            "many",
            "`many` is not a number of retries: write 0 to 999",
        ),
        (
            image(),
            "METRICS_PORT",
            "http",
            "`http` is not a port: write 1 to 65535",
        ),
        (
            image(),
            "KAFKA_TOPICS",
            "a b",
            "`a b` cannot be the name of a topic: ",
        ),
        (
            two,
            "KAFKA_TOPICS",
            "t",
            "there are 2 plugins, and it cannot say which of them handles the topics: ",
        ),
    ] {
        let mut env = COMMON.to_vec();
        env.retain(|(other, _)| *other != name);
        env.push((name, value));
        let exit = run(&["explain"], &config, &env).expect_code(78);
        let expected = format!("{name}: {message}");
        assert!(exit.stderr.contains(&expected), "{}", exit.stderr);
    }
}

#[test]
fn sections_and_settings_are_explained_alone_and_a_name_that_is_none_is_answered_with_one_that_is()
{
    let only = [
        "explain",
        "groups.orders-service.retry.backoff",
        "kafka.brokers",
    ];
    let exit = run(&only, &image(), &COMMON).expect_code(0);
    let lines: Vec<&str> = exit.stdout.lines().collect();
    assert_eq!(lines.len(), 5, "{}", exit.stdout);
    assert!(lines[0].starts_with("kafka.brokers"), "{}", lines[0]);
    assert!(
        lines[0].ends_with("KAFKA_BOOTSTRAP_SERVERS"),
        "{}",
        lines[0]
    );
    assert!(lines[1].ends_with(" default"), "{}", lines[1]);

    let exit = run(&["explain", "kafka.broker"], &image(), &COMMON).expect_code(1);
    assert!(
        exit.stderr.contains("did you mean `kafka.brokers`?"),
        "{}",
        exit.stderr
    );
    assert_eq!(exit.stdout, "");
}
