//! Wrong configurations, one mistake each: `millrace validate` ends with the code for a bad configuration and one
//! message, which names line and column and says what is wrong.

use crate::harness::host::command_with;
use crate::harness::process;

/// What is sound, with places for mistakes: lines of the plugin, of the group and of the top.
const SOUND: &str = "kafka: { brokers: b:9092 }
plugins:
  p:
    path: p.wasm
    PLUGIN
groups:
  - id: g
    routes: { t: p }
    GROUP
TOP
";

/// Where a mistake is made.
#[derive(Clone, Copy)]
enum At {
    Plugin,
    Group,
    Top,
    /// In the place of what is written.
    InPlaceOf(&'static str),
}

use At::{Group, InPlaceOf, Plugin, Top};

/// Where the mistake is made; what is written there, with a `§` where the message has to point; and what it has to
/// say.
const WRONG: &[(At, &str, &str)] = &[
    // Not what YAML is, or not what is taken of it.
    (
        Top,
        "§kafka: {}",
        "`kafka` is written twice, first on line 1: keep one",
    ),
    (
        Group,
        "retry: { attempts: 1, §attempts: 2 }",
        "`attempts` is written twice",
    ),
    (
        Top,
        "admin: { token: §!secret x }",
        "tags are not used here",
    ),
    (InPlaceOf("p.wasm"), "§[p.wasm]", "this is a list"),
    // Keys that there are not, and keys that are missing.
    (
        Top,
        "§grups: []",
        "unknown key `grups`: did you mean `groups`?",
    ),
    (
        Plugin,
        "§limit: {}",
        "unknown key `limit` in `plugins.p`: did you mean `limits`?",
    ),
    (
        Group,
        "retry: { backoff: { §intial: 1s } }",
        "did you mean `initial`?",
    ),
    (
        Group,
        "§color: red",
        "unknown key `color` in `groups.g`: the keys here are id, routes",
    ),
    (
        InPlaceOf("kafka: { brokers: b:9092 }"),
        "§kafka: {}",
        "`kafka.brokers` is missing",
    ),
    (
        InPlaceOf("  p:\n    path: p.wasm"),
        "  §p:\n    tick: 1s",
        "`plugins.p.path` is missing",
    ),
    (Group, "§dedup: {}", "`groups.g.dedup.id` is missing"),
    (
        Top,
        "ingest: { §grpc: {} }",
        "`ingest.grpc.listen` is missing",
    ),
    (Top, "§ingest: {}", "`ingest` has no gateway"),
    (
        Top,
        "§schema_registry: {}",
        "`schema_registry.url` is missing",
    ),
    // Values without a unit, of another form, or out of range.
    (
        Plugin,
        "tick: §10",
        "`10` has no unit: write for example `10ms`, `10s` or `10m`",
    ),
    (Plugin, "tick: §soon", "`soon` is not a duration"),
    (Plugin, "tick: §1.5s", "`1.5s` is not a whole number of s"),
    (Plugin, "tick: §10 fortnights", "unknown unit `fortnights`"),
    (
        Plugin,
        "tick: §10ms",
        "`10ms` is out of range: write 100ms to 1d",
    ),
    (Plugin, "§tick:", "`plugins.p.tick` has no value"),
    (Plugin, "limits: { memory: §64 }", "`64` has no unit"),
    (
        Plugin,
        "limits: { memory: §8GiB }",
        "`8GiB` is out of range: write 64KiB to 4GiB",
    ),
    (
        Plugin,
        "limits: { outputs: §\"5\" }",
        "this is a string: write 5 without quotes",
    ),
    (
        Plugin,
        "limits: { host_calls: §2.5 }",
        "`2.5` is not a whole number",
    ),
    (Plugin, "limits: §64MiB", "this is a single value"),
    (
        Plugin,
        "reload: { watch: §yes }",
        "`yes` is not one of true, false",
    ),
    (
        Group,
        "concurrency: §0",
        "`0` is out of range: write 1 to 256",
    ),
    (
        Group,
        "ordering: §keys",
        "`keys` is not one of key, partition, unordered: did you mean `key`?",
    ),
    (
        Group,
        "breaker: { threshold: §2 }",
        "`2` is out of range: write 0.05 to 1",
    ),
    (
        Top,
        "topics: { t: { partitions: §many } }",
        "`many` is not a number",
    ),
    (
        Top,
        "admin: { listen: §localhost:1 }",
        "`localhost:1` is not an IP address and port",
    ),
    // Names and forms of the host's own.
    (
        Plugin,
        "grants: [§loging]",
        "there is no grant `loging`: did you mean `logging`?",
    ),
    (
        Plugin,
        "grants: [state, §state]",
        "`state` is granted twice",
    ),
    (
        Plugin,
        "grants: [§\"output:a b\"]",
        "`a b` cannot be the name of a topic",
    ),
    (
        Plugin,
        "config: { a: §[1] }",
        "this is a list: write one value",
    ),
    (
        Plugin,
        "canary: { path: p.wasm, share: §200% }",
        "`200%` is no share",
    ),
    (
        Plugin,
        "shadow: { plugin: §other }",
        "there is no plugin `other`",
    ),
    (Group, "dedup: { id: §uuid }", "`uuid` is no source of ids"),
    (
        Group,
        "dedup: { id: §\"json:id\" }",
        "`id` is not a JSON pointer: write `json:/id`",
    ),
    (
        Group,
        "store: §~/data",
        "`~` is not expanded: write `${HOME}/data`",
    ),
    (
        Group,
        "retry: { topic: §\"{topc}.retry\" }",
        "has a placeholder that is unknown",
    ),
    (InPlaceOf("t: p"), "t: §q", "there is no plugin `q`"),
    (
        InPlaceOf("{ t: p }"),
        "§{}",
        "there is no route: write `topic: plugin`",
    ),
    (InPlaceOf("p.wasm"), "§absent.wasm", "there is no file "),
    (
        InPlaceOf("brokers: b:9092"),
        "brokers: §\"a, b c\"",
        "is not a list of brokers",
    ),
    (
        Top,
        "schema_registry: { url: §registry:8081 }",
        "no address of a schema registry",
    ),
    (
        Top,
        "correlation: { header: §traceparent }",
        "means something else",
    ),
    // Values that do not go together, or break a promise.
    (
        InPlaceOf("brokers: b:9092"),
        "brokers: b:9092, properties: { §acks: 1 }",
        "`kafka.properties.acks` cannot be set: an event settles only after all replicas have its outputs",
    ),
    (
        InPlaceOf("brokers: b:9092"),
        "brokers: b:9092, §sasl: { mechanism: PLAIN, username: u, password: w }",
        "`kafka.sasl` without `kafka.tls` logs in over connections that everyone on the way can read",
    ),
    (
        Top,
        "drain_timeout: §1m",
        "must be below session.timeout.ms, which is 45s",
    ),
    (
        Plugin,
        "grants: §[journal]",
        "the journal is granted but has no file",
    ),
    (
        Plugin,
        "§journal: { path: a.log }",
        "`plugins.p.journal` is not granted",
    ),
    (
        Plugin,
        "§state: { quota: 1GiB }",
        "`plugins.p.state` is not granted",
    ),
    (
        Plugin,
        "recycle: { memory: §65MiB }",
        "is more than `limits.memory`",
    ),
    (
        Group,
        "delivery: §transactional",
        "transactional delivery is not built",
    ),
    (
        Group,
        "dead_letter: { topic: §t }",
        "where its own dead letters go",
    ),
    (
        Group,
        "retry: { backoff: { initial: 1m, max: §1s } }",
        "is 1s, below `initial`",
    ),
    (
        Top,
        "admin: { listen: §\"0.0.0.0:9464\" }",
        "is no loopback address",
    ),
    (
        Top,
        "admin: { token: §short }",
        "a token has at least 16 characters",
    ),
    (
        Top,
        "validation: { v: §{ folder: f } }",
        "there is nothing to check",
    ),
    // Values from elsewhere.
    (
        Top,
        "drain_timeout: §${NOT_SET_ANYWHERE}",
        "the variable NOT_SET_ANYWHERE is not set",
    ),
    (Top, "drain_timeout: §\"${file:absent}\"", "cannot be read"),
    (Top, "drain_timeout: §\"${NOT SET}\"", "names no variable"),
];

#[test]
fn each_wrong_configuration_gets_one_clear_message_with_line_and_column() {
    assert!(WRONG.len() >= 40);
    let folder = process::folder("wrong");
    std::fs::write(folder.join("p.wasm"), b"\0asm").expect("the folder can be written");
    let file = folder.join("millrace.yaml");
    let mut flaws = Vec::new();
    for (at, written, message) in WRONG {
        let marked = match at {
            Plugin => SOUND.replace("PLUGIN", written),
            Group => SOUND.replace("GROUP", written),
            Top => SOUND.replace("TOP", written),
            InPlaceOf(text) => SOUND.replacen(text, written, 1),
        };
        let marked = marked
            .replace("    PLUGIN\n", "")
            .replace("    GROUP\n", "")
            .replace("TOP\n", "");
        let before = marked.split('§').next().expect("it has a start");
        let line = before.matches('\n').count() + 1;
        let column = before.lines().last().map_or(0, |last| last.chars().count()) + 1;
        let column = if before.ends_with('\n') { 1 } else { column };
        std::fs::write(&file, marked.replace('§', "")).expect("the folder can be written");

        let path = file.display().to_string();
        let exit = command_with(&["validate", "-c", &path], &[]);
        let said: Vec<&str> = exit.stderr.lines().collect();
        let place = format!("{path}:{line}:{column}: ");
        let sound = matches!(said[..], [one, "1 problem in the configuration"]
            if one.strip_prefix(&place).is_some_and(|said| said.contains(message)));
        if exit.code != Some(78) || !exit.stdout.is_empty() || !sound {
            flaws.push(format!(
                "{written}\n  wanted code 78 and {place}{message}\n  got {:?} {}{}",
                exit.code, exit.stdout, exit.stderr
            ));
        }
    }
    assert!(flaws.is_empty(), "{}", flaws.join("\n"));
}
