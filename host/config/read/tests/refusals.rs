//! Documents that are refused, each with the exact words.

mod access;
mod connections;
mod groups;
mod schema_registry;
mod validation;

use super::*;

fn check(cases: &[(String, &str)]) {
    let folder = Folder::new();
    for (text, expected) in cases {
        assert_eq!(folder.refused(text), [*expected], "{text}");
    }
}

#[test]
fn a_text_that_is_not_yaml_is_reported_alone() {
    check(&[
        (
            "kafka: [\nunknown: 1".to_owned(),
            "m.yaml:2:1: this is not YAML: invalid indentation",
        ),
        (
            "plugins: { p: { path: ${X} } }".to_owned(),
            "m.yaml:1:24: this is not YAML: while parsing a flow mapping, did not find expected ',' or '}'; \
             a value with ${...} inside { } or [ ] needs quotes",
        ),
    ]);
}

#[test]
fn the_whole_document_must_make_sense() {
    check(&[
        (
            "kafka: { brokers: b }".to_owned(),
            "m.yaml:1:1: there is nothing to do: write at least one group under `groups`, or a gateway \
             under `ingest`",
        ),
        (
            "- a".to_owned(),
            "m.yaml:1:1: this is not a configuration: write `groups:` and so on",
        ),
        (
            "kafka: { brokers: b }\ngroups:".to_owned(),
            "m.yaml:2:1: `groups` has no value: write a list, each item after a `-`",
        ),
        (
            "kafka: { brokers: b }\ngroups: []".to_owned(),
            "m.yaml:2:1: `groups` is empty: write a group below it, or remove it",
        ),
        (
            "kafka: { brokers: b }\ningest: {}".to_owned(),
            "m.yaml:2:1: `ingest` has no gateway: write `grpc` or `http` below it, or remove it",
        ),
    ]);
}

#[test]
fn gateways_are_checked() {
    let with = |line: &str| format!("kafka: {{ brokers: b }}\n{line}");
    check(&[
        (
            with("ingest: { http: { listen: 127.0.0.1:1, request_max: 100KB } }"),
            "m.yaml:2:53: `ingest.http.request_max`: an event may have 998976B, and a request has to hold \
             one: write at least that, or lower `event_max`",
        ),
        (
            with("ingest: { http: { listen: 127.0.0.1:1, cloudevents: { key: partition-key } } }"),
            "m.yaml:2:60: `ingest.http.cloudevents.key`: no attribute can have this name: write \
             `partitionkey`, or another attribute",
        ),
        (
            with("ingest: { http: { listen: 127.0.0.1:1, cloudevents: { mode: batch } } }"),
            "m.yaml:2:61: `ingest.http.cloudevents.mode`: `batch` is not one of binary, structured: write one \
             of binary, structured",
        ),
        (
            with("ingest: { grpc: { listen: localhost:1 } }"),
            "m.yaml:2:27: `ingest.grpc.listen`: `localhost:1` is not an IP address and port: write for \
             example `127.0.0.1:8080`, or `0.0.0.0:8080` for all interfaces",
        ),
        (
            with("ingest: { grpc: { listen: 127.0.0.1:1, event_max: 2MiB } }"),
            "m.yaml:2:51: `ingest.grpc.event_max`: 2MiB does not fit into a record: write at most \
             998976B, or raise `kafka.message_max`",
        ),
        (
            with("ingest: { grpc: {} }"),
            "m.yaml:2:11: `ingest.grpc.listen` is missing: write for example `listen: 127.0.0.1:50051`",
        ),
        (
            with("ingest: { grpc: { listen: 127.0.0.1:9464 } }"),
            "m.yaml:2:1: `ingest.grpc.listen` and `admin.listen` are both 127.0.0.1:9464: give each its \
             own port",
        ),
    ]);
}

#[test]
fn kafka_properties_that_the_delivery_promise_depends_on_are_refused_with_the_reason() {
    let folder = Folder::new();
    for (property, why) in [
        ("group.id", "it is the `id` of each group"),
        (
            "enable.auto.commit",
            "offsets are committed after events have settled, never by time",
        ),
        (
            "enable.auto.offset.store",
            "offsets are stored after events have settled",
        ),
        ("auto.offset.reset", "use `start_from` of the group"),
        (
            "enable.idempotence",
            "outputs must not be repeated or reordered by the producer",
        ),
        (
            "acks",
            "an event settles only after all replicas have its outputs",
        ),
        (
            "request.required.acks",
            "an event settles only after all replicas have its outputs",
        ),
        ("isolation.level", "aborted records must not reach a plugin"),
        (
            "max.in.flight",
            "outputs must not be reordered by the producer",
        ),
        (
            "max.in.flight.requests.per.connection",
            "outputs must not be reordered by the producer",
        ),
        (
            "enable.partition.eof",
            "the end of a partition is tracked by the host",
        ),
        ("bootstrap.servers", "use `kafka.brokers`"),
        ("metadata.broker.list", "use `kafka.brokers`"),
        (
            "group.protocol",
            "partitions must be given up before another host gets them",
        ),
        ("message.max.bytes", "use `kafka.message_max`"),
        ("transactional.id", "transactional delivery is not built"),
    ] {
        let text = with_group("  - { id: g, routes: { t: p } }").replace(
            "brokers: b ",
            &format!("brokers: b, properties: {{ {property}: x }} "),
        );
        let expected = format!("m.yaml:1:36: `kafka.properties.{property}` cannot be set: {why}");
        assert_eq!(folder.refused(&text), [expected]);
    }
    let text = with_group("  - { id: g, routes: { t: p } }").replace(
        "brokers: b ",
        "brokers: b, properties: { partition.assignment.strategy: cooperative-sticky, ssl.x: 1.10 } ",
    );
    let properties = folder.read(&text, &[], &[]).unwrap().kafka.properties;
    assert_eq!(properties["ssl.x"], "1.10");
}

