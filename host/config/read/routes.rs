//! The key `routes` of a group: topics and patterns of topics, each with its plugin and what is done before that is
//! called.

use super::field::{Field, is_topic, not_a_topic};
use super::groups::Taken;
use super::plugins::Known;
use super::section::{Context, suggest};
use super::{schema_registry, validation};
use crate::config::routes::undecided;
use crate::config::tree::Value;
use crate::config::{PatternRoute, Route, Routes, TopicPattern};

/// Routes by the name of a topic, and those by a pattern.
pub(super) fn read(
    field: &Field<'_>,
    id: &str,
    known: &Known,
    taken: &mut Taken,
    context: &mut Context<'_>,
) -> (Routes, Vec<PatternRoute>) {
    if field
        .node
        .is_some_and(|node| node.value == Value::Map(Vec::new()))
    {
        field.problem(context, "there is no route: write `topic: plugin`");
    }
    let (mut routes, mut patterns) = (Routes::new(), Vec::new());
    for (topic, value) in field.entries(context) {
        let pattern = TopicPattern::is_one(topic).then(|| TopicPattern::parse(topic));
        match &pattern {
            Some(Err(wrong)) => context.problem(&value.place, wrong.as_str()),
            None if !is_topic(topic) => context.problem(&value.place, not_a_topic(topic)),
            _ => {}
        }
        let Some((route, value)) = route(value, known, context) else {
            continue;
        };
        check_plugin(&value, &route.plugin, (id, known, taken), context);
        match pattern {
            Some(Ok(pattern)) => patterns.push(PatternRoute { pattern, route }),
            Some(Err(_)) => {}
            None => {
                routes.insert(topic.to_owned(), route);
            }
        }
    }
    if let Some((one, other, name)) = undecided(&patterns) {
        let (one, other) = (one.pattern.text(), other.pattern.text());
        let message = format!(
            "`{one}` and `{other}` both match `{name}`, and neither is the narrower one: change one of them so that \
             each topic is matched by one, or lead both to the same plugin"
        );
        field.problem(context, message);
    }
    (routes, patterns)
}

fn check_plugin(
    field: &Field<'_>,
    plugin: &str,
    (id, known, taken): (&str, &Known, &mut Taken),
    context: &mut Context<'_>,
) {
    if !known.names.contains(plugin) {
        let advice = suggest(plugin, known.names.iter().map(String::as_str)).map_or_else(
            || "write it under `plugins`".to_owned(),
            |known| format!("did you mean `{known}`?"),
        );
        field.problem(context, format!("there is no plugin `{plugin}`: {advice}"));
    }
    if known.journalling.contains(plugin) {
        let owner = taken
            .journalling
            .entry(plugin.to_owned())
            .or_insert_with(|| id.to_owned());
        if owner != id {
            let message = format!(
                "plugin `{plugin}` has a journal, and group `{owner}` uses it: write it twice under \
                 `plugins`, each with its own journal"
            );
            field.problem(context, message);
        }
    }
}

/// One route: the name of a plugin, or a section that has it as `plugin`. Comes with the field that names the plugin.
fn route<'t>(
    field: Field<'t>,
    known: &Known,
    context: &mut Context<'_>,
) -> Option<(Route, Field<'t>)> {
    if !matches!(field.node.map(|node| &node.value), Some(Value::Map(_))) {
        let route = Route::to(field.name(context)?);
        return Some((route, field));
    }
    let mut section = field.section(context)?;
    let plugin = section.require("plugin", "analytics", context);
    let validate = section.take("validate");
    let validate = validation::reference(&validate, &known.rules, context);
    let decode = schema_registry::decode(&section.take("decode"), known.schema_registry, context);
    section.finish(context);
    let route = Route {
        decode,
        validate,
        ..Route::to(plugin.name(context)?)
    };
    Some((route, plugin))
}
