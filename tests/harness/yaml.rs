//! YAML as JSON values: enough to ask what a file says. Unlike the common loaders it refuses repeated
//! keys, as the tools that read these files do.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};
use serde_json::{Map, Value};

/// What a scalar is to the reader.
type Scalar = fn(&str, ScalarStyle) -> Value;

/// Reads a file of one document, every scalar as a string.
///
/// # Errors
/// What is wrong with it, with its line.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    read(text, |text, _| Value::from(text))
}

/// The same with numbers, flags and nulls, as YAML 1.2 has them and editors read it.
///
/// # Errors
/// As [`parse`].
pub(crate) fn parse_typed(text: &str) -> Result<Value, String> {
    read(text, |text, style| {
        if style != ScalarStyle::Plain {
            return Value::from(text);
        }
        match text {
            "" | "~" | "null" => Value::Null,
            "true" | "false" => Value::from(text == "true"),
            _ if text.starts_with(|first: char| first.is_ascii_digit() || first == '-') => {
                // JSON's numbers are those of YAML that matter here.
                serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
            }
            _ => Value::from(text),
        }
    })
}

fn read(text: &str, scalar: Scalar) -> Result<Value, String> {
    let mut events = Parser::new_from_str(text);
    let mut found = None;
    while let Some((event, span)) = next(&mut events)? {
        match event {
            Event::StreamStart | Event::StreamEnd => {}
            Event::DocumentStart(_) | Event::DocumentEnd => {}
            _ if found.is_some() => return Err(at("a second document", span)),
            event => found = Some(value(event, span, &mut events, scalar)?),
        }
    }
    found.ok_or_else(|| "nothing in it".to_owned())
}

type Item<'a> = Result<(Event<'a>, Span), ScanError>;

fn next<'a>(
    events: &mut impl Iterator<Item = Item<'a>>,
) -> Result<Option<(Event<'a>, Span)>, String> {
    events.next().transpose().map_err(|error| error.to_string())
}

fn value<'a>(
    event: Event<'a>,
    span: Span,
    events: &mut impl Iterator<Item = Item<'a>>,
    scalar: Scalar,
) -> Result<Value, String> {
    match event {
        Event::Scalar(text, style, ..) => Ok(scalar(&text, style)),
        Event::SequenceStart(..) => {
            let mut list = Vec::new();
            loop {
                match next(events)?.ok_or("it ends inside a sequence")? {
                    (Event::SequenceEnd, _) => return Ok(Value::from(list)),
                    (event, span) => list.push(value(event, span, events, scalar)?),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut map = Map::new();
            loop {
                let (key, span) = match next(events)?.ok_or("it ends inside a mapping")? {
                    (Event::MappingEnd, _) => return Ok(Value::from(map)),
                    (Event::Scalar(key, ..), span) => (key.into_owned(), span),
                    (_, span) => return Err(at("a key that is no text", span)),
                };
                let (event, value_span) = next(events)?.ok_or("it ends after a key")?;
                let value = value(event, value_span, events, scalar)?;
                if map.insert(key, value).is_some() {
                    return Err(at("a key that was there before", span));
                }
            }
        }
        other => Err(at(&format!("{other:?}, which is not read here"), span)),
    }
}

fn at(what: &str, span: Span) -> String {
    format!("line {}: {what}", span.start.line())
}

#[test]
fn repeated_keys_and_second_documents_are_refused() {
    let read = parse("a: [1, {b: \"2\"}]\nc: |\n  d\n").expect("it is YAML");
    assert_eq!(
        read,
        serde_json::json!({"a": ["1", {"b": "2"}], "c": "d\n"})
    );
    let typed = parse_typed("[1, 0.5, \"1\", true, off, 5m, ~, 1.2.3.4:5]").expect("it is YAML");
    assert_eq!(
        typed,
        serde_json::json!([1, 0.5, "1", true, "off", "5m", null, "1.2.3.4:5"])
    );
    assert_eq!(
        parse("a: 1\na: 2\n"),
        Err("line 2: a key that was there before".to_owned())
    );
    assert!(parse("a: 1\n---\nb: 2\n").is_err());
    assert!(parse("a: [1\n").is_err());
}
