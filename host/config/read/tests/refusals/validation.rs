//! Rules for events that are refused, each with the exact words; and how they are read.

use super::*;
use crate::config::{EventTypes, TypeSchemas, TypeSource, Validation};

/// A configuration with these keys of the rules `r`, and a route that names them.
fn with_rules(keys: &str) -> String {
    let group = with_group("  - { id: g, routes: { t: { plugin: p, validate: r } } }");
    format!("{group}\nvalidation:\n  r: {{ folder: schemas{keys} }}\n")
}

#[test]
fn rules_are_checked() {
    let place = "m.yaml:6:";
    let cases = [
        (
            "",
            "6: `validation.r`: there is nothing to check: write `envelope`, or `type` and `types`",
        ),
        (
            ", envelope: e.yaml",
            "35: `validation.r.envelope`: `e.yaml` is not the name of a schema: write `e.yaml.json`",
        ),
        (
            ", envelope: ../e.json",
            "35: `validation.r.envelope`: `../e.json` does not lie in `folder`: write its path from there, such as \
             `types/order.json`; hidden files are not looked at",
        ),
        (
            ", type: cloudevents",
            "31: `validation.r.type`: the schemas of the types are missing: write `types: FOLDER`, with one file \
             `TYPE.json` for each, or `types: { TYPE: FILE }`",
        ),
        (
            ", types: types",
            "32: `validation.r.types`: this needs to be known of events: write where their type is, for example \
             `type: \"json:/type\"`",
        ),
        (
            ", type: kind, types: types",
            "31: `validation.r.type`: `kind` is no place of a type: write `header:NAME`, `json:/pointer` or \
             `cloudevents`",
        ),
        (
            ", type: cloudevents, types: types, payload: data",
            "67: `validation.r.payload`: `data` is not a JSON pointer: write `/data`",
        ),
        (
            ", envelope: e.json, schema: x",
            "43: unknown key `schema` in `validation.r`: the keys here are folder, envelope, type, types, payload, \
             unknown_type, formats",
        ),
    ];
    let folder = Folder::new();
    for (keys, expected) in cases {
        assert_eq!(
            folder.refused(&with_rules(keys)),
            [format!("{place}{expected}")],
            "{keys}"
        );
    }
}

#[test]
fn rules_that_are_named_must_be_there() {
    let text = with_rules(", envelope: e.json").replace("validate: r", "validate: rr");
    let ingest = "ingest: { grpc: { listen: \"127.0.0.1:1\" }, validate: { \"a b\": r, t: q } }\n";
    assert_eq!(
        Folder::new().refused(&format!("{text}{ingest}")),
        [
            "m.yaml:4:50: `groups.g.routes.t.validate`: there are no rules `rr`: write them under `validation`",
            "m.yaml:7:56: `a b` cannot be the name of a topic: use 1 to 249 of letters, digits, `.`, `_` and `-`, \
             and not `.` or `..`",
            "m.yaml:7:69: `ingest.validate.t`: there are no rules `q`: write them under `validation`",
        ]
    );
}

#[test]
fn rules_are_read_as_they_are_written() {
    let text = with_rules(
        ", envelope: ./e.json, type: \"header:kind\", types: { a/b: x/y.json }, payload: /d",
    );
    let config = Folder::new().read(&text, &[], &[]).unwrap();
    assert_eq!(config.groups[0].routes["t"].validate.as_deref(), Some("r"));
    let Validation {
        envelope,
        types,
        formats,
        folder,
    } = &config.validation["r"];
    assert!(folder.ends_with("schemas") && !formats);
    assert_eq!(envelope.as_deref(), Some("e.json"));
    let expected = EventTypes {
        source: TypeSource::Header("kind".to_owned()),
        schemas: TypeSchemas::Files([("a/b".to_owned(), "x/y.json".to_owned())].into()),
        payload: "/d".to_owned(),
        accept_unknown: false,
    };
    assert_eq!(types.as_ref(), Some(&expected));
}
