//! The document as written: a tree of values in which everything has its place.
//!
//! Built from the parser's events rather than from a loaded document, because a loader stops at the
//! first repeated key and forgets how a scalar was spelled (`1.10` would become `1.1`). This must not
//! know which keys exist or what they mean.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::finding::{Findings, Place};

/// The deepest setting lies 6 levels down; the limit keeps the recursion of the reader small.
const DEPTH_MAX: usize = 32;

/// Aliases may multiply what a small file says; no honest configuration has this many values.
const NODES_MAX: usize = 100_000;

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// A value of the document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Nothing written, or `null`.
    Null,
    /// One value, as text.
    Scalar(Scalar),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order written; its keys are unique.
    Map(Vec<Entry>),
    /// A problem that has been reported already; nothing more is to be said about it.
    Bad,
}

/// One value as text; what it means depends on the key it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    /// Written as a string, in quotes or as a block, so that it is no number.
    pub(crate) quoted: bool,
    /// What in it nobody may read, because it came from a file or from a variable with such a name.
    pub(crate) secrets: Vec<String>,
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_place: Place,
    pub(crate) value: Node,
}

/// Reads YAML 1.2 text. Repeated keys and the like go to `findings`; an empty document is an empty
/// mapping.
///
/// # Errors
/// A syntax error, after which the rest of the text means nothing: its place and message.
pub(crate) fn parse(text: &str, findings: &mut Findings) -> Result<Node, (Place, String)> {
    let mut builder = Builder::new(text, findings);
    builder.document().map_err(|stop| stop.told(text))
}

/// Reads a text of several YAML documents, as [`parse`] reads one. An empty one counts as an empty mapping.
///
/// # Errors
/// As [`parse`].
pub(crate) fn parse_all(text: &str, findings: &mut Findings) -> Result<Vec<Node>, (Place, String)> {
    let mut builder = Builder::new(text, findings);
    builder.documents().map_err(|stop| stop.told(text))
}

/// Reads one value the way it would be read in a document; none when it is not a single value.
pub(crate) fn parse_scalar(text: &str, place: &Place) -> Option<Node> {
    let mut findings = Findings::new("");
    let node = parse(text, &mut findings)
        .ok()
        .filter(|_| findings.is_empty())?;
    match node.value {
        Value::Null | Value::Scalar(_) => Some(Node {
            place: place.clone(),
            value: node.value,
        }),
        // An empty document; what was given is an empty text, or only a comment.
        Value::Map(entries) if entries.is_empty() && !text.contains('{') => Some(Node {
            place: place.clone(),
            value: Value::Null,
        }),
        _ => None,
    }
}

fn place(mark: &Marker) -> Place {
    // The parser counts columns from 0.
    Place::File {
        line: mark.line().max(1),
        column: mark.col() + 1,
    }
}

fn wants_quotes(text: &str, line: usize) -> bool {
    let line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    line.contains("${") && line.contains(['{', '['])
}

/// Why the text cannot be read any further.
enum Stop {
    Syntax(ScanError),
    Limit(Place, String),
}

impl Stop {
    fn told(self, text: &str) -> (Place, String) {
        match self {
            Self::Syntax(error) => {
                let mut message = format!("this is not YAML: {}", error.info());
                if wants_quotes(text, error.marker().line()) {
                    message.push_str("; a value with ${...} inside { } or [ ] needs quotes");
                }
                (place(error.marker()), message)
            }
            Self::Limit(place, message) => (place, message),
        }
    }
}

impl From<ScanError> for Stop {
    fn from(error: ScanError) -> Self {
        Self::Syntax(error)
    }
}

struct Builder<'a, 'input> {
    parser: Parser<'input, StrInput<'input>>,
    anchors: HashMap<usize, Node>,
    nodes_left: usize,
    findings: &'a mut Findings,
}

