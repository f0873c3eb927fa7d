//! The keys of `ingest`.

use super::Unless::{Below, Depends, Is, Nothing, Required};
use super::{Key, Kind, NAME, OFF, key, secret};

const LISTEN: Key = key(
    "listen",
    Kind::Address,
    Required,
    "IP address and port; `0.0.0.0` for all interfaces.",
);

const EVENT_MAX: Key = key(
    "event_max",
    Kind::Size("1B", "1GB"),
    Depends("1 KiB less than `kafka.message_max`"),
    "The largest event that is accepted; at most 1 KiB less than `kafka.message_max`.",
);

const IN_FLIGHT_MAX: Key = key(
    "in_flight_max",
    Kind::Number("1", "1000000"),
    Is("10000"),
    "Events that may wait for the broker at once.",
);

const GRPC: &[Key] = &[
    LISTEN,
    EVENT_MAX,
    IN_FLIGHT_MAX,
    key(
        "calls_max",
        Kind::Number("1", "10000"),
        Is("256"),
        "Calls and streams at once, over all clients.",
    ),
    key(
        "calls_of_connection_max",
        Kind::Number("1", "10000"),
        Is("64"),
        "Calls and streams at once over one connection.",
    ),
];

const CLOUDEVENTS: &[Key] = &[
    key(
        "mode",
        Kind::Choice(&["binary", "structured"]),
        Is("binary"),
        "The form that CloudEvents have in a record, whichever they came in.",
    ),
    key(
        "key",
        Kind::Form("^[a-z0-9]+$"),
        Nothing,
        "The attribute of a CloudEvent that becomes the key where the request gives none.",
    ),
];

const HTTP: &[Key] = &[
    LISTEN,
    EVENT_MAX,
    key(
        "request_max",
        Kind::Size("1B", "1GB"),
        Depends("4 MiB, or four of the largest events"),
        "The largest body of a request, compressed and not; at least `event_max`.",
    ),
    key(
        "batch_max",
        Kind::Number("1", "100000"),
        Is("10000"),
        "Events of one batch; never more than `in_flight_max`.",
    ),
    IN_FLIGHT_MAX,
    key(
        "requests_max",
        Kind::Number("1", "100000"),
        Is("512"),
        "Requests at once.",
    ),
    key(
        "body_timeout",
        Kind::Duration("100ms", "10m"),
        Is("35s"),
        "How long the body of a request may take to come.",
    ),
    key(
        "cloudevents",
        Kind::Section(CLOUDEVENTS),
        Below,
        "How CloudEvents become records.",
    ),
];

const CLIENT: &[Key] = &[
    key(
        "name",
        NAME,
        Required,
        "For messages; each client has its own.",
    ),
    secret(
        "token",
        Required,
        "What the client sends as `authorization: Bearer TOKEN`, 16 to 4096 visible ASCII characters.",
    ),
    key(
        "topics",
        Kind::List(&NAME),
        Required,
        "Where it may publish: names, and patterns in which `*` stands for any run of characters.",
    ),
];

pub(super) const SERVER_TLS: &[Key] = &[
    key(
        "cert",
        Kind::Path,
        Required,
        "The server's certificates, PEM.",
    ),
    key(
        "key",
        Kind::Path,
        Required,
        "The key of the first certificate, PEM.",
    ),
    key(
        "client_ca",
        Kind::Path,
        Nothing,
        "The authorities of the certificates that clients must show, PEM.",
    ),
];

const CONNECTIONS: &[Key] = &[
    key(
        "max",
        Kind::Number("1", "100000"),
        Is("512"),
        "Connections at once.",
    ),
    key(
        "handshake_timeout",
        Kind::Duration("100ms", "10m"),
        Is("10s"),
        "From the connection to the end of the TLS handshake.",
    ),
    key(
        "header_timeout",
        Kind::Duration("100ms", "10m"),
        Is("30s"),
        "From then to the first request; over HTTP/1.1, also for the head of each further one.",
    ),
];

const BATCH: &[Key] = &[
    key(
        "events",
        Kind::Number("1", "1000000"),
        Is("10000"),
        "The most events of one batch.",
    ),
    key(
        "size",
        Kind::Size("1KiB", "2147483647B"),
        Depends("1000000B, and not above `kafka.message_max`"),
        "The most bytes; not above `kafka.message_max`.",
    ),
    key(
        "linger",
        Kind::Duration("0ms", "30s"),
        Is("2ms"),
        "How long an event may wait for others.",
    ),
];

const QUEUE: &[Key] = &[
    key(
        "events",
        Kind::Number("1000", "10000000"),
        Is("100000"),
        "Events that wait for the broker; beyond it the gateway answers OVERLOADED.",
    ),
    key(
        "size",
        Kind::Size("1MiB", "64GiB"),
        Is("64MiB"),
        "Their bytes; not below `batch.size`.",
    ),
];

const PRODUCER: &[Key] = &[
    key(
        "acks",
        Kind::Choice(&["all", "1", "0"]),
        Is("all"),
        "Who must have an event before it is answered OK: all in-sync replicas, the leader, or nobody.",
    ),
    key(
        "idempotence",
        Kind::Flag,
        Depends("true with `acks: all`"),
        "Whether the broker recognises what is sent again.",
    ),
    key(
        "batch",
        Kind::Section(BATCH),
        Below,
        "How events are gathered.",
    ),
    key(
        "compression",
        Kind::Choice(&["none", "gzip", "snappy", "lz4", "zstd"]),
        Is("none"),
        "How batches are compressed.",
    ),
    key(
        "partitioning",
        Kind::Form("^(key|round-robin|sticky|explicit|json:/.*)$"),
        Is("key"),
        "Which partition an event goes to that names none.",
    ),
    key(
        "delivery_timeout",
        Kind::Duration("1s", "1h"),
        Is("30s"),
        "How long an event may wait for its acknowledgement; above `batch.linger`.",
    ),
    key(
        "queue",
        Kind::Section(QUEUE),
        Below,
        "What the producer holds at most.",
    ),
    key(
        "statistics",
        Kind::Either(&Kind::Duration("1s", "1h"), &OFF),
        Is("off"),
        "How often the producer's own figures are taken, for `millrace_producer_*` in the metrics.",
    ),
];

pub(super) const INGEST: &[Key] = &[
    key("grpc", Kind::Section(GRPC), Nothing, "The gRPC gateway."),
    key("http", Kind::Section(HTTP), Nothing, "The HTTP gateway."),
    key(
        "validate",
        Kind::Named("TOPIC", &NAME),
        Nothing,
        "The rules that events for a topic, or a pattern of topics, have to keep to be let in.",
    ),
    key(
        "clients",
        Kind::List(&Kind::Section(CLIENT)),
        Nothing,
        "Who may publish; without it, everybody who reaches a gateway.",
    ),
    key(
        "tls",
        Kind::Section(SERVER_TLS),
        Nothing,
        "Encrypts the connections of every gateway.",
    ),
    key(
        "connections",
        Kind::Section(CONNECTIONS),
        Below,
        "Limits of connections, for each gateway.",
    ),
    key(
        "producer",
        Kind::Section(PRODUCER),
        Below,
        "How the gateways write.",
    ),
];
