//! The keys at the top, and the sections that are too small for a file of their own.

use super::Unless::{Below, Depends, Is, Nothing};
use super::{Key, Kind, OFF, group, ingest, kafka, key, plugin, schemas, secret};

const REGISTRY: &[Key] = &[
    key(
        "cache",
        Kind::Path,
        Depends("none"),
        "The folder of fetched components.",
    ),
    key(
        "credentials",
        Kind::Path,
        Depends("none"),
        "User names and passwords of registries, as `docker login` writes them.",
    ),
];

const TOPIC: &[Key] = &[
    key(
        "partitions",
        Kind::Number("1", "65535"),
        Depends("any; 1 where it is made"),
        "How many partitions the topic has.",
    ),
    key(
        "replication",
        Kind::Number("1", "100"),
        Depends("any; the broker's where it is made"),
        "How many replicas each partition has.",
    ),
    key(
        "retention",
        Kind::Either(&Kind::Duration("1s", "36500d"), &Kind::Choice(&["forever"])),
        Depends("the broker's"),
        "How long records are kept (`retention.ms`).",
    ),
    key(
        "retention_size",
        Kind::Either(
            &Kind::Size("1KiB", "1024TiB"),
            &Kind::Choice(&["unlimited"]),
        ),
        Depends("the broker's"),
        "How much of each partition is kept (`retention.bytes`).",
    ),
    key(
        "cleanup",
        Kind::Choice(&["delete", "compact", "both"]),
        Depends("the broker's"),
        "What happens to old records (`cleanup.policy`).",
    ),
    key(
        "config",
        Kind::Named("SETTING", &Kind::Text),
        Nothing,
        "Other settings of the topic, in Kafka's words.",
    ),
    key(
        "create",
        Kind::Flag,
        Is("true"),
        "Whether the host makes the topic where it is missing.",
    ),
];

const CORRELATION: &[Key] = &[
    key(
        "header",
        Kind::Form("^[A-Za-z0-9_.-]{1,100}$"),
        Is("correlation-id"),
        "The header that holds the correlation id.",
    ),
    key(
        "make_at_ingest",
        Kind::Flag,
        Is("true"),
        "Whether an event that comes through a gateway without a traceparent or a correlation id gets them.",
    ),
    key(
        "make_for_outputs",
        Kind::Flag,
        Is("true"),
        "Whether an output of an event without a correlation id gets one.",
    ),
];

const ADMIN: &[Key] = &[
    key(
        "listen",
        Kind::Address,
        Is("127.0.0.1:9464"),
        "Where metrics, health and the versions of plugins are served; another address than loopback needs a token.",
    ),
    secret(
        "token",
        Nothing,
        "What every request has to show as `authorization: Bearer TOKEN`, except for health.",
    ),
    key(
        "tls",
        Kind::Section(ingest::SERVER_TLS),
        Nothing,
        "Encrypts its connections.",
    ),
];

/// The whole document.
pub(crate) const TOP: &[Key] = &[
    key(
        "kafka",
        Kind::Section(kafka::KAFKA),
        Below,
        "How to reach Kafka.",
    ),
    key(
        "plugins",
        Kind::Named("NAME", &Kind::Section(plugin::PLUGIN)),
        Nothing,
        "The plugins by name.",
    ),
    key(
        "validation",
        Kind::Named("NAME", &Kind::Section(schemas::VALIDATION)),
        Nothing,
        "Rules that events have to keep, by name.",
    ),
    key(
        "groups",
        Kind::List(&Kind::Section(group::GROUP)),
        Nothing,
        "The consumer groups.",
    ),
    key(
        "topics",
        Kind::Named("TOPIC", &Kind::Section(TOPIC)),
        Nothing,
        "Topics that are checked at the start, and made where they are missing.",
    ),
    key(
        "correlation",
        Kind::Section(CORRELATION),
        Below,
        "What ties records to each other.",
    ),
    key(
        "ingest",
        Kind::Section(ingest::INGEST),
        Nothing,
        "Gateways for publishers.",
    ),
    key(
        "admin",
        Kind::Section(ADMIN),
        Below,
        "Metrics, health and the versions of plugins.",
    ),
    key(
        "compile_cache",
        Kind::Either(&Kind::Path, &OFF),
        Depends("off"),
        "The folder of compiled components; `off` compiles at every start.",
    ),
    key(
        "schema_registry",
        Kind::Section(schemas::SCHEMA_REGISTRY),
        Nothing,
        "Where schemas are registered that records are written by.",
    ),
    key(
        "registry",
        Kind::Section(REGISTRY),
        Below,
        "How plugins are fetched that are no files here.",
    ),
    key(
        "drain_timeout",
        Kind::Duration("100ms", "1h"),
        Is("20s"),
        "How long a shutdown or a revoked partition may take to finish what is in flight; below session.timeout.ms.",
    ),
];
