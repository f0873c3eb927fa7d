//! What the fuzz target `schemas` does with data: it reads them by schemas that have every type, and writes again what it
//! has read.

use std::sync::LazyLock;

use super::client::Registered;
use super::codec::{Codec, Writing};
use super::wire;
use crate::config::SchemaFormat;

const AVRO: &str = r#"{"type": "record", "name": "R", "fields": [
    {"name": "a", "type": ["null", "boolean", "int", "long", "float", "double", "bytes", "string"]},
    {"name": "b", "type": {"type": "array", "items": ["null", "R"]}},
    {"name": "c", "type": {"type": "map", "values": {"type": "array", "items": "null"}}},
    {"name": "d", "type": {"type": "enum", "name": "E", "symbols": ["X", "Y"]}},
    {"name": "e", "type": {"type": "fixed", "name": "F", "size": 2}},
    {"name": "f", "type": [
        {"type": "bytes", "logicalType": "decimal", "precision": 40, "scale": 7},
        {"type": "fixed", "name": "P", "size": 12, "logicalType": "duration"},
        {"type": "int", "logicalType": "date"},
        {"type": "long", "logicalType": "timestamp-micros"},
        {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}]},
    {"name": "g", "type": {"type": "long", "logicalType": "local-timestamp-nanos"}},
    {"name": "h", "type": {"type": "int", "logicalType": "time-millis"}}]}"#;

const PROTOBUF: &str = r#"syntax = "proto3";
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
message M {
  enum E { X = 0; Y = 1; }
  message N { optional string s = 1; N n = 2; repeated fixed32 f = 3; }
  int32 a = 1; sint64 b = 2; bool c = 3; double d = 4; float e = 5; bytes f = 6; string g = 7;
  repeated E h = 8; map<int32, N> i = 9; map<string, E> j = 10; repeated N k = 11;
  oneof l { M m = 12; uint64 n = 13; }
  google.protobuf.Any o = 14; google.protobuf.Duration p = 15; google.protobuf.FieldMask q = 16;
  google.protobuf.Struct r = 17; google.protobuf.Timestamp s = 18; google.protobuf.Int64Value t = 19;
  repeated sfixed64 u = 20; repeated google.protobuf.Value v = 21;
}"#;

const JSON: &str = r##"{"type": ["object", "array"], "additionalProperties": {"$ref": "#"}, "items": {"type": "number"}}"##;

static CODECS: LazyLock<Vec<Codec>> = LazyLock::new(|| {
    let schemas = [
        (SchemaFormat::Avro, AVRO),
        (SchemaFormat::Protobuf, PROTOBUF),
        (SchemaFormat::JsonSchema, JSON),
    ];
    let codecs = schemas.map(|(format, schema)| {
        let schema = schema.to_owned();
        let references = Vec::new();
        Codec::new(&Registered {
            format,
            schema,
            references,
        })
    });
    codecs.into_iter().flatten().collect()
});

/// Takes the value of a record.
pub(crate) fn fuzz_values(data: &[u8]) {
    assert_eq!(CODECS.len(), 3, "every schema compiles");
    let Ok((id, data)) = wire::split(data) else {
        return;
    };
    let codec = &CODECS[id as usize % CODECS.len()];
    let view = match codec.decode(id, data) {
        Ok(view) => view,
        Err(flaw) => return assert_ne!(flaw.code, "panic", "{flaw}"),
    };
    let value: Result<serde_json::Value, _> = serde_json::from_slice(&view);
    assert!(
        value.is_ok(),
        "a view is JSON: {}",
        String::from_utf8_lossy(&view)
    );
    let writing = Writing::new(codec, None);
    let mut again = Vec::new();
    let written = writing.is_ok_and(|it| it.encode_or_panic(codec, &view, &mut again).is_ok());
    if !written {
        return;
    }
    let again = codec.decode(id, &again);
    let again = again.map(|again| serde_json::from_slice::<serde_json::Value>(&again).ok());
    match codec.format() {
        // Names that differ only in how words are joined become one on the way.
        SchemaFormat::Protobuf => assert!(again.is_ok(), "what is written is read"),
        // Of a name that a map has twice, the last counts.
        _ => assert_eq!(again, Ok(value.ok()), "what is written says the same"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AVRO_VIEW: &str = r#"{"a": {"long": 5}, "b": [null, {"a": {"string": "x"}, "b": [], "c": {},
        "d": "X", "e": "AAE=", "f": {"bytes": "-1.5"}, "g": 0, "h": 0}], "c": {"k": [null, null]}, "d": "Y",
        "e": "/w8=", "f": {"U": "0190b6d3-7e0a-7c3e-8f00-00000000000f"}, "g": "2026-11-29T00:00:00.000000001",
        "h": "12:00:00.000"}"#;
    const PROTOBUF_VIEW: &str = r#"{"a": 1, "d": 0.5, "f": "AAE=", "g": "x", "h": ["Y"],
        "i": {"-1": {"s": "", "n": {"f": [1, 2]}}}, "j": {"k": "Y"}, "k": [{}, {"n": {}}], "m": {"a": 2},
        "o": {"@type": "type.googleapis.com/M.N", "s": "y"}, "p": "1.5s", "q": "aB,c", "r": {"x": [1, null]},
        "s": "2026-11-29T00:00:00Z", "t": "5", "u": ["1"], "v": [null, {"z": true}, [1.5, "w"]]}"#;
    const JSON_VIEW: &str = r#"{"a": {"b": [1, 2.5, -3]}, "c": []}"#;

    /// A value as the record of each format has it.
    fn values() -> Vec<Vec<u8>> {
        let views = [AVRO_VIEW, PROTOBUF_VIEW, JSON_VIEW].into_iter();
        let values = views.zip(CODECS.iter()).enumerate();
        let values = values.map(|(id, (view, codec))| {
            let mut value = wire::head(id as u32).to_vec();
            let writing = Writing::new(codec, None).unwrap();
            writing.encode(codec, view.as_bytes(), &mut value).unwrap();
            value
        });
        values.collect()
    }

    #[test]
    fn data_that_are_changed_at_random_are_read_or_refused() {
        const ROUNDS: usize = 10_000;
        let mut random = fastrand::Rng::with_seed(7);
        for value in values() {
            fuzz_values(&value);
            for _ in 0..ROUNDS {
                let mut changed = value.clone();
                for _ in 0..random.usize(1..4) {
                    let at = random.usize(wire::HEAD_BYTES..changed.len());
                    match random.u8(0..4) {
                        0 => changed[at] ^= 1 << random.u8(0..8),
                        1 => {
                            changed[at] =
                                *random.choice(&[0, 1, 2, 0x7f, 0x80, 0xfe, 0xff]).unwrap()
                        }
                        2 => changed.insert(at, random.u8(..)),
                        _ => changed.truncate(at.max(wire::HEAD_BYTES + 1)),
                    }
                }
                fuzz_values(&changed);
            }
        }
    }
}
