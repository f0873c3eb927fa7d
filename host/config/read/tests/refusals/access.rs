//! Who may come in, and how: what is refused of tokens, rights, certificates and addresses.

use super::super::*;
use crate::config::TopicRight;

const TOKEN: &str = "sixteen-bytes-at-least";

/// The only problem of a document with this line below `ingest`.
#[track_caller]
fn refused_below_ingest(line: &str, words: &str) {
    let text =
        format!("kafka: {{ brokers: b }}\ningest:\n  grpc: {{ listen: 127.0.0.1:1 }}\n  {line}\n");
    refused(&text, words);
}

#[track_caller]
fn refused(text: &str, words: &str) {
    let found = Folder::new().refused(text);
    let [found] = &found[..] else {
        panic!("{text}: {found:?}")
    };
    assert!(found.contains(words), "{words:?} is not in {found:?}");
    assert!(!found.contains("short-secret"), "a token is shown: {found}");
}

#[test]
fn clients_have_names_tokens_and_topics_of_their_own() {
    let one = |more: &str| format!("clients: [{{ name: a, {more} }}]");
    let token = format!("token: {TOKEN}");
    for (line, words) in [
        ("clients: []".to_owned(), "nobody could publish"),
        (
            one(&format!("{token}, topics: []")),
            "the client could publish nothing",
        ),
        (
            one(&format!("{token}, topics: [a b]")),
            "cannot be the name of a topic",
        ),
        (
            one(&format!("{token}, topics: [\"a b*\"]")),
            "cannot be the name of a topic",
        ),
        (one(&token), "topics` is missing"),
        (one("topics: [t]"), "token` is missing"),
        (
            one("token: short-secret, topics: [t]"),
            "at least 16 characters",
        ),
        (
            one("token: \"short-secret and spaces\", topics: [t]"),
            "without spaces",
        ),
        (
            one(&format!("{token}, topic: [t], topics: [t]")),
            "did you mean `topics`?",
        ),
        (
            format!(
                "clients: [{{ name: a, {token}, topics: [t] }}, {{ name: a, token: another-{TOKEN}, topics: [t] }}]"
            ),
            "another client has the name `a`",
        ),
        (
            format!(
                "clients: [{{ name: a, {token}, topics: [t] }}, {{ name: b, {token}, topics: [t] }}]"
            ),
            "client `a` has the same token",
        ),
    ] {
        refused_below_ingest(&line, words);
    }
}

#[test]
fn certificates_and_limits_of_connections_are_checked() {
    for (line, words) in [
        ("tls: { cert: c }", "key` is missing"),
        ("tls: { key: k }", "cert` is missing"),
        ("tls: { cert: c, key: k, ca: x }", "unknown key `ca`"),
        ("connections: { max: 0 }", "is out of range"),
        ("connections: { handshake_timeout: 1ms }", "is out of range"),
        ("connections: { header_timeout: 1h }", "is out of range"),
    ] {
        refused_below_ingest(line, words);
    }
}

#[test]
fn an_admin_server_that_others_reach_needs_a_token() {
    let with = |admin: &str| {
        format!(
            "kafka: {{ brokers: b }}\ningest: {{ grpc: {{ listen: 127.0.0.1:1 }} }}\nadmin: {{ {admin} }}\n"
        )
    };
    for listen in ["0.0.0.0:9464", "\"[::]:9464\"", "10.0.0.1:9464"] {
        refused(
            &with(&format!("listen: {listen}")),
            "is no loopback address",
        );
    }
    refused(
        &with("listen: 0.0.0.0:1, token: short-secret"),
        "at least 16 characters",
    );
    let folder = Folder::new();
    for fine in [
        "listen: \"[::1]:9464\"".to_owned(),
        format!("listen: 0.0.0.0:9464, token: {TOKEN}"),
    ] {
        folder.read(&with(&fine), &[], &[]).unwrap();
    }
}

#[test]
fn tokens_come_from_files_and_variables_and_are_not_printed() {
    let folder = Folder::new();
    std::fs::write(folder.0.path().join("token"), format!("{TOKEN}\n")).unwrap();
    let text = "
kafka: { brokers: b }
ingest:
  grpc: { listen: 127.0.0.1:1 }
  clients:
    - { name: a, token: \"${file:token}\", topics: [t, \"u.*\"] }
    - { name: b, token: \"${TOKEN_OF_B}\", topics: [\"*\"] }
";
    let env = [("TOKEN_OF_B", "a-token-in-a-variable")];
    let config = folder.read(text, &env, &[]).unwrap();
    let [a, b] = &config.ingest.clients[..] else {
        panic!("two clients")
    };
    assert_eq!(
        (a.token.reveal(), b.token.reveal()),
        (TOKEN, "a-token-in-a-variable")
    );
    assert_eq!(
        a.topics,
        [TopicRight("t".to_owned()), TopicRight("u.*".to_owned())]
    );
    let printed = format!("{config:?}");
    assert!(
        !printed.contains(TOKEN) && !printed.contains("in-a-variable"),
        "{printed}"
    );
}
