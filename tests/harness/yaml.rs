//! YAML as JSON values, every scalar a string: enough to ask what a file says. Unlike the common
//! loaders it refuses repeated keys, as the tools that read these files do.

use saphyr_parser::{Event, Parser, ScanError, Span};
use serde_json::{Map, Value};

/// Reads a file of one document.
///
/// # Errors
/// What is wrong with it, with its line.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let mut events = Parser::new_from_str(text);
    let mut found = None;
    while let Some((event, span)) = next(&mut events)? {
        match event {
            Event::StreamStart | Event::StreamEnd => {}
            Event::DocumentStart(_) | Event::DocumentEnd => {}
            _ if found.is_some() => return Err(at("a second document", span)),
            event => found = Some(value(event, span, &mut events)?),
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
) -> Result<Value, String> {
    match event {
        Event::Scalar(text, ..) => Ok(Value::from(text.into_owned())),
        Event::SequenceStart(..) => {
            let mut list = Vec::new();
            loop {
                match next(events)?.ok_or("it ends inside a sequence")? {
                    (Event::SequenceEnd, _) => return Ok(Value::from(list)),
                    (event, span) => list.push(value(event, span, events)?),
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
                let value = value(event, value_span, events)?;
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
    assert_eq!(
        parse("a: 1\na: 2\n"),
        Err("line 2: a key that was there before".to_owned())
    );
    assert!(parse("a: 1\n---\nb: 2\n").is_err());
    assert!(parse("a: [1\n").is_err());
}