#[test]
fn kafka_is_checked() {
    let with =
        |line: &str| with_group("  - { id: g, routes: { t: p } }").replace("brokers: b ", line);
    check(&[
        (
            with("brokers: [a, b] "),
            "m.yaml:1:19: `kafka.brokers`: this is a list: write a name",
        ),
        (
            with("brokers: 'a, b c' "),
            "m.yaml:1:19: `kafka.brokers`: `a, b c` is not a list of brokers: write \
             `host:9092,other:9092`",
        ),
        (
            with("brokers: b, message_max: 1KiB "),
            "m.yaml:1:35: `kafka.message_max`: `1KiB` is out of range: write 16KiB to 1GB",
        ),
        (
            with("brokers: b, properties: { session.timeout.ms: 6000 } "),
            "m.yaml:1:56: `drain_timeout` is 20s but must be below session.timeout.ms, which is 6s: \
             lower the one, or raise the other in `kafka.properties`",
        ),
        (
            with("brokers: b, properties: { session.timeout.ms: 6s } "),
            "m.yaml:1:56: `kafka.properties.session.timeout.ms`: `6s` is not a number of milliseconds: \
             write for example `45000`",
        ),
    ]);
}

#[test]
fn files_and_grants_of_plugins_are_checked() {
    check(&[
        (
            with_plugin("grants: [journal]"),
            "m.yaml:5:13: `plugins.p.grants`: the journal is granted but has no file: write for example \
             `journal: { path: audit.log }` beside it",
        ),
        (
            with_plugin("journal: { path: a.log }"),
            "m.yaml:5:5: `plugins.p.journal` is not granted: add `journal` to `plugins.p.grants`",
        ),
        (
            with_plugin("grants: ['output:a b']"),
            "m.yaml:5:14: `plugins.p.grants.0`: `a b` cannot be the name of a topic: use 1 to 249 of \
             letters, digits, `.`, `_` and `-`, and not `.` or `..`",
        ),
        (
            with_plugin("grants: [state, state]"),
            "m.yaml:5:21: `plugins.p.grants.1`: `state` is granted twice: keep one",
        ),
        (
            with_plugin("grants: [filesystem]"),
            "m.yaml:5:14: `plugins.p.grants.0`: there is no grant `filesystem`: write one of logging, \
             config, metrics, state, tally, journal, output:TOPIC, https:HOST, http:HOST, network:ADDRESS/BITS",
        ),
        (
            with_plugin("grants: ['https://api.example.com/v1']"),
            "m.yaml:5:14: `plugins.p.grants.0`: write `https:api.example.com`, a host without a path",
        ),
        (
            with_plugin("grants: ['https:a', 'network:10/8']"),
            "m.yaml:5:25: `plugins.p.grants.1`: `10` is no address; write for example `network:10.0.0.0/8`",
        ),
        (
            with_plugin("grants: ['network:10.0.0.0/8']"),
            "m.yaml:5:13: `plugins.p.grants`: a network is granted and no host in it: add for example \
             `https:api.internal`",
        ),
        (
            with_plugin("state: { quota: 1GiB }"),
            "m.yaml:5:5: `plugins.p.state` is not granted: add `state` to `plugins.p.grants`",
        ),
        (
            with_plugin("config: { a: [1] }"),
            "m.yaml:5:18: `plugins.p.config.a`: this is a list: write one value, `\"\"` for an empty one",
        ),
    ]);
}

