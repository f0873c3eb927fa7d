//! The keys of a group.

use super::Unless::{Below, Depends, Is, Nothing, Required};
use super::{Key, Kind, NAME, key};

const ROUTE: &[Key] = &[
    key(
        "plugin",
        NAME,
        Required,
        "The plugin that handles the topic.",
    ),
    key(
        "decode",
        Kind::Choice(&["registry", "avro", "protobuf", "json-schema", "cloudevents"]),
        Nothing,
        "Shows the plugin the JSON that the record says, by its schema in the registry or as a CloudEvent.",
    ),
    key(
        "validate",
        NAME,
        Nothing,
        "The rules that an event has to keep; one that breaks them goes to the dead letters.",
    ),
];

const DEDUP: &[Key] = &[
    key(
        "id",
        Kind::Form("^(header:.+|json:/.*|cloudevents|key|value-hash)$"),
        Required,
        "Where the id of an event is found.",
    ),
    key(
        "window",
        Kind::Duration("1s", "365d"),
        Is("24h"),
        "How long an id is remembered, in record time.",
    ),
    key(
        "max_events",
        Kind::Number("1", "10000000"),
        Is("100000"),
        "How many ids are remembered for each partition.",
    ),
    key(
        "rebuild_timeout",
        Kind::Duration("1s", "10m"),
        Is("60s"),
        "How long reading a partition again may take when it is assigned.",
    ),
];

const BACKOFF: &[Key] = &[
    key(
        "initial",
        Kind::Duration("1ms", "1d"),
        Is("100ms"),
        "The delay before the second attempt.",
    ),
    key(
        "factor",
        Kind::Fraction("1", "100"),
        Is("2"),
        "Each further delay is this many times the one before.",
    ),
    key(
        "max",
        Kind::Duration("1ms", "1d"),
        Is("30s"),
        "No delay is longer.",
    ),
    key(
        "jitter",
        Kind::Fraction("0", "1"),
        Is("0.2"),
        "The share of each delay that is random.",
    ),
];

const RETRY: &[Key] = &[
    key(
        "attempts",
        Kind::Number("1", "1000"),
        Is("5"),
        "Attempts in all, the first one included.",
    ),
    key(
        "backoff",
        Kind::Section(BACKOFF),
        Below,
        "The delays between attempts.",
    ),
    key(
        "mode",
        Kind::Choice(&["park", "topic"]),
        Is("park"),
        "Where an event waits for its next attempt: in memory, or in the group's retry topic.",
    ),
    key(
        "topic",
        NAME,
        Depends("{topic}.{group}.retry in mode topic, none in mode park"),
        "The retry topic of each source, with `{topic}` and `{group}` in the place of those.",
    ),
    key(
        "retention",
        Kind::Duration("1m", "3650d"),
        Is("7d"),
        "How long a retry topic that the host creates keeps its records; not below `max_age`.",
    ),
    key(
        "max_age",
        Kind::Duration("1s", "365d"),
        Is("24h"),
        "From an event's first failure to giving up, whatever attempts are left.",
    ),
    key(
        "max_park",
        Kind::Duration("100ms", "1d"),
        Is("15m"),
        "The longest that an event may hold its key and the commit.",
    ),
    key(
        "park_events",
        Kind::Number("1", "10000000"),
        Is("100000"),
        "Events held back in each lane before its partitions pause.",
    ),
    key(
        "park_size",
        Kind::Size("64KiB", "16GiB"),
        Is("32MiB"),
        "The same in bytes.",
    ),
];

const PROBE: &[Key] = &[
    key(
        "initial",
        Kind::Duration("10ms", "1h"),
        Is("1s"),
        "The wait before the first.",
    ),
    key(
        "max",
        Kind::Duration("10ms", "1h"),
        Is("30s"),
        "No wait is longer.",
    ),
];

const BREAKER: &[Key] = &[
    key(
        "enabled",
        Kind::Flag,
        Is("true"),
        "`false` switches it off.",
    ),
    key(
        "threshold",
        Kind::Fraction("0.05", "1"),
        Is("0.5"),
        "The share of the keys that fail, from which on it opens.",
    ),
    key(
        "min_keys",
        Kind::Number("2", "10000"),
        Is("10"),
        "Fewer keys than this say nothing.",
    ),
    key(
        "window",
        Kind::Duration("1s", "10m"),
        Is("10s"),
        "How far back keys are counted.",
    ),
    key(
        "probe",
        Kind::Section(PROBE),
        Below,
        "The waits between the events that are tried while it is open.",
    ),
];

const DEAD_LETTER: &[Key] = &[
    key(
        "topic",
        Kind::Topic,
        Depends("ID.dlq"),
        "The dead-letter topic; the group cannot consume it itself.",
    ),
    key(
        "headers",
        Kind::Choice(&["millrace", "spring", "connect", "streams"]),
        Is("millrace"),
        "Whose headers a dead letter has beside the host's own.",
    ),
    key(
        "partitions",
        Kind::Number("1", "10000"),
        Depends("as many as the largest source"),
        "Partitions of the topic where the host creates it.",
    ),
    key(
        "retention",
        Kind::Either(&Kind::Duration("1m", "3650d"), &Kind::Choice(&["forever"])),
        Is("forever"),
        "How long the topic keeps dead letters where the host creates it.",
    ),
];

pub(super) const GROUP: &[Key] = &[
    key(
        "id",
        NAME,
        Depends("the variable KAFKA_GROUP_ID"),
        "Kafka's `group.id`; no two groups share one.",
    ),
    key(
        "routes",
        Kind::Named("TOPIC", &Kind::Either(&NAME, &Kind::Section(ROUTE))),
        Depends("the variable KAFKA_TOPICS"),
        "Which plugin handles which topic, or pattern of topics.",
    ),
    key(
        "ordering",
        Kind::Choice(&["key", "partition", "unordered"]),
        Is("key"),
        "What keeps its order.",
    ),
    key(
        "concurrency",
        Kind::Number("1", "256"),
        Depends("the cores less one"),
        "Lanes of each plugin.",
    ),
    key(
        "dedup",
        Kind::Section(DEDUP),
        Nothing,
        "How repeated events are recognised; without it they are not.",
    ),
    key(
        "retry",
        Kind::Section(RETRY),
        Below,
        "What happens when a plugin asks for a retry.",
    ),
    key(
        "breaker",
        Kind::Section(BREAKER),
        Below,
        "When failures mean that something outside fails, rather than single events.",
    ),
    key(
        "dead_letter",
        Kind::Section(DEAD_LETTER),
        Below,
        "Where events go that were given up on.",
    ),
    key(
        "delivery",
        Kind::Choice(&["at-least-once", "transactional"]),
        Is("at-least-once"),
        "`transactional` is not built and is refused.",
    ),
    key(
        "store",
        Kind::Path,
        Depends("millrace/ID in the state folder"),
        "The folder of the settle store; no two groups share one.",
    ),
    key(
        "commit_interval",
        Kind::Duration("10ms", "1m"),
        Is("250ms"),
        "How often the store is synced and offsets are committed.",
    ),
    key(
        "commit_map",
        Kind::Flag,
        Is("true"),
        "Whether what is settled above the committed offset is written into the commit's metadata.",
    ),
    key(
        "start_from",
        Kind::Choice(&["earliest", "latest"]),
        Is("earliest"),
        "Where a group without a committed offset begins.",
    ),
];
