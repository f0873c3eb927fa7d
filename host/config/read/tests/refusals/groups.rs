//! Groups that are refused, each with the exact words.

use super::*;

#[test]
fn groups_are_checked() {
    check(&[
        (
            with_group("  - routes: { t: p }"),
            "m.yaml:4:5: `groups.0.id` is missing: write for example `id: orders`",
        ),
        (
            with_group("  - id: g"),
            "m.yaml:4:5: `groups.g.routes` is missing: write for example `routes: { user-events: \
             analytics }`",
        ),
        (
            with_group("  - { id: g, routes: {} }"),
            "m.yaml:4:22: `groups.g.routes`: there is no route: write `topic: plugin`",
        ),
        (
            with_key("ordering: keyed"),
            "m.yaml:6:15: `groups.g.ordering`: `keyed` is not one of key, partition, unordered: did you \
             mean `key`?",
        ),
        (
            with_key("start_from: now"),
            "m.yaml:6:17: `groups.g.start_from`: `now` is not one of earliest, latest: write one of \
             earliest, latest",
        ),
        (
            with_key("delivery: transactional"),
            "m.yaml:6:15: `groups.g.delivery`: transactional delivery is not built: write \
             `at-least-once`, or remove the key",
        ),
        (
            with_key("commit_map: 'no'"),
            "m.yaml:6:17: `groups.g.commit_map`: `no` is not one of true, false: write one of true, false",
        ),
        (
            with_key("retry: { max_age: 8d, mode: topic }"),
            "m.yaml:6:5: `groups.g.retry.retention`: is 7d, below `max_age`, so that events would be \
             lost: write at least 8d",
        ),
        (
            with_key("retry: { max_park: 0s }"),
            "m.yaml:6:24: `groups.g.retry.max_park`: `0s` is out of range: write 100ms to 1d",
        ),
        (
            with_key("dedup: { id: key, rebuild_timeout: 11m }"),
            "m.yaml:6:40: `groups.g.dedup.rebuild_timeout`: `11m` is out of range: write 1s to 10m",
        ),
        (
            with_key("retry: { attempts: 0 }"),
            "m.yaml:6:24: `groups.g.retry.attempts`: `0` is out of range: write 1 to 1000",
        ),
        (
            with_key("retry: { backoff: { jitter: 20% } }"),
            "m.yaml:6:33: `groups.g.retry.backoff.jitter`: `20%` is not a number: write 0 to 1",
        ),
        (
            with_key("retry: { backoff: { initial: 1m } }"),
            "m.yaml:6:14: `groups.g.retry.backoff.max`: is 30s, below `initial`: write at least 1m",
        ),
    ]);
}

#[test]
fn breakers_and_dead_letters_are_checked() {
    check(&[
        (
            with_key("breaker: off"),
            "m.yaml:6:14: `groups.g.breaker`: this is a single value: write its keys below it, or remove \
             it",
        ),
        (
            with_key("breaker: { threshold: 0 }"),
            "m.yaml:6:27: `groups.g.breaker.threshold`: `0` is out of range: write 0.05 to 1",
        ),
        (
            with_key("breaker: { min_keys: 1 }"),
            "m.yaml:6:26: `groups.g.breaker.min_keys`: `1` is out of range: write 2 to 10000",
        ),
        (
            with_key("breaker: { window: 1h }"),
            "m.yaml:6:24: `groups.g.breaker.window`: `1h` is out of range: write 1s to 10m",
        ),
        (
            with_key("breaker: { probe: { initial: 1m } }"),
            "m.yaml:6:16: `groups.g.breaker.probe.max`: is 30s, below `initial`: write at least 1m",
        ),
        (
            with_key("dead_letter: { headers: springs }"),
            "m.yaml:6:29: `groups.g.dead_letter.headers`: `springs` is not one of millrace, spring, \
             connect, streams: did you mean `spring`?",
        ),
        (
            with_key("dead_letter: { partitions: 0 }"),
            "m.yaml:6:32: `groups.g.dead_letter.partitions`: `0` is out of range: write 1 to 10000",
        ),
        (
            with_key("dead_letter: { retention: 30 }"),
            "m.yaml:6:31: `groups.g.dead_letter.retention`: `30` has no unit: write for example `30ms`, \
             `30s` or `30m`",
        ),
        (
            with_key("dead_letter: { retention: }"),
            "m.yaml:6:20: `groups.g.dead_letter.retention` has no value: write a duration such as `30d`, \
             or `forever`",
        ),
    ]);
}

#[test]
fn patterns_that_cannot_be_told_apart_are_refused_with_a_topic_of_both() {
    let routes = |routes: &str| {
        with_group(&format!("  - {{ id: g, routes: {{ {routes} }} }}\n")).replace(
            "p: { path: p.wasm }",
            "p: { path: p.wasm }, q: { path: q.wasm }",
        )
    };
    check(&[
        (
            routes("orders.*: p, '*.created': q"),
            "m.yaml:4:22: `groups.g.routes`: `orders.*` and `*.created` both match `orders.created`, and \
             neither is the narrower one: change one of them so that each topic is matched by one, or lead \
             both to the same plugin",
        ),
        (
            routes("^orders: p"),
            "m.yaml:4:24: `^orders` is a regular expression, and two of those cannot be told apart by which \
             is the narrower one: write `*` for a level, or `**` for one or more levels",
        ),
        (
            with_key("retry: { topic: again }").replace("t: p", "t.*: p"),
            "m.yaml:6:21: `groups.g.retry.topic`: a pattern in the group's routes stands for any number of \
             topics, and each needs a retry topic of its own: write `{topic}` into it, such as \
             `{topic}.{group}.retry`",
        ),
    ]);
}