impl<'a, 'input> Builder<'a, 'input> {
    fn new(text: &'input str, findings: &'a mut Findings) -> Self {
        Self {
            parser: Parser::new_from_str(text),
            anchors: HashMap::new(),
            nodes_left: NODES_MAX,
            findings,
        }
    }

    fn documents(&mut self) -> Result<Vec<Node>, Stop> {
        let mut documents = Vec::new();
        loop {
            let (event, at) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(documents),
                Event::DocumentStart(_) | Event::StreamStart => {}
                Event::DocumentEnd | Event::Nothing => {}
                event => {
                    let mut node = self.node(event, at, 0)?;
                    if node.value == Value::Null {
                        node.value = Value::Map(Vec::new());
                    }
                    documents.push(node);
                }
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'input>, Place), Stop> {
        match self.parser.next_event() {
            Some(event) => event
                .map(|(event, span)| (event, place(&span.start)))
                .map_err(Stop::from),
            None => Ok((Event::StreamEnd, Place::File { line: 1, column: 1 })),
        }
    }

    fn document(&mut self) -> Result<Node, Stop> {
        let mut root = None;
        let mut documents = 0;
        loop {
            let (event, at) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents == 2 {
                        self.findings.add(
                            &at,
                            "a second document starts here: keep one in a file, without `---` inside it",
                        );
                    }
                }
                Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
                event => {
                    let node = self.node(event, at, 0)?;
                    root.get_or_insert(node);
                }
            }
        }
        let empty = || Node {
            place: Place::File { line: 1, column: 1 },
            value: Value::Map(Vec::new()),
        };
        Ok(root
            .filter(|node| node.value != Value::Null)
            .unwrap_or_else(empty))
    }

    fn node(&mut self, event: Event<'input>, at: Place, depth: usize) -> Result<Node, Stop> {
        if depth > DEPTH_MAX {
            let message = format!("values are nested more than {DEPTH_MAX} levels deep");
            return Err(Stop::Limit(at, message));
        }
        self.spend(1, &at)?;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (self.scalar(&text, style, tag.as_deref(), &at), anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), "seq", &at);
                (self.list(depth)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), "map", &at);
                (self.map(depth)?, anchor)
            }
            Event::Alias(anchor) => return self.alias(anchor, &at),
            // The parser opens every node with one of the events above.
            _ => (Value::Null, 0),
        };
        let node = Node { place: at, value };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, at: &Place) -> Value {
        let is_string = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
        if !is_string && self.refuse_tag(tag, "str", at) {
            return Value::Bad;
        }
        let quoted = is_string || style != ScalarStyle::Plain;
        if !quoted && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
            return Value::Null;
        }
        Value::Scalar(Scalar {
            text: text.to_owned(),
            quoted,
            secrets: Vec::new(),
        })
    }

    fn list(&mut self, depth: usize) -> Result<Value, Stop> {
        let mut items = Vec::new();
        loop {
            let (event, at) = self.next()?;
            if matches!(event, Event::SequenceEnd | Event::StreamEnd) {
                return Ok(Value::List(items));
            }
            items.push(self.node(event, at, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Stop> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, key_place) = self.next()?;
            if matches!(event, Event::MappingEnd | Event::StreamEnd) {
                return Ok(Value::Map(entries));
            }
            let key = self.node(event, key_place.clone(), depth + 1)?;
            let (event, at) = self.next()?;
            let value = self.node(event, at, depth + 1)?;
            let key = match key.value {
                Value::Scalar(scalar) => scalar.text,
                _ => {
                    self.findings.add(&key_place, "a key must be a plain word");
                    continue;
                }
            };
            match entries.iter().find(|entry| entry.key == key) {
                Some(first) => {
                    let first_line = match &first.key_place {
                        Place::File { line, .. } => *line,
                        Place::Override(_) => 0,
                    };
                    let message =
                        format!("`{key}` is written twice, first on line {first_line}: keep one");
                    self.findings.add(&key_place, message);
                }
                None => entries.push(Entry {
                    key,
                    key_place,
                    value,
                }),
            }
        }
    }

    fn alias(&mut self, anchor: usize, at: &Place) -> Result<Node, Stop> {
        match self.anchors.get(&anchor).cloned() {
            Some(node) => {
                self.spend(count(&node), at)?;
                Ok(node)
            }
            None => {
                self.findings
                    .add(at, "an alias cannot stand inside the value that it names");
                Ok(Node {
                    place: at.clone(),
                    value: Value::Bad,
                })
            }
        }
    }

    fn spend(&mut self, nodes: usize, at: &Place) -> Result<(), Stop> {
        self.nodes_left = self.nodes_left.checked_sub(nodes).ok_or_else(|| {
            Stop::Limit(
                at.clone(),
                format!("more than {NODES_MAX} values, aliases included"),
            )
        })?;
        Ok(())
    }

    /// Whether there was a tag to refuse; `allowed` of the core schema says nothing new.
    fn refuse_tag(&mut self, tag: Option<&Tag>, allowed: &str, at: &Place) -> bool {
        match tag {
            Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == allowed) => {
                self.findings.add(
                    at,
                    format!("tags are not used here: remove `!{}`", tag.suffix),
                );
                true
            }
            _ => false,
        }
    }
}

