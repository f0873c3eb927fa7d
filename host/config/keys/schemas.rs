//! The keys of `validation.NAME` and of `schema_registry`.

use super::Unless::{Depends, Is, Nothing, Required};
use super::{Key, Kind, NAME, key, secret};

const FORMAT: Kind = Kind::Choice(&["avro", "protobuf", "json-schema"]);

pub(super) const VALIDATION: &[Key] = &[
    key(
        "folder",
        Kind::Path,
        Required,
        "The folder of the schemas; every `*.json` below it is one.",
    ),
    key(
        "envelope",
        NAME,
        Nothing,
        "The file in `folder` with the schema of every event's value.",
    ),
    key(
        "type",
        Kind::Form("^(header:.+|json:.*|cloudevents)$"),
        Nothing,
        "Where an event says its type; there exactly when `types` is.",
    ),
    key(
        "types",
        Kind::Either(&NAME, &Kind::Named("TYPE", &NAME)),
        Nothing,
        "The schemas of the types: a folder with a file `TYPE.json` for each, or types with their files.",
    ),
    key(
        "payload",
        Kind::Form("^(/.*)?$"),
        Nothing,
        "A JSON pointer to what of the value keeps the schema of its type; the whole value without it.",
    ),
    key(
        "unknown_type",
        Kind::Choice(&["refuse", "accept"]),
        Is("refuse"),
        "What becomes of an event whose type has no schema.",
    ),
    key(
        "formats",
        Kind::Flag,
        Is("false"),
        "Whether `format` is a rule, or only a remark.",
    ),
];

const BASIC: &[Key] = &[
    key("user", NAME, Required, "The name that the host logs in by."),
    secret("password", Required, "The password of that name."),
];

const ENCODE: &[Key] = &[
    key(
        "subject",
        NAME,
        Depends("TOPIC-value"),
        "The subject of the schema.",
    ),
    key(
        "version",
        Kind::Number("1", "2147483647"),
        Nothing,
        "This version of the subject.",
    ),
    key(
        "id",
        Kind::Number("0", "4294967295"),
        Nothing,
        "The schema of this number.",
    ),
    key(
        "register",
        Kind::Path,
        Nothing,
        "The file of a schema that is registered under the subject when the host starts; needs `format`.",
    ),
    key(
        "format",
        FORMAT,
        Nothing,
        "The format that the schema must have.",
    ),
    key(
        "message",
        NAME,
        Nothing,
        "Which message of a Protobuf file; the first without it.",
    ),
];

pub(super) const SCHEMA_REGISTRY: &[Key] = &[
    key(
        "url",
        Kind::Form("^https?://[^?#@\\s]+$"),
        Required,
        "Where the registry's API begins: what comes before `/schemas/ids`.",
    ),
    key(
        "basic",
        Kind::Section(BASIC),
        Nothing,
        "The login, where the registry asks for one.",
    ),
    secret("bearer", Nothing, "A token in place of the login."),
    key(
        "ca",
        Kind::Path,
        Depends("the system's"),
        "The certificates that the registry is checked against, PEM.",
    ),
    key(
        "timeout",
        Kind::Duration("100ms", "1m"),
        Is("10s"),
        "The longest that one answer may take.",
    ),
    key(
        "refresh",
        Kind::Duration("1s", "24h"),
        Is("5m"),
        "How often the newest version of a subject is looked for again.",
    ),
    key(
        "encode",
        Kind::Named("TOPIC", &Kind::Either(&FORMAT, &Kind::Section(ENCODE))),
        Nothing,
        "The topics whose records outputs are written by a schema for, each with its format or a section.",
    ),
];