#[test]
fn topics_and_the_correlation_are_checked() {
    let with = |lines: &str| with_group("  - { id: g, routes: { t: p } }\n") + lines;
    check(&[
        (
            with("topics: { 'a b': {} }"),
            "m.yaml:5:11: `a b` cannot be the name of a topic: use 1 to 249 of letters, digits, `.`, `_` \
             and `-`, and not `.` or `..`",
        ),
        (
            with("topics: { t: { partitions: 0 } }"),
            "m.yaml:5:28: `topics.t.partitions`: `0` is out of range: write 1 to 65535",
        ),
        (
            with("topics: { t: { retention: 1d, config: { retention.ms: 1 } } }"),
            "m.yaml:5:55: `topics.t.config.retention.ms`: `retention` says the same: keep one of the two",
        ),
        (
            with("correlation: { header: traceparent }"),
            "m.yaml:5:24: `correlation.header`: `traceparent` means something else: write another name",
        ),
    ]);
}

#[test]
fn names_of_retry_topics_are_checked() {
    let two = |lines: &str| {
        with_group(&format!(
            "  - {{ id: g, routes: {{ t: p }}, retry: {{ topic: x }} }}\n  - {{ id: h, {lines} }}\n"
        ))
    };
    check(&[
        (
            with_key("retry: { topic: again }").replace("t: p", "t: p, u: p"),
            "m.yaml:6:21: `groups.g.retry.topic`: the group has 2 routes, and each needs a retry topic of \
             its own: write `{topic}` into it, such as `{topic}.{group}.retry`",
        ),
        (
            with_key("retry: { topic: '{topic}.{grup}' }"),
            "m.yaml:6:21: `groups.g.retry.topic`: `{topic}.{grup}` has a placeholder that is unknown: use \
             `{topic}` and `{group}`",
        ),
        (
            with_key("retry: { topic: 'a b' }"),
            "m.yaml:6:21: `groups.g.retry.topic`: `a b` cannot be the name of a topic: use 1 to 249 of \
             letters, digits, `.`, `_` and `-`, and not `.` or `..`",
        ),
        (
            with_key("retry: { topic: '{topic}' }"),
            "m.yaml:6:21: `groups.g.retry.topic`: `t` cannot be a retry topic: the group consumes it as a \
             source; write a name of its own, such as `{topic}.{group}.retry`",
        ),
        (
            with_key("retry: { topic: '{group}.dlq' }"),
            "m.yaml:6:21: `groups.g.retry.topic`: `g.dlq` cannot be a retry topic: it takes the dead \
             letters of the group; write a name of its own, such as `{topic}.{group}.retry`",
        ),
        (
            two("routes: { x: p }"),
            "m.yaml:4:48: `groups.g.retry.topic`: `x` cannot be a retry topic: group `h` consumes it; \
             write a name of its own, such as `{topic}.{group}.retry`",
        ),
        (
            two("routes: { t: p }, dead_letter: { topic: x }"),
            "m.yaml:4:48: `groups.g.retry.topic`: `x` cannot be a retry topic: it takes the dead letters \
             of group `h`; write a name of its own, such as `{topic}.{group}.retry`",
        ),
    ]);
    let shared = two("routes: { t: p }, retry: { topic: x, mode: topic }");
    let said = |group, place, other| {
        format!(
            "m.yaml:{place}: `groups.{group}.retry.topic`: `x` cannot be a retry topic: it is a retry \
             topic of group `{other}`; write a name of its own, such as `{{topic}}.{{group}}.retry`"
        )
    };
    assert_eq!(
        Folder::new().refused(&shared),
        [said("g", "4:48", "h"), said("h", "5:48", "g")]
    );
}

#[test]
fn what_follows_from_the_names_of_a_group_is_checked() {
    check(&[
        (
            with_key("dead_letter: { topic: t }"),
            "m.yaml:6:27: the group consumes `t`, where its own dead letters go, so that they would come \
             back for ever: set another `dead_letter.topic`",
        ),
        (
            with_key("").replace("t: p", "g.dlq: p"),
            "m.yaml:4:9: the group consumes `g.dlq`, where its own dead letters go, so that they would \
             come back for ever: set another `dead_letter.topic`",
        ),
        (
            with_key("store: x").replace("id: g", "id: a b"),
            "m.yaml:4:9: `groups.a b.id`: `a b.dlq` cannot be the name of a topic: set \
             `dead_letter.topic`",
        ),
        (
            with_key("dead_letter: { topic: x }").replace("id: g", "id: a/b"),
            "m.yaml:4:9: `groups.a/b.id`: `a/b` cannot be the name of a folder: set `store`",
        ),
        (
            with_key("ordering: unordered").replace("p.wasm", "p.wasm, grants: [state]"),
            "m.yaml:6:15: `groups.g.ordering`: plugin `p` is granted `state`, which needs an order: \
             write `key` or `partition`",
        ),
        (
            with_key("commit_interval: 250"),
            "m.yaml:6:22: `groups.g.commit_interval`: `250` has no unit: write for example `250ms`, \
             `250s` or `250m`",
        ),
    ]);
}
