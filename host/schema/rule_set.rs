//! A set of compiled schemas, and what they say of an event: its envelope, then its type, then what that type says of
//! the payload. A set never changes; another one takes its place.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::flaw::{Flaw, Stage, cut};
use super::{Event, View};
use crate::config::{EventTypes, TypeSource};

/// What is wrong with an event is told of so many places at most; one is enough to find it, and a few save a second
/// look.
const PLACES_MAX: usize = 3;

/// Characters of one place: its pointer, what is wrong there, and the place in the schema.
const PLACE_CHARS_MAX: usize = 300;

/// Characters of an event's type in a message.
const TYPE_CHARS_MAX: usize = 100;

/// Types that a message names.
const KNOWN_TYPES_MAX: usize = 5;

/// The header of the CloudEvents attribute `type`, in the Kafka protocol binding.
const CLOUD_EVENTS_TYPE: &str = "ce_type";

/// Every schema of one set of rules.
#[derive(Debug)]
pub struct RuleSet {
    pub(super) envelope: Option<Schema>,
    pub(super) types: Option<Types>,
    /// Of the files that it was made of.
    pub(super) digest: u64,
    pub(super) files: usize,
}

/// The schemas of the types of events.
#[derive(Debug)]
pub(super) struct Types {
    pub(super) settings: EventTypes,
    pub(super) schemas: BTreeMap<String, Schema>,
}

/// One compiled schema.
#[derive(Debug)]
pub(super) struct Schema {
    /// Its file, from the folder.
    pub(super) file: String,
    pub(super) validator: jsonschema::Validator,
    /// What the addresses of the files begin with, which nobody needs to read.
    pub(super) base: &'static str,
}

impl RuleSet {
    /// How many files it was made of.
    #[must_use]
    pub fn files(&self) -> usize {
        self.files
    }

    /// The types that it has a schema for.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        let types = self.types.iter();
        types.flat_map(|types| types.schemas.keys().map(String::as_str))
    }

    /// Checks an event, of which `view` stands in the place of value and headers where there is one. A tombstone has
    /// nothing that could be wrong.
    ///
    /// # Errors
    /// What is wrong, at the first stage where anything is.
    pub fn check(&self, event: &Event<'_>, view: Option<&View>) -> Result<(), Flaw> {
        let value = match view {
            None => event.value,
            Some(view) => view.value.as_deref(),
        };
        let Some(bytes) = value else {
            return Ok(());
        };
        let value: Value = serde_json::from_slice(bytes).map_err(|error| not_json(&error))?;
        if let Some(schema) = &self.envelope {
            schema.check(Stage::Envelope, &value, "")?;
        }
        match &self.types {
            Some(types) => types.check(event, view, &value),
            None => Ok(()),
        }
    }
}

impl Types {
    fn check(&self, event: &Event<'_>, view: Option<&View>, value: &Value) -> Result<(), Flaw> {
        let named = self
            .type_of(event, view, value)
            .ok_or_else(|| self.no_type())?;
        let Some(schema) = self.schemas.get(&*named) else {
            return if self.settings.accept_unknown {
                Ok(())
            } else {
                Err(self.unknown(&named))
            };
        };
        let at = &self.settings.payload;
        match value.pointer(at) {
            Some(payload) => schema.check(Stage::Payload, payload, at),
            None => Err(Flaw::invalid(
                Stage::Payload,
                format!("{at}: the payload is missing ({})", schema.file),
            )),
        }
    }

    fn type_of<'e>(
        &self,
        event: &'e Event<'_>,
        view: Option<&'e View>,
        value: &'e Value,
    ) -> Option<Cow<'e, str>> {
        let header = |name: &str| {
            let shown = view.filter(|view| view.replaces(name.as_bytes()));
            let found = match shown {
                Some(view) => view.last(name.as_bytes()),
                None => event.headers.last(name.as_bytes()),
            };
            found.map(String::from_utf8_lossy)
        };
        let named = match &self.settings.source {
            TypeSource::Header(name) => header(name),
            TypeSource::CloudEvents => header(CLOUD_EVENTS_TYPE),
            TypeSource::Json(pointer) => value.pointer(pointer)?.as_str().map(Cow::Borrowed),
        };
        named.filter(|named| !named.is_empty())
    }

    fn no_type(&self) -> Flaw {
        Flaw::invalid(
            Stage::Type,
            format!("{}: the event says no type, or not as text", self.place()),
        )
    }

    fn unknown(&self, named: &str) -> Flaw {
        let mut known: Vec<&str> = self.schemas.keys().map(String::as_str).collect();
        let more = known.len().saturating_sub(KNOWN_TYPES_MAX);
        known.truncate(KNOWN_TYPES_MAX);
        let known = known.join(", ");
        let more = match more {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Flaw::unknown_type(format!(
            "{}: there is no schema of the event type `{}`; there is one of {}{more}",
            self.place(),
            cut(named, TYPE_CHARS_MAX),
            cut(&known, PLACE_CHARS_MAX)
        ))
    }

    fn place(&self) -> Cow<'_, str> {
        match &self.settings.source {
            TypeSource::Json(pointer) => Cow::Borrowed(pointer),
            TypeSource::Header(name) => Cow::Owned(format!("header {name}")),
            TypeSource::CloudEvents => Cow::Owned(format!("header {CLOUD_EVENTS_TYPE}")),
        }
    }
}

impl Schema {
    /// Checks a value that stands at this pointer in its event.
    pub(super) fn check(&self, stage: Stage, value: &Value, at: &str) -> Result<(), Flaw> {
        // Nearly every event is valid, and finding that out takes no allocation.
        if self.validator.is_valid(value) {
            return Ok(());
        }
        let mut places = Vec::new();
        let mut errors = self.validator.iter_errors(value);
        for error in errors.by_ref().take(PLACES_MAX) {
            let pointer = format!("{at}{}", error.instance_path());
            let pointer = if pointer.is_empty() {
                "the whole value"
            } else {
                &pointer
            };
            let keyword = error.absolute_keyword_location();
            let keyword = keyword.map(|uri| uri.as_str().trim_start_matches(self.base));
            // The event's own values are not repeated: they may be long, and are nobody's business in a log.
            let told = format!(
                "{pointer}: {} ({})",
                error.masked(),
                keyword.unwrap_or(&self.file)
            );
            places.push(cut(&told, PLACE_CHARS_MAX).into_owned());
        }
        if errors.next().is_some() {
            places.push("and more".to_owned());
        }
        Err(Flaw::invalid(stage, places.join("; ")))
    }
}

fn not_json(error: &serde_json::Error) -> Flaw {
    Flaw::invalid(Stage::Json, format!("the value is no JSON: {error}"))
}