#[test]
fn values_of_plugins_are_checked() {
    check(&[
        (
            with_plugin("limits: { memory: 8GiB }"),
            "m.yaml:5:23: `plugins.p.limits.memory`: `8GiB` is out of range: write 64KiB to 4GiB",
        ),
        (
            with_plugin("limits: { event_hostcall: 32MiB }"),
            "m.yaml:5:5: `plugins.p.limits.batch_hostcall`: is 16MiB, below `event_hostcall` of a single \
             event: write at least 32MiB",
        ),
        (
            with_plugin("limits: { outputs: \"5\" }"),
            "m.yaml:5:24: `plugins.p.limits.outputs`: this is a string: write 5 without quotes",
        ),
        (
            with_plugin("limits: { host_calls: 2.5 }"),
            "m.yaml:5:27: `plugins.p.limits.host_calls`: `2.5` is not a whole number: write 1 to \
             100000000",
        ),
        (
            with_plugin("limits: { table_elements: 200000 }"),
            "m.yaml:5:31: `plugins.p.limits.table_elements`: `200000` is out of range: write 1 to 100000",
        ),
        (
            with_plugin("limits: { memories: 17 }"),
            "m.yaml:5:25: `plugins.p.limits.memories`: `17` is out of range: write 1 to 16",
        ),
        (
            with_plugin("limits: { compile_time: 2h }"),
            "m.yaml:5:29: `plugins.p.limits.compile_time`: `2h` is out of range: write 10ms to 1h",
        ),
        (
            with_plugin("recycle: { memory: 65MiB }"),
            "m.yaml:5:24: `plugins.p.recycle.memory`: is more than `limits.memory`, which no instance \
             gets past: write at most 64MiB",
        ),
        (
            with_plugin("tick:"),
            "m.yaml:5:5: `plugins.p.tick` has no value: write a duration such as `10s`",
        ),
        (
            with_plugin("limit: {}"),
            "m.yaml:5:5: unknown key `limit` in `plugins.p`: did you mean `limits`?",
        ),
        (
            with_plugin("").replace("p.wasm", "~/p.wasm"),
            "m.yaml:4:11: `plugins.p.path`: `~` is not expanded: write `${HOME}/p.wasm`",
        ),
        (
            with_plugin("").replace("p.wasm", "plugins"),
            "m.yaml:4:11: `plugins.p.path`: plugins is not a file",
        ),
        (
            with_plugin("").replace("path: p.wasm", "tick: 1s"),
            "m.yaml:3:3: `plugins.p.path` is missing: write for example `path: plugins/audit.wasm`",
        ),
        (
            with_plugin("")
                .replace("  p:", "  p.q:")
                .replace("t: p }", "t: p.q }"),
            "m.yaml:3:3: `p.q` cannot be the name of a plugin: use 1 to 64 of letters, digits, `_` and \
             `-`",
        ),
    ]);
}

#[test]
fn sources_of_ids_are_checked() {
    let folder = Folder::new();
    let with = |id: &str| {
        with_group(&format!(
            "  - {{ id: g, routes: {{ t: p }}, dedup: {{ id: {id} }} }}"
        ))
    };
    for (id, message) in [
        (
            "uuid",
            "`uuid` is no source of ids: write `header:NAME`, `json:/pointer`, `cloudevents`, `key` or \
             `value-hash`",
        ),
        (
            "'header:'",
            "`header:` names no header: write `header:NAME`",
        ),
        (
            "'json:'",
            "`json:` points at the whole value: write `json:/id`, or `value-hash`",
        ),
        ("json:id", "`id` is not a JSON pointer: write `json:/id`"),
        (
            "json:/a~2",
            "`/a~2` is not a JSON pointer: write `~0` for `~` and `~1` for `/` in a name",
        ),
    ] {
        let expected = format!("m.yaml:4:45: `groups.g.dedup.id`: {message}");
        assert_eq!(folder.refused(&with(id)), [expected]);
    }
    for (id, source) in [
        ("header:x:y", IdSource::Header("x:y".to_owned())),
        (
            "json:/a~1b/~0c/0",
            IdSource::Json(vec!["a/b".into(), "~c".into(), "0".into()]),
        ),
        ("cloudevents", IdSource::CloudEvents),
        ("key", IdSource::Key),
        ("value-hash", IdSource::ValueHash),
    ] {
        let config = folder.read(&with(id), &[], &[]).unwrap();
        assert_eq!(config.groups[0].dedup.as_ref().unwrap().id, source);
    }
}

#[test]
fn what_must_not_be_shared_is_refused() {
    let journal = "
kafka: { brokers: b }
plugins:
  p: { path: p.wasm, grants: [journal], journal: { path: j.log } }
  q: { path: q.wasm, grants: [journal], journal: { path: ./x/../j.log } }
groups:
  - { id: g, routes: { t: p }, store: data }
  - { id: h, routes: { t: q, u: p }, store: ./data }
  - { id: g, routes: { u: q } }
";
    assert_eq!(
        Folder::new().refused(journal),
        [
            "m.yaml:5:58: `plugins.q.journal.path`: plugin `p` writes its journal to the same file: give \
             each journal its own, or lines are lost after a crash",
            "m.yaml:8:33: `groups.h.routes.u`: plugin `p` has a journal, and group `g` uses it: write it \
             twice under `plugins`, each with its own journal",
            "m.yaml:8:45: `groups.h.store`: group `g` has the same folder: give each its own",
            "m.yaml:9:11: `groups.g.id`: another group has the id `g`: give each its own",
            "m.yaml:9:27: `groups.g.routes.u`: plugin `q` has a journal, and group `h` uses it: write it \
             twice under `plugins`, each with its own journal",
        ]
    );
}
