//! `millrace validate --online` against a Kafka that gives each user the rights that he was given, and against servers
//! that are not there: everything that is wrong is told at once, and nothing is made.

use std::path::Path;

use serde_json::Value;

use crate::harness::host::{Exit, command, command_with};
use crate::harness::kafka::{Listener, Node, run_java};
use crate::harness::main_flow::guest;
use crate::harness::topic::Topic;
use crate::harness::{process, schema_registry};

const WRONG: i32 = 78;
const REFUSED: i32 = 77;
const AWAY: i32 = 69;

/// Who may everything, and who may what he was given.
const USERS: [&str; 2] = ["ada", "eve"];

const PASSWORD: &str = "correct-horse-7";

/// A node where everybody logs in.
fn node(login: u16) -> Node {
    let listener = Listener {
        name: "LOGIN",
        protocol: "SASL_PLAINTEXT",
        port: login,
    };
    let users = USERS.map(|user| format!("user_{user}=\"{PASSWORD}\""));
    let properties = format!(
        "listener.name.login.sasl.enabled.mechanisms=PLAIN\n\
         listener.name.login.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required {};\n\
         authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
         super.users=User:ANONYMOUS;User:ada\n",
        users.join(" ")
    );
    Node::start_secured(&[listener], &properties, &[])
}

/// A host that copies `orders` to `out`.
fn config(kafka: &str, more: &str) -> String {
    format!(
        "kafka: {kafka}\nplugins:\n  copy:\n    path: {}\n    grants: [config, \"output:out\"]\n    \
         config: {{ output: out, host: h, wait_us: 0, down_ms: \"\" }}\n\
         groups:\n  - id: g\n    routes: {{ orders: copy, nowhere: copy }}\n    dead_letter: {{ topic: orders.dlq }}\n    \
         store: store\n{more}",
        guest("copy")
    )
}

fn logged_in(port: u16, user: &str) -> String {
    format!(
        "{{ brokers: \"localhost:{port}\", properties: {{ broker.address.family: v4 }}, tls: off, \
         sasl: {{ mechanism: PLAIN, username: {user}, password: \"{PASSWORD}\" }} }}"
    )
}

fn validate(config: &str) -> Exit {
    let file = process::folder("online").join("millrace.yaml");
    std::fs::write(&file, config).expect("the folder can be written");
    let file = file.display().to_string();
    let args = [
        "validate",
        "--online",
        "--timeout",
        "3s",
        "--output",
        "json",
    ];
    let args: Vec<&str> = args.into_iter().chain(["-c", &file]).collect();
    command_with(&args, &[])
}

/// What was found, and the message of each.
fn found(exit: &Exit) -> Vec<(String, String, String)> {
    let answer: Value = serde_json::from_str(&exit.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {}", exit.stdout, exit.stderr));
    let text = |value: &Value| value.as_str().expect("it is text").to_owned();
    let checks = answer["online"].as_array().expect("it was asked").iter();
    checks
        .map(|check| {
            let [about, state, message] =
                ["about", "state", "message"].map(|key| text(&check[key]));
            (about, state, message)
        })
        .collect()
}

#[track_caller]
fn assert_found(exit: &Exit, expected: &[(&str, &str, &str)]) {
    let mut found = found(exit);
    found.sort();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    let fits = found.len() == expected.len()
        && found
            .iter()
            .zip(&expected)
            .all(|((about, state, message), (wanted, word, part))| {
                (about.as_str(), state.as_str()) == (*wanted, *word) && message.contains(part)
            });
    assert!(fits, "wanted {expected:#?}\nfound {found:#?}");
}

#[test]
fn brokers_topics_and_rights_are_asked_for_all_at_once_and_nothing_is_made() {
    let login = process::free_port();
    let node = node(login);
    let brokers = node.brokers();
    for topic in ["orders", "orders.dlq"] {
        Topic::create_with(&brokers, topic, 3, &[]);
    }

    let exit = validate(&config(&logged_in(login, "ada"), "")).expect_code(WRONG);
    assert_found(
        &exit,
        &[
            ("kafka", "ok", "1 broker at localhost:"),
            ("topic orders", "ok", "group g reads it"),
            (
                "topic orders.dlq",
                "ok",
                "the dead letters of group g go there",
            ),
            (
                "topic out",
                "missing",
                "the host makes it; outputs of group g go there",
            ),
            (
                "topic nowhere",
                "wrong",
                "it does not exist, and the host makes no topic that it only reads",
            ),
            // Nobody has asked this cluster for a group before: it answers once it keeps some.
            ("group g", "ok", "this client may join it"),
        ],
    );
    assert!(
        exit.stderr
            .contains("1 problem with what the configuration needs"),
        "{}",
        exit.stderr
    );
    let listed = command(&["topics", "list", "--brokers", &brokers]).expect_code(0);
    assert!(
        !listed.stdout.contains("out"),
        "it was made: {}",
        listed.stdout
    );

    let acls = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/Acls.java");
    let rights = "TOPIC orders READ TOPIC orders.dlq DESCRIBE";
    let rights: Vec<&str> = rights.split(' ').collect();
    let args: Vec<&str> = [brokers.as_str(), "eve"]
        .into_iter()
        .chain(rights)
        .collect();
    run_java(&acls, &args);
    let exit = validate(&config(&logged_in(login, "eve"), "")).expect_code(WRONG);
    assert_found(
        &exit,
        &[
            ("kafka", "ok", "1 broker at localhost:"),
            ("topic orders", "ok", "group g reads it"),
            ("topic orders.dlq", "wrong", "lacks the right Write"),
            ("topic out", "wrong", "does not show it to this client"),
            ("topic nowhere", "wrong", "does not show it to this client"),
            ("group g", "wrong", "lacks the right Read"),
        ],
    );

    let wrong = logged_in(login, "ada").replace(PASSWORD, "wrong-horse");
    let exit = validate(&config(&wrong, "")).expect_code(REFUSED);
    assert_found(&exit, &[("kafka", "wrong", "refuse the login")]);
}

#[test]
fn servers_that_are_not_there_are_told_within_the_time_for_an_answer() {
    let (kafka, registry) = (process::free_port(), process::free_port());
    let kafka = format!("{{ brokers: \"127.0.0.1:{kafka}\" }}");
    let more = format!("schema_registry: {{ url: \"http://127.0.0.1:{registry}\" }}\n");
    let exit = validate(&config(&kafka, &more)).expect_code(AWAY);
    let registry = format!("schema registry http://127.0.0.1:{registry}");
    assert_found(
        &exit,
        &[
            ("kafka", "wrong", "no Kafka broker answered at 127.0.0.1:"),
            (&registry, "wrong", "/schemas/types: "),
        ],
    );
}

#[test]
fn a_schema_registry_is_asked_for_the_schemas_that_outputs_are_written_by() {
    let url = schema_registry::shared().url();
    let more = format!("schema_registry: {{ url: \"{url}\", encode: {{ out: avro }} }}\n");
    let kafka = format!("{{ brokers: \"127.0.0.1:{}\" }}", process::free_port());
    let exit = validate(&config(&kafka, &more)).expect_code(WRONG);
    let found = found(&exit);
    let (about, state, message) = &found[1];
    assert_eq!(
        (about.as_str(), state.as_str()),
        (format!("schema registry {url}").as_str(), "wrong")
    );
    assert!(
        message.contains("the schema that outputs to out are written by: "),
        "{message}"
    );
}
