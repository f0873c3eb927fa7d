//! The configuration as operators meet it: what loads, what is refused, and with which words.

mod groups;
mod refusals;
mod sandbox;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::*;
use crate::config::{
    Breaker, Correlation, DeadLetter, Dedup, Dialect, Grants, Group, GrpcIngest, IdSource,
};
use crate::config::{CloudEventsIngest, CloudEventsMode, HttpIngest};
use crate::config::{
    Journal, Kafka, Limits, Ordering, Plugin, Recycle, Retry, RetryMode, StartFrom, places,
};
use crate::config::{Origin, Registry, Reload, Route, TopicPlan, TopicRules};

const ENV: [(&str, &str); 2] = [("XDG_STATE_HOME", "/state"), ("WINDOW", "12h")];

/// What every document needs, and nothing else.
const MINIMAL: &str = "
kafka: { brokers: b:9092 }
plugins:
  p: { path: p.wasm, grants: [journal, state], journal: { path: j.log } }
groups:
  - { id: g, routes: { t: p }, dedup: { id: key } }
ingest: { grpc: { listen: 127.0.0.1:50051 }, http: { listen: 127.0.0.1:8080 } }
";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("plugins")).unwrap();
        for file in [
            "p.wasm",
            "q.wasm",
            "plugins/analytics.wasm",
            "plugins/audit.wasm",
        ] {
            std::fs::write(folder.path().join(file), b"\0asm").unwrap();
        }
        Self(folder)
    }

    fn read(&self, text: &str, env: &[(&str, &str)], sets: &[&str]) -> Result<Config, ConfigError> {
        let env = ENV
            .iter()
            .chain(env)
            .map(|(name, value)| ((*name).into(), (*value).into()));
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        parse(text, "m.yaml", self.0.path(), env, &sets)
    }

    fn refused(&self, text: &str) -> Vec<String> {
        let root = format!("{}/", self.0.path().display());
        let error = self.read(text, &[], &[]).expect_err(text);
        error
            .findings
            .iter()
            .map(|finding| finding.to_string().replace(&root, ""))
            .collect()
    }
}

/// Puts lines in place of the group of a small document.
fn with_group(lines: &str) -> String {
    format!("kafka: {{ brokers: b }}\nplugins: {{ p: {{ path: p.wasm }} }}\ngroups:\n{lines}")
}

/// Puts a line into the only plugin of a small document.
fn with_plugin(line: &str) -> String {
    format!(
        "kafka: {{ brokers: b }}\nplugins:\n  p:\n    path: p.wasm\n    {line}\ngroups:\n  - {{ id: g, \
         routes: {{ t: p }} }}\n"
    )
}

/// Puts a line into the only group of a small document.
fn with_key(line: &str) -> String {
    with_group(&format!("  - id: g\n    routes: {{ t: p }}\n    {line}\n"))
}

fn default_group() -> Group {
    Group {
        id: "g".to_owned(),
        routes: [("t".to_owned(), Route::to("p"))].into(),
        patterns: Vec::new(),
        ordering: Ordering::Key,
        concurrency: places::default_concurrency(),
        dedup: Some(Dedup {
            id: IdSource::Key,
            window: Duration::from_hours(24),
            max_events: 100_000,
            rebuild_timeout: Duration::from_mins(1),
        }),
        retry: Retry {
            attempts: 5,
            initial: Duration::from_millis(100),
            factor: 2.0,
            max: Duration::from_secs(30),
            jitter: 0.2,
            mode: RetryMode::Park,
            topics: [].into(),
            topic_name: None,
            retention: Duration::from_hours(7 * 24),
            max_age: Duration::from_hours(24),
            max_park: Duration::from_mins(15),
            park_events: 100_000,
            park_bytes: 32 << 20,
        },
        breaker: Some(Breaker {
            threshold: 0.5,
            min_keys: 10,
            window: Duration::from_secs(10),
            probe_initial: Duration::from_secs(1),
            probe_max: Duration::from_secs(30),
        }),
        dead_letter: DeadLetter {
            topic: "g.dlq".to_owned(),
            dialect: Dialect::Millrace,
            partitions: None,
            retention: None,
        },
        store: PathBuf::from("/state/millrace/g"),
        commit_interval: Duration::from_millis(250),
        commit_map: true,
        start_from: StartFrom::Earliest,
    }
}

fn default_http() -> HttpIngest {
    HttpIngest {
        listen: "127.0.0.1:8080".parse().unwrap(),
        event_max_bytes: 998_976,
        request_max_bytes: 4 << 20,
        batch_max: 10_000,
        in_flight_max: 10_000,
        requests_max: 512,
        body_timeout: Duration::from_secs(35),
        cloudevents: CloudEventsIngest {
            mode: CloudEventsMode::Binary,
            key: None,
        },
    }
}

