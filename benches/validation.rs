//! What checking an event against rules costs: parsing its value alone, and each stage on top of that. Ends with a table
//! of nanoseconds an event.

#![allow(missing_docs, reason = "a bench has no interface")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on ends, and its answer is what it prints"
)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use millrace::config::{EventTypes, TypeSchemas, TypeSource, Validation};
use millrace::schema::{Checker, Event, HeaderList, Place, Rules};
use serde_json::{Value, json};

/// Rows of the table.
const WAYS: [&str; 5] = [
    "parse",
    "envelope",
    "envelope-type-payload",
    "cloudevents-payload",
    "refused",
];

/// An order as a shop would send it: 230 bytes with its envelope.
fn event() -> String {
    json!({
        "id": "018f6a2e-7c1b-7d3e-9a57-0242ac120002",
        "type": "order.created",
        "time": "2026-11-29T12:00:00Z",
        "data": {
            "customer": "c-10293",
            "total": { "cents": 12_950, "currency": "EUR" },
            "lines": [{ "sku": "A-1", "count": 2 }, { "sku": "B-7", "count": 1 }]
        }
    })
    .to_string()
}

fn write_schemas(folder: &Path) {
    let write = |name: &str, schema: Value| {
        std::fs::write(folder.join(name), schema.to_string()).unwrap();
    };
    write(
        "envelope.json",
        json!({
            "type": "object",
            "required": ["id", "type", "time", "data"],
            "properties": {
                "id": { "type": "string", "pattern": "^[0-9a-f-]{36}$" },
                "type": { "type": "string", "minLength": 1 },
                "time": { "type": "string" },
                "data": { "type": "object" }
            }
        }),
    );
    write(
        "order.created.json",
        json!({
            "type": "object",
            "required": ["customer", "total", "lines"],
            "additionalProperties": false,
            "properties": {
                "customer": { "type": "string", "minLength": 1 },
                "total": { "$ref": "money.json" },
                "lines": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["sku", "count"],
                        "properties": {
                            "sku": { "type": "string" },
                            "count": { "type": "integer", "minimum": 1 }
                        }
                    }
                }
            }
        }),
    );
    write(
        "money.json",
        json!({
            "type": "object",
            "required": ["cents", "currency"],
            "properties": {
                "cents": { "type": "integer", "minimum": 0 },
                "currency": { "enum": ["EUR", "USD", "GBP"] }
            }
        }),
    );
}

fn checker(folder: &Path, envelope: bool, types: Option<(TypeSource, &str)>) -> Checker {
    let validation = Validation {
        folder: folder.to_owned(),
        envelope: envelope.then(|| "envelope.json".to_owned()),
        types: types.map(|(source, payload)| EventTypes {
            source,
            schemas: TypeSchemas::Folder(String::new()),
            payload: payload.to_owned(),
            accept_unknown: false,
        }),
        formats: false,
    };
    let rules = Rules::load("orders", &validation).unwrap();
    Checker::new(Arc::new(rules), Place::Group)
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    write_schemas(folder.path());
    let whole = event();
    let parsed: Value = serde_json::from_str(&whole).unwrap();
    let payload = parsed["data"].to_string();
    let broken = whole.replace("\"count\":1", "\"count\":0");
    assert_ne!(whole, broken, "the event has been changed");
    let in_value = || Some((TypeSource::Json("/type".to_owned()), "/data"));
    let by_header = Some((TypeSource::CloudEvents, ""));
    let envelope = checker(folder.path(), true, None);
    let staged = checker(folder.path(), true, in_value());
    let cloud = checker(folder.path(), false, by_header);
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let mut group = criterion.benchmark_group("validation");
    group.throughput(Throughput::Elements(1));
    group.bench_function(WAYS[0], |bench| {
        bench.iter(|| serde_json::from_slice::<Value>(black_box(whole.as_bytes())).unwrap());
    });
    for (way, checker, value, valid) in [
        (WAYS[1], &envelope, &whole, true),
        (WAYS[2], &staged, &whole, true),
        (WAYS[3], &cloud, &payload, true),
        (WAYS[4], &staged, &broken, false),
    ] {
        let headers = HeaderList(&[("ce_type", Some(b"order.created"))]);
        group.bench_function(way, |bench| {
            bench.iter(|| {
                let event = Event {
                    topic: "orders",
                    key: None,
                    value: Some(black_box(value.as_bytes())),
                    headers: &headers,
                };
                let checked = checker.check(&event, None);
                assert_eq!(checked.is_ok(), valid);
            });
        });
    }
    group.finish();
    println!(
        "an event has {} bytes, its payload {}",
        whole.len(),
        payload.len()
    );
}
