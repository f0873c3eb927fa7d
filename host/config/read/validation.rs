//! The section `validation`: rules by name, and the references to them.

use std::collections::{BTreeMap, BTreeSet};

use super::dedup::json_pointer;
use super::field::{Field, is_topic, not_a_topic};
use super::section::{Context, suggest};
use crate::config::tree::Value;
use crate::config::{EventTypes, TopicPattern, TopicRules, TypeSchemas, TypeSource, Validation};

/// The names of rules, whether or not these could be read.
pub(super) type KnownRules = BTreeSet<String>;

pub(super) fn read(
    field: &Field<'_>,
    context: &mut Context<'_>,
) -> (BTreeMap<String, Validation>, KnownRules) {
    let (mut all, mut known) = (BTreeMap::new(), KnownRules::new());
    for (name, field) in field.entries(context) {
        known.insert(name.to_owned());
        if let Some(validation) = one(&field, context) {
            all.insert(name.to_owned(), validation);
        }
    }
    (all, known)
}

/// A reference to rules by their name.
pub(super) fn reference(
    field: &Field<'_>,
    known: &KnownRules,
    context: &mut Context<'_>,
) -> Option<String> {
    let name = field.name(context)?;
    if !known.contains(name) {
        let advice = suggest(name, known.iter().map(String::as_str)).map_or_else(
            || "write them under `validation`".to_owned(),
            |known| format!("did you mean `{known}`?"),
        );
        field.problem(context, format!("there are no rules `{name}`: {advice}"));
    }
    Some(name.to_owned())
}

/// Topics, or patterns of topics, each with the rules of its events.
pub(super) fn of_topics(
    field: &Field<'_>,
    known: &KnownRules,
    context: &mut Context<'_>,
) -> TopicRules {
    let mut rules = TopicRules::default();
    for (topic, field) in field.entries(context) {
        let pattern = TopicPattern::is_one(topic).then(|| TopicPattern::parse(topic));
        match &pattern {
            Some(Err(wrong)) => context.problem(&field.place, wrong.as_str()),
            None if !is_topic(topic) => context.problem(&field.place, not_a_topic(topic)),
            _ => {}
        }
        let Some(name) = reference(&field, known, context) else {
            continue;
        };
        match pattern {
            Some(Ok(pattern)) => rules.by_pattern.push((pattern, name)),
            Some(Err(_)) => {}
            None => {
                rules.by_name.insert(topic.to_owned(), name);
            }
        }
    }
    if let Some([one, other]) = rules.undecided() {
        let message = format!(
            "`{}` and `{}` match topics in common, and neither is the narrower one: change one of them, or name the \
             same rules for both",
            one.text(),
            other.text()
        );
        field.problem(context, message);
    }
    rules
}

fn one(field: &Field<'_>, context: &mut Context<'_>) -> Option<Validation> {
    let mut section = field.section(context)?;
    let folder = section.require("folder", "schemas/orders", context);
    let folder = folder.file_path(context);
    let envelope = section.take("envelope");
    let (envelope, has_envelope) = (schema_file(&envelope, context), !envelope.is_absent());
    let type_field = section.take("type");
    let types_field = section.take("types");
    let payload = section.take("payload");
    let unknown = section.take("unknown_type");
    let accept_unknown = unknown.choice(context, false, &[("refuse", false), ("accept", true)]);
    let source = type_source(&type_field, context);
    let schemas = type_schemas(&types_field, context);
    let formats = section.take("formats").flag(context, false);
    if type_field.is_absent() {
        for needs_it in [&types_field, &payload, &unknown] {
            if !needs_it.is_absent() {
                let message = "this needs to be known of events: write where their type is, for example \
                               `type: \"json:/type\"`";
                needs_it.problem(context, message);
            }
        }
        if !has_envelope && types_field.is_absent() {
            let message = "there is nothing to check: write `envelope`, or `type` and `types`";
            field.problem(context, message);
        }
    } else if types_field.is_absent() {
        let message = "the schemas of the types are missing: write `types: FOLDER`, with one file `TYPE.json` for \
                       each, or `types: { TYPE: FILE }`";
        type_field.problem(context, message);
    }
    let payload = match payload.is_absent() {
        true => String::new(),
        false => pointer(&payload, context).unwrap_or_default(),
    };
    section.finish(context);
    let types = source.zip(schemas).map(|(source, schemas)| EventTypes {
        source,
        schemas,
        payload,
        accept_unknown,
    });
    Some(Validation {
        folder: folder?,
        envelope,
        types,
        formats,
    })
}

fn type_source(field: &Field<'_>, context: &mut Context<'_>) -> Option<TypeSource> {
    if field.is_absent() {
        return None;
    }
    let text = field.text(context)?;
    match text.split_once(':') {
        Some(("header", name)) if !name.is_empty() => Some(TypeSource::Header(name.to_owned())),
        Some(("json", pointer)) => match json_pointer(pointer) {
            Ok(_) => Some(TypeSource::Json(pointer.to_owned())),
            Err(message) => {
                field.problem(context, message);
                None
            }
        },
        _ if text == "cloudevents" => Some(TypeSource::CloudEvents),
        _ => {
            let message = format!(
                "`{text}` is no place of a type: write `header:NAME`, `json:/pointer` or `cloudevents`"
            );
            field.problem(context, message);
            None
        }
    }
}

fn type_schemas(field: &Field<'_>, context: &mut Context<'_>) -> Option<TypeSchemas> {
    if !matches!(field.node.map(|node| &node.value), Some(Value::Map(_))) {
        return inside(field, context).map(TypeSchemas::Folder);
    }
    let mut files = BTreeMap::new();
    for (event_type, file) in field.entries(context) {
        if let Some(file) = schema_file(&file, context) {
            files.insert(event_type.to_owned(), file);
        }
    }
    Some(TypeSchemas::Files(files))
}

/// The name of a schema's file.
fn schema_file(field: &Field<'_>, context: &mut Context<'_>) -> Option<String> {
    let path = inside(field, context)?;
    if path.ends_with(".json") {
        return Some(path);
    }
    field.problem(
        context,
        format!("`{path}` is not the name of a schema: write `{path}.json`"),
    );
    None
}

/// A path below the folder of the schemas, as their names are written: parts with `/` between them.
fn inside(field: &Field<'_>, context: &mut Context<'_>) -> Option<String> {
    if field.is_absent() {
        return None;
    }
    let text = field.name(context)?;
    let path = text.trim_end_matches('/');
    let path = path.strip_prefix("./").unwrap_or(path);
    if path == "." {
        return Some(String::new());
    }
    if path
        .split('/')
        .any(|part| part.is_empty() || part.starts_with('.'))
    {
        let message = format!(
            "`{text}` does not lie in `folder`: write its path from there, such as `types/order.json`; hidden files \
             are not looked at"
        );
        field.problem(context, message);
        return None;
    }
    Some(path.to_owned())
}

fn pointer(field: &Field<'_>, context: &mut Context<'_>) -> Option<String> {
    let text = field.text(context)?;
    if text.is_empty() {
        return Some(String::new());
    }
    match json_pointer(text) {
        Ok(_) => Some(text.to_owned()),
        Err(message) => {
            field.problem(context, message.replace("json:", ""));
            None
        }
    }
}