/// The plugin that the smallest configuration has, with its journal.
fn default_plugin(base: &Path) -> Plugin {
    Plugin {
        path: base.join("p.wasm"),
        origin: Origin::default(),
        grants: Grants {
            journal: true,
            state: true,
            ..Grants::default()
        },
        tick: Duration::from_secs(10),
        settings: [].into(),
        secret_parts: [].into(),
        journal: Some(Journal {
            path: base.join("j.log"),
            rotate_bytes: 100 << 20,
            rotate_age: None,
            keep: None,
        }),
        state_quota_bytes: 64 << 20,
        limits: Limits::default(),
        reload: Reload::default(),
        recycle: Recycle::default(),
        trial: None,
        transcripts: false,
        only_watches: false,
    }
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let folder = Folder::new();
    let base = folder.0.path();
    let expected = Config {
        kafka: Kafka::at("b:9092"),
        plugins: [("p".to_owned(), default_plugin(base))].into(),
        validation: BTreeMap::new(),
        schema_registry: None,
        groups: vec![default_group()],
        topics: [].into(),
        correlation: Correlation::default(),
        ingest: Ingest {
            validate: TopicRules::default(),
            grpc: Some(GrpcIngest {
                listen: "127.0.0.1:50051".parse().unwrap(),
                event_max_bytes: 998_976,
                in_flight_max: 10_000,
                calls_max: 256,
                calls_of_connection_max: 64,
            }),
            http: Some(default_http()),
            ..Ingest::default()
        },
        admin: Admin {
            listen: "127.0.0.1:9464".parse().unwrap(),
            token: None,
            tls: None,
        },
        drain_timeout: Duration::from_secs(20),
        compile_cache: None,
        registry: Registry::default(),
        tracing: None,
    };
    assert_eq!(folder.read(MINIMAL, &[], &[]).unwrap(), expected);
}

#[test]
fn a_plugin_can_be_left_as_it_is_until_somebody_asks() {
    let folder = Folder::new();
    let read = |set: &str| {
        let set = format!("plugins.p.reload.{set}");
        folder.read(MINIMAL, &[], &[&set])
    };
    let reload = |set: &str| read(set).unwrap().plugins["p"].reload;
    assert!(reload("watch=true").watch && !reload("watch=false").watch);
    assert!(!reload("watch=true").approve_grants && reload("approve_grants=true").approve_grants);
    assert!(read("approve=true").is_err());
}

