//! Schema registries that are refused, each with the exact words; and how they are read.

use super::*;
use crate::config::{
    Decode, Encode, RegistryLogin, SchemaFormat, SchemaRegistry, Secret, WantedSchema,
};

/// A configuration with these keys of the registry.
fn with_registry(keys: &str) -> String {
    let group = with_group("  - { id: g, routes: { t: { plugin: p, decode: avro } } }");
    format!("{group}\nschema_registry: {{ {keys} }}\n")
}

#[test]
fn registries_are_checked() {
    let cases = [
        (
            "timeout: 1s",
            "1: `schema_registry.url` is missing: write for example `url: http://localhost:8081`",
        ),
        (
            "url: localhost:8081",
            "25: `schema_registry.url`: this is no address of a schema registry: write for example \
             `http://localhost:8081`, or `https://HOST/apis/ccompat/v7`",
        ),
        (
            "url: \"http://user:secret@r\"",
            "25: `schema_registry.url`: this is no address of a schema registry: write name and password under `basic`",
        ),
        (
            "url: http://r, bearer: x, basic: { user: u, password: p }",
            "43: `schema_registry.bearer`: `basic` is written too: a registry is told one of them",
        ),
        (
            "url: http://r, basic: { user: \"a:b\", password: p }",
            "42: `schema_registry.basic`: a name that has a colon cannot be told from its password",
        ),
        (
            "url: http://r, encode: { \"a b\": avro }",
            "45: `a b` cannot be the name of a topic: use 1 to 249 of letters, digits, `.`, `_` and `-`, and not \
             `.` or `..`",
        ),
        (
            "url: http://r, encode: { o: thrift }",
            "48: `schema_registry.encode.o`: `thrift` is not one of avro, protobuf, json-schema: write one of avro, \
             protobuf, json-schema",
        ),
        (
            "url: http://r, encode: { o: { id: 1, version: 2 } }",
            "66: `schema_registry.encode.o.version`: one schema is meant: write one of `id`, `version` and \
             `register`, or none for the newest version",
        ),
        (
            "url: http://r, encode: { o: { id: 1, subject: s } }",
            "66: `schema_registry.encode.o.subject`: an `id` says all: remove the one or the other",
        ),
        (
            "url: http://r, encode: { o: { register: p.wasm } }",
            "60: `schema_registry.encode.o.register`: what is registered has a format: write `format: avro`, \
             `protobuf` or `json-schema`",
        ),
        (
            "url: http://r, encode: { o: { format: avro, message: M } }",
            "73: `schema_registry.encode.o.message`: only `protobuf` has messages",
        ),
    ];
    let folder = Folder::new();
    for (keys, expected) in cases {
        assert_eq!(
            folder.refused(&with_registry(keys)),
            [format!("m.yaml:5:{expected}")],
            "{keys}"
        );
    }
}

#[test]
fn routes_that_decode_need_a_registry() {
    let text = with_group("  - { id: g, routes: { t: { plugin: p, decode: avro } } }");
    assert_eq!(
        Folder::new().refused(&text),
        [
            "m.yaml:4:48: `groups.g.routes.t.decode`: the schemas that records were written by are asked of a \
             registry: write where it is, as in `schema_registry: { url: http://localhost:8081 }`"
        ]
    );
    let text = with_registry("url: http://r").replace("decode: avro", "decode: avr");
    assert_eq!(
        Folder::new().refused(&text),
        [
            "m.yaml:4:48: `groups.g.routes.t.decode`: `avr` is not one of registry, avro, protobuf, json-schema, \
             cloudevents: did you mean `avro`?"
        ]
    );
    let text = with_group("  - { id: g, routes: { t: { plugin: p, decode: cloudevents } } }");
    let config = Folder::new().read(&text, &[], &[]).unwrap();
    let decode = config.groups[0].routes["t"].decode;
    assert_eq!(decode, Some(Decode::CloudEvents), "they need none");
}

#[test]
fn a_registry_is_read_as_it_is_written() {
    let text = with_registry(
        "url: \"https://r/api\", ca: ca.pem, timeout: 2s, refresh: 1m, basic: { user: u, password: hunter2 }, \
         encode: { a: avro, b: { subject: s, version: 3 }, c: { id: 7 }, d: { format: protobuf, message: p.M }, \
         e: { register: p.wasm, format: json-schema } }",
    );
    let folder = Folder::new();
    std::fs::write(folder.0.path().join("p.wasm"), "{}").unwrap();
    let config = folder.read(&text, &[], &[]).unwrap();
    let decode = config.groups[0].routes["t"].decode;
    assert_eq!(decode, Some(Decode::Registered(Some(SchemaFormat::Avro))));
    assert!(
        !format!("{config:?}").contains("hunter2"),
        "a secret is not printed"
    );
    let encode = |schema, format| Encode {
        schema,
        format,
        message: None,
    };
    let latest = |topic: &str| WantedSchema::Latest(format!("{topic}-value"));
    let registered = WantedSchema::Register {
        subject: "e-value".to_owned(),
        format: SchemaFormat::JsonSchema,
        schema: "{}".to_owned(),
    };
    let message = Encode {
        message: Some("p.M".to_owned()),
        ..encode(latest("d"), Some(SchemaFormat::Protobuf))
    };
    let expected = SchemaRegistry {
        url: "https://r/api".to_owned(),
        login: Some(RegistryLogin::Basic {
            user: "u".to_owned(),
            password: Secret::new("hunter2".to_owned()),
        }),
        ca: Some(folder.0.path().join("ca.pem")),
        timeout: Duration::from_secs(2),
        refresh: Duration::from_mins(1),
        encode: [
            (
                "a".to_owned(),
                encode(latest("a"), Some(SchemaFormat::Avro)),
            ),
            (
                "b".to_owned(),
                encode(WantedSchema::Version("s".to_owned(), 3), None),
            ),
            ("c".to_owned(), encode(WantedSchema::Id(7), None)),
            ("d".to_owned(), message),
            (
                "e".to_owned(),
                encode(registered, Some(SchemaFormat::JsonSchema)),
            ),
        ]
        .into(),
    };
    assert_eq!(config.schema_registry, Some(expected));
}