fn count(node: &Node) -> usize {
    match &node.value {
        Value::List(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Map(entries) => {
            1 + entries
                .iter()
                .map(|entry| 1 + count(&entry.value))
                .sum::<usize>()
        }
        Value::Null | Value::Scalar(_) | Value::Bad => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings_of(text: &str) -> String {
        let mut findings = Findings::new("f");
        match parse(text, &mut findings) {
            Ok(_) => findings.into_error().to_string(),
            Err((place, message)) => format!("{place:?} {message}"),
        }
    }

    #[test]
    fn every_value_and_key_has_its_place() {
        let mut findings = Findings::new("f");
        let root = parse("# c\na:\n  b: [x, 1.10]\n", &mut findings).unwrap();
        let Value::Map(entries) = root.value else {
            panic!("a mapping")
        };
        assert_eq!(entries[0].key_place, Place::File { line: 2, column: 1 });
        let Value::Map(inner) = &entries[0].value.value else {
            panic!("a mapping")
        };
        let Value::List(items) = &inner[0].value.value else {
            panic!("a list")
        };
        assert_eq!(
            items[1].place,
            Place::File {
                line: 3,
                column: 10
            }
        );
        let scalar = Scalar {
            text: "1.10".to_owned(),
            quoted: false,
            secrets: Vec::new(),
        };
        assert_eq!(items[1].value, Value::Scalar(scalar));
    }

    #[test]
    fn all_repeated_keys_are_reported() {
        assert_eq!(
            findings_of("a: 1\nb: 2\na: 3\nb: 4\n"),
            "f:3:1: `a` is written twice, first on line 1: keep one\n\
             f:4:1: `b` is written twice, first on line 2: keep one\n\
             2 problems in the configuration"
        );
    }

    #[test]
    fn aliases_cannot_multiply_without_end() {
        let mut text = String::from("a: &a [x, x, x, x, x, x, x, x, x, x]\n");
        for (name, of) in [("b", "a"), ("c", "b"), ("d", "c"), ("e", "d"), ("f", "e")] {
            text.push_str(&format!(
                "{name}: &{name} [{}]\n",
                vec![format!("*{of}"); 10].join(", ")
            ));
        }
        assert!(findings_of(&text).contains("more than 100000 values, aliases included"));
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let text = "- ".repeat(5_000);
        assert!(findings_of(&text).contains("nested more than 32 levels deep"));
    }

    #[test]
    fn a_second_document_and_a_tag_are_refused() {
        assert_eq!(
            findings_of("a: !env X\n---\nb: 1\n"),
            "f:1:4: tags are not used here: remove `!env`\n\
             f:2:1: a second document starts here: keep one in a file, without `---` inside it\n\
             2 problems in the configuration"
        );
    }
}