#[test]
fn the_example_of_the_documentation_loads() {
    let folder = Folder::new();
    let document = include_str!("../../../docs/configuration.md");
    let example = document
        .split("```yaml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let config = folder.read(example, &[], &[]).unwrap();
    let base = folder.0.path();
    let analytics = &config.plugins["analytics"];
    assert_eq!(analytics.path, base.join("plugins/analytics.wasm"));
    assert!(analytics.grants.metrics && analytics.grants.tally && !analytics.grants.state);
    assert_eq!(analytics.grants.output_topics, ["analytics.counts"]);
    assert_eq!(analytics.settings["window"], "60s");
    let [first, second] = &config.groups[..] else {
        panic!("two groups")
    };
    let dedup = first.dedup.as_ref().unwrap();
    assert_eq!(dedup.id, IdSource::Json(vec!["id".to_owned()]));
    assert_eq!(first.dead_letter.topic, "user-events.dlq");
    assert_eq!(first.store, base.join("./data"));
    assert_eq!(second.dead_letter.topic, "audit-service.dlq");
    assert_eq!(second.store, PathBuf::from("/state/millrace/audit-service"));
    assert!(config.plugins["audit"].journal.is_some() && second.dedup.is_none());
}

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_the_file() {
    let text = "\
kafka:
  brokerz: localhost:9092
  message_max: 1000000
  message_max: 5
plugins:
  audit:
    path: absent.wasm
    grants: [jornal, state, ${NOT_SET}]
    tick: [10s]
groups:
  - id: g
    routes: { events: adit, 'a b': audit }
    concurrency: 300
drain_timeout: 1m
";
    let folder = Folder::new();
    let error = folder.read(
        &text.replace("${NOT_SET}", "'${NOT_SET}'"),
        &[("MILLRACE__ADMIN__PORT", "1")],
        &[],
    );
    let said = error
        .unwrap_err()
        .to_string()
        .replace(&format!("{}/", folder.0.path().display()), "");
    assert_eq!(
        said,
        "\
m.yaml:1:1: `kafka.brokers` is missing: write for example `brokers: localhost:9092`, or set the variable KAFKA_BOOTSTRAP_SERVERS
m.yaml:2:3: unknown key `brokerz` in `kafka`: did you mean `brokers`?
m.yaml:3:16: `kafka.message_max`: `1000000` has no unit: write for example `1000000KiB`, `1000000MiB` or `1000000MB`
m.yaml:4:3: `message_max` is written twice, first on line 3: keep one
m.yaml:7:11: `plugins.audit.path`: there is no file absent.wasm: build the plugin, or correct the path
m.yaml:8:14: `plugins.audit.grants.0`: there is no grant `jornal`: did you mean `journal`?
m.yaml:8:29: the variable NOT_SET is not set: set it, or write `${NOT_SET:-default}`
m.yaml:9:11: `plugins.audit.tick`: this is a list: write a duration such as `10s`
m.yaml:12:23: `groups.g.routes.events`: there is no plugin `adit`: did you mean `audit`?
m.yaml:12:29: `a b` cannot be the name of a topic: use 1 to 249 of letters, digits, `.`, `_` and `-`, and not `.` or `..`
m.yaml:13:18: `groups.g.concurrency`: `300` is out of range: write 1 to 256
m.yaml:14:16: `drain_timeout` is 1m but must be below session.timeout.ms, which is 45s: lower the one, or raise the other in `kafka.properties`
MILLRACE__ADMIN__PORT: unknown key `port` in `admin`: the keys here are listen, token, tls
13 problems in the configuration"
    );
}

#[test]
fn defaults_give_way_to_the_file_the_environment_and_the_options_in_this_order() {
    let folder = Folder::new();
    let file = format!("{MINIMAL}drain_timeout: 5s\n");
    let env = [
        ("MILLRACE__DRAIN_TIMEOUT", "6s"),
        ("MILLRACE__GROUPS__G__RETRY__ATTEMPTS", "7"),
    ];
    let drain = |text: &str, env: &[(&str, &str)], sets: &[&str]| {
        folder
            .read(text, env, sets)
            .unwrap()
            .drain_timeout
            .as_secs()
    };
    assert_eq!(drain(MINIMAL, &[], &[]), 20);
    assert_eq!(drain(&file, &[], &[]), 5);
    assert_eq!(drain(&file, &env, &[]), 6);
    assert_eq!(drain(&file, &env, &["drain_timeout=7s"]), 7);
    let config = folder.read(&file, &env, &[]).unwrap();
    assert_eq!(config.groups[0].retry.attempts, 7);
}

#[test]
fn kafka_bootstrap_servers_counts_only_where_nothing_else_names_brokers() {
    let folder = Folder::new();
    let env = [("KAFKA_BOOTSTRAP_SERVERS", "e:1")];
    let brokers = |text: &str| folder.read(text, &env, &[]).unwrap().kafka.brokers;
    assert_eq!(brokers(MINIMAL), "b:9092");
    assert_eq!(brokers(&MINIMAL.replace("brokers: b:9092", "")), "e:1");
    assert_eq!(
        brokers(&MINIMAL.replace("kafka: { brokers: b:9092 }", "")),
        "e:1"
    );
}

#[test]
fn interpolated_values_take_the_type_that_is_wanted() {
    let folder = Folder::new();
    let text = MINIMAL.replace(
        "dedup: { id: key }",
        "dedup: { id: key, window: '${WINDOW}', max_events: \"${MAX:-7}\" }",
    );
    let config = folder.read(&text, &[], &[]).unwrap();
    let dedup = config.groups[0].dedup.as_ref().unwrap();
    assert_eq!(
        (dedup.window, dedup.max_events),
        (Duration::from_hours(12), 7)
    );
    // A value that an option replaces need not be there.
    let text = MINIMAL.replace("brokers: b:9092", "brokers: '${NOT_SET}'");
    let config = folder.read(&text, &[], &["kafka.brokers=c"]).unwrap();
    assert_eq!(config.kafka.brokers, "c");
}

#[test]
fn settings_of_a_plugin_keep_their_spelling() {
    let folder = Folder::new();
    let text = with_plugin("config: { version: 1.10, on: yes, empty: '', n: 0x1F }");
    let settings = folder.read(&text, &[], &[]).unwrap().plugins["p"]
        .settings
        .clone();
    let expected = [
        ("empty", ""),
        ("n", "0x1F"),
        ("on", "yes"),
        ("version", "1.10"),
    ];
    assert!(
        settings
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .eq(expected)
    );
}

#[test]
fn a_file_is_loaded_with_paths_relative_to_it() {
    let folder = Folder::new();
    let path = folder.0.path().join("millrace.yaml");
    std::fs::write(&path, MINIMAL).unwrap();
    let env = ENV.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = load(&path, env.into_iter(), &[]).unwrap();
    assert_eq!(config.plugins["p"].path, folder.0.path().join("p.wasm"));
}

#[test]
fn a_file_that_cannot_be_read_is_one_problem_without_a_place() {
    let error = load(Path::new("/nowhere/m.yaml"), std::iter::empty(), &[]).unwrap_err();
    let said = error.to_string();
    assert!(
        said.starts_with("/nowhere/m.yaml: the configuration cannot be read: "),
        "{said}"
    );
    assert!(said.ends_with("\n1 problem in the configuration"), "{said}");
}
