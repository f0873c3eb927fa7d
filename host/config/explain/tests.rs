//! What is told of a configuration.

use std::path::Path;

use super::*;
use crate::config::finding::ConfigError;
use crate::config::read;

/// A folder with a component, because the path of a plugin must lead to a file.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for file in ["p.wasm", "secret", "ca.pem", "token"] {
            std::fs::write(folder.path().join(file), "from-the-file\n").unwrap();
        }
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn explain(
        &self,
        text: &str,
        env: &[(&str, &str)],
        sets: &[&str],
    ) -> Result<Explained, ConfigError> {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        read::explain_text(text, "m.yaml", self.path(), &environment(env), &sets)
            .map(|(_, explained)| explained)
    }
}

fn environment(env: &[(&str, &str)]) -> Environment {
    let always = [("HOME", "/home/me")];
    let all = always.iter().chain(env);
    all.map(|(name, value)| ((*name).into(), (*value).into()))
        .collect()
}

fn at<'e>(explained: &'e Explained, path: &str) -> &'e Setting {
    let mut found = explained
        .settings
        .iter()
        .filter(|setting| setting.path == path);
    let setting = found
        .next()
        .unwrap_or_else(|| panic!("nothing is told of {path}"));
    assert_eq!(found.next(), None, "{path} is told twice");
    setting
}

fn is(text: &str) -> Value {
    Value::Is(text.to_owned())
}

const FILE: &str = r#"kafka:
  brokers: "${BROKER}:9092"
  tls: off
  sasl: { mechanism: PLAIN, username: me, password: "${file:secret}" }
  properties: { client.id: me, xx.password: hush, linger.ms: "5" }
plugins:
  p:
    path: p.wasm
    grants: [config, "output:o"]
    config: { window: 60s, api-token: hush, greeting: "${GREETING}", key: "${DB_PASSWORD}" }
groups:
  - id: g.1
    routes: { token-events: p, u: { plugin: p } }
    retry: { attempts: 3 }
  - { id: h, routes: { t: p } }
admin: { listen: 127.0.0.1:1, token: a-token-of-sixteen-or-more }
"#;

const ENV: [(&str, &str); 3] = [
    ("BROKER", "b"),
    ("GREETING", "hello"),
    ("DB_PASSWORD", "hush"),
];

/// Settings of the file above with these variables, their values, and where those came from.
fn told() -> Vec<(&'static str, Value, Came)> {
    vec![
        (
            "kafka.brokers",
            is("b:9092"),
            Came::File {
                line: 2,
                column: 12,
            },
        ),
        ("kafka.tls", is("off"), Came::File { line: 3, column: 8 }),
        ("kafka.message_max", is("1000000B"), Came::Default),
        (
            "plugins.p.grants",
            is("[config, output:o]"),
            Came::File {
                line: 9,
                column: 13,
            },
        ),
        (
            "plugins.p.tick",
            is("2s"),
            Came::Outside("--set plugins.p.tick".to_owned()),
        ),
        ("plugins.p.limits.memory", is("64MiB"), Came::Default),
        ("plugins.p.limits.fuel", Value::Nothing, Came::Default),
        ("plugins.p.canary", Value::Nothing, Came::Default),
        (
            "groups.g.1.retry.attempts",
            is("3"),
            Came::File {
                line: 14,
                column: 24,
            },
        ),
        (
            "groups.h.retry.attempts",
            is("8"),
            Came::Outside("MAX_RETRIES".to_owned()),
        ),
        ("groups.g.1.dead_letter.topic", is("g.1.dlq"), Came::Default),
        (
            "groups.g.1.store",
            is("/home/me/.local/state/millrace/g.1"),
            Came::Default,
        ),
        (
            "groups.h.store",
            is("/data/h"),
            Came::Outside("MILLRACE__GROUPS__H__STORE".to_owned()),
        ),
        (
            "groups.h.dead_letter.partitions",
            Value::Told("as many as the largest source"),
            Came::Default,
        ),
        ("ingest", Value::Nothing, Came::Default),
        ("drain_timeout", is("20s"), Came::Default),
    ]
}

#[test]
fn each_setting_is_told_with_its_value_and_where_that_came_from() {
    let env = [
        ENV[0],
        ENV[1],
        ENV[2],
        ("MILLRACE__GROUPS__H__STORE", "/data/h"),
        ("KAFKA_BOOTSTRAP_SERVERS", "other:1"),
        ("KAFKA_GROUP_ID", "h"),
        ("MAX_RETRIES", "7"),
    ];
    let explained = Folder::new()
        .explain(FILE, &env, &["plugins.p.tick=2s"])
        .unwrap();
    for (path, value, came) in told() {
        let setting = at(&explained, path);
        assert_eq!((&setting.value, &setting.came), (&value, &came), "{path}");
    }
    assert_eq!(at(&explained, "kafka.brokers").through, ["BROKER"]);
    let unused: Vec<&str> = explained.unused.iter().map(|it| it.variable).collect();
    assert_eq!(unused, ["KAFKA_BOOTSTRAP_SERVERS", "KAFKA_GROUP_ID"]);
}

#[test]
fn no_secret_is_told() {
    let explained = Folder::new().explain(FILE, &ENV, &[]).unwrap();
    for path in [
        "kafka.sasl.password",
        "kafka.properties.xx.password",
        "plugins.p.config.api-token",
        "plugins.p.config.key",
        "admin.token",
    ] {
        assert_eq!(at(&explained, path).value, Value::Hidden, "{path}");
    }
    for (path, value) in [
        ("kafka.properties.client.id", "me"),
        ("plugins.p.config.greeting", "hello"),
        ("groups.g.1.routes.token-events", "p"),
        ("groups.g.1.routes.u.plugin", "p"),
    ] {
        assert_eq!(at(&explained, path).value, is(value), "{path}");
    }
    let told = format!("{explained:?}");
    for secret in ["hush", "from-the-file", "a-token-of"] {
        assert!(!told.contains(secret), "{secret} is told");
    }
}

#[test]
fn what_is_told_as_a_default_is_what_the_readers_take() {
    let folder = Folder::new();
    let text = r#"
kafka: { brokers: b, tls: {}, sasl: { mechanism: OAUTHBEARER, token: { file: token } } }
plugins:
  p:
    path: p.wasm
    grants: [state, journal]
    journal: { path: j.log }
    canary: { path: p.wasm, share: 5% }
groups:
  - { id: g, routes: { t: p }, dedup: { id: key }, retry: { mode: topic } }
ingest:
  grpc: { listen: 127.0.0.1:1 }
  http: { listen: 127.0.0.1:2 }
topics: { t: {} }
schema_registry: { url: "http://r", encode: { t: {} } }
"#;
    let config = |sets: &[String]| {
        let env = environment(&[]).into_iter();
        read::parse(text, "m.yaml", folder.path(), env, sets).unwrap()
    };
    let explained = folder.explain(text, &[], &[]).unwrap();
    let mut sets = Vec::new();
    for Setting {
        path, value, came, ..
    } in &explained.settings
    {
        if let (Came::Default, Value::Is(text)) = (came, value) {
            let text = match text.contains('{') {
                true => format!("\"{text}\""),
                false => text.clone(),
            };
            sets.push(format!("{path}={text}"));
        }
    }
    assert!(sets.len() > 80, "only {} defaults are told", sets.len());
    assert_eq!(config(&sets), config(&[]));
}
