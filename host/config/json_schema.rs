//! The configuration as a JSON Schema (2020-12), for editors.
//!
//! It refuses what can be seen without the rest of the document: unknown keys, forms and words. Every
//! value may also hold `${...}`, which nothing is known of. It must not know a document.

use serde_json::{Map, Value, json};

use super::keys::{Key, Kind, TOP, Unless};

/// What a value has that comes from elsewhere.
const ELSEWHERE: &str = "\\$\\{";

/// The schema of a configuration file.
#[must_use]
pub fn json_schema() -> Value {
    let mut schema = object(section(TOP));
    let about = [
        ("$schema", "https://json-schema.org/draft/2020-12/schema"),
        ("title", "Millrace configuration"),
        (
            "description",
            "What one host does: clusters, plugins, groups and gateways.",
        ),
    ];
    for (key, value) in about {
        schema.insert(key.to_owned(), value.into());
    }
    Value::Object(schema)
}

fn object(schema: Value) -> Map<String, Value> {
    match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}

fn section(keys: &[Key]) -> Value {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|key| (key.name.to_owned(), of_key(key)))
        .collect();
    let required: Vec<&str> = keys
        .iter()
        .filter(|key| key.unless == Unless::Required)
        .map(|key| key.name)
        .collect();
    let mut schema = object(json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    }));
    if !required.is_empty() {
        schema.insert("required".to_owned(), required.into());
    }
    Value::Object(schema)
}

fn of_key(key: &Key) -> Value {
    let mut schema = object(of_kind(&key.kind));
    let mut told = key.meaning.to_owned();
    if let Some((least, most)) = key.kind.range() {
        told.push_str(&format!(" From {least} to {most}."));
    }
    if let Unless::Depends(words) = key.unless {
        told.push_str(&format!(" Where it is not written: {words}."));
    }
    schema.insert("description".to_owned(), told.into());
    if let Unless::Is(default) = key.unless {
        schema.insert("default".to_owned(), typed(&key.kind, default));
    }
    Value::Object(schema)
}

/// A default as JSON, of the type that the schema has.
fn typed(kind: &Kind, text: &str) -> Value {
    match kind {
        Kind::Number(..) | Kind::Fraction(..) | Kind::Flag => {
            serde_json::from_str(text).unwrap_or_else(|_| text.into())
        }
        _ => text.into(),
    }
}

fn of_kind(kind: &Kind) -> Value {
    match kind {
        Kind::Text => json!({ "type": ["string", "number", "boolean"] }),
        Kind::Path | Kind::Address => form("\\S"),
        Kind::Topic => form("^[A-Za-z0-9._-]{1,249}$"),
        Kind::Form(regex) => form(regex),
        Kind::Duration(..) => text("^\\s*[0-9]+\\s*(ms|s|m|h|d)$"),
        Kind::Size(..) => text("^\\s*[0-9]+\\s*(B|KB|KiB|MB|MiB|GB|GiB|TB|TiB)$"),
        Kind::Number(least, most) => number("integer", least, most),
        Kind::Fraction(least, most) => number("number", least, most),
        Kind::Flag => or_elsewhere(json!({ "type": "boolean" })),
        Kind::Choice(words) => {
            // `acks: 1` is a number to an editor.
            let numbers = words
                .iter()
                .filter_map(|word| word.parse::<u64>().ok())
                .map(Value::from);
            let words: Vec<Value> = words
                .iter()
                .map(|word| Value::from(*word))
                .chain(numbers)
                .collect();
            or_elsewhere(json!({ "enum": words }))
        }
        Kind::Section(keys) => section(keys),
        Kind::Named(name, of) => {
            let mut of = object(of_kind(of));
            of.insert("title".to_owned(), (*name).into());
            json!({ "type": "object", "additionalProperties": of })
        }
        Kind::List(of) => json!({ "type": "array", "items": of_kind(of) }),
        Kind::Either(one, other) => json!({ "anyOf": [of_kind(one), of_kind(other)] }),
    }
}

/// A text that YAML may take for a number, so that the pattern holds for what is a text only.
fn form(regex: &str) -> Value {
    json!({ "type": ["string", "number", "boolean"], "pattern": format!("{regex}|{ELSEWHERE}") })
}

fn text(regex: &str) -> Value {
    json!({ "type": "string", "pattern": format!("{regex}|{ELSEWHERE}") })
}

fn number(kind: &str, least: &str, most: &str) -> Value {
    let bound = |text| serde_json::from_str::<Value>(text).unwrap_or_default();
    or_elsewhere(json!({ "type": kind, "minimum": bound(least), "maximum": bound(most) }))
}

fn or_elsewhere(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "type": "string", "pattern": ELSEWHERE }] })
}
