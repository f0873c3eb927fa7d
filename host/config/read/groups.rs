//! The section `groups`, and what groups must not share.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::field::{Field, is_topic, not_a_topic};
use super::plugins::Known;
use super::section::{Context, suggest};
use super::{dedup, retry};
use crate::config::tree::{Entry, Value};
use crate::config::{Group, Ordering, StartFrom, places};

const COMMIT_INTERVAL_DEFAULT: Duration = Duration::from_millis(250);

/// What earlier groups have taken.
#[derive(Default)]
struct Taken {
    ids: BTreeSet<String>,
    /// Folder to the group that has it.
    stores: BTreeMap<PathBuf, String>,
    /// Journalling plugin to the group that has it.
    journalling: BTreeMap<String, String>,
}

pub(super) fn read(field: &Field<'_>, known: &Known, context: &mut Context<'_>) -> Vec<Group> {
    let items = field.items(context);
    if items.is_empty()
        && field
            .node
            .is_some_and(|node| node.value == Value::List(Vec::new()))
    {
        context.problem(
            &field.place,
            "`groups` is empty: write a group below it, or remove it",
        );
    }
    let mut taken = Taken::default();
    items
        .into_iter()
        .filter_map(|item| one(item, known, &mut taken, context))
        .collect()
}

fn one(
    mut field: Field<'_>,
    known: &Known,
    taken: &mut Taken,
    context: &mut Context<'_>,
) -> Option<Group> {
    // Messages and `--set` name a group by its id rather than by its position.
    if let Some(id) = written_id(&field) {
        field.path = format!("groups.{id}");
    }
    let mut section = field.section(context)?;
    let id_field = section.require("id", "orders", context);
    let id = id_field.name(context).unwrap_or_default().to_owned();
    if !id.is_empty() && !taken.ids.insert(id.clone()) {
        id_field.problem(
            context,
            format!("another group has the id `{id}`: give each its own"),
        );
    }
    let routes_field = section.require("routes", "{ user-events: analytics }", context);
    let routes = routes(&routes_field, &id, known, taken, context);
    let ordering_field = section.take("ordering");
    let ordering = ordering_field.choice(
        context,
        Ordering::Key,
        &[
            ("key", Ordering::Key),
            ("partition", Ordering::Partition),
            ("unordered", Ordering::Unordered),
        ],
    );
    if ordering == Ordering::Unordered
        && let Some(plugin) = routes
            .values()
            .find(|plugin| known.stateful.contains(*plugin))
    {
        let message = format!(
            "plugin `{plugin}` is granted `state`, which needs an order: write `key` or `partition`"
        );
        ordering_field.problem(context, message);
    }
    let group = Group {
        concurrency: section.take("concurrency").number(
            context,
            places::default_concurrency(),
            1..=256,
        ),
        dedup: dedup::read(&section.take("dedup"), context),
        retry: retry::read(&section.take("retry"), context),
        dead_letter_topic: dead_letter(&section.take("dead_letter"), &id_field, &routes, context),
        store: store(&section.take("store"), &id_field, taken, context),
        commit_interval: section.take("commit_interval").duration(
            context,
            COMMIT_INTERVAL_DEFAULT,
            Duration::from_millis(10)..=Duration::from_mins(1),
        ),
        start_from: section.take("start_from").choice(
            context,
            StartFrom::Earliest,
            &[
                ("earliest", StartFrom::Earliest),
                ("latest", StartFrom::Latest),
            ],
        ),
        id,
        routes,
        ordering,
    };
    check_delivery(&section.take("delivery"), context);
    section.finish(context);
    Some(group)
}

fn written_id<'t>(field: &Field<'t>) -> Option<&'t str> {
    let Value::Map(entries) = &field.node?.value else {
        return None;
    };
    entries
        .iter()
        .find_map(|Entry { key, value, .. }| match &value.value {
            Value::Scalar(id) if key == "id" && !id.text.trim().is_empty() => {
                Some(id.text.as_str())
            }
            _ => None,
        })
}

fn routes(
    field: &Field<'_>,
    id: &str,
    known: &Known,
    taken: &mut Taken,
    context: &mut Context<'_>,
) -> BTreeMap<String, String> {
    if field
        .node
        .is_some_and(|node| node.value == Value::Map(Vec::new()))
    {
        field.problem(context, "there is no route: write `topic: plugin`");
    }
    let mut routes = BTreeMap::new();
    for (topic, value) in field.entries(context) {
        if !is_topic(topic) {
            context.problem(&value.place, not_a_topic(topic));
        }
        let Some(plugin) = value.name(context) else {
            continue;
        };
        if !known.names.contains(plugin) {
            let advice = suggest(plugin, known.names.iter().map(String::as_str)).map_or_else(
                || "write it under `plugins`".to_owned(),
                |known| format!("did you mean `{known}`?"),
            );
            value.problem(context, format!("there is no plugin `{plugin}`: {advice}"));
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
                value.problem(context, message);
            }
        }
        routes.insert(topic.to_owned(), plugin.to_owned());
    }
    routes
}

fn dead_letter(
    field: &Field<'_>,
    id_field: &Field<'_>,
    routes: &BTreeMap<String, String>,
    context: &mut Context<'_>,
) -> String {
    let mut place = id_field.value_place().clone();
    let mut topic = None;
    if let Some(mut section) = field.section(context) {
        let topic_field = section.take("topic");
        if !topic_field.is_absent() {
            place = topic_field.value_place().clone();
            // What is wrong with it has been said; the default would be wrong in another way.
            topic = Some(topic_field.topic(context).unwrap_or_default());
        }
        section.finish(context);
    }
    let topic = topic.unwrap_or_else(|| default_dead_letter(id_field, context));
    if routes.contains_key(&topic) {
        let message = format!(
            "the group consumes `{topic}`, where its own dead letters go, so that they would come back \
             for ever: set another `dead_letter.topic`"
        );
        context.problem(&place, message);
    }
    topic
}

fn default_dead_letter(id_field: &Field<'_>, context: &mut Context<'_>) -> String {
    // A missing id has been reported already.
    let Some(Value::Scalar(id)) = id_field.node.map(|node| &node.value) else {
        return String::new();
    };
    let topic = format!("{}.dlq", id.text);
    if !id.text.trim().is_empty() && !is_topic(&topic) {
        let message = format!("`{topic}` cannot be the name of a topic: set `dead_letter.topic`");
        id_field.problem(context, message);
    }
    topic
}

fn store(
    field: &Field<'_>,
    id_field: &Field<'_>,
    taken: &mut Taken,
    context: &mut Context<'_>,
) -> PathBuf {
    let id = match id_field.node.map(|node| &node.value) {
        Some(Value::Scalar(id)) if !id.text.trim().is_empty() => id.text.as_str(),
        _ => "",
    };
    let folder = if !field.is_absent() {
        field.file_path(context)
    } else if id.is_empty() {
        None
    } else {
        match places::default_store(context.env, id) {
            Ok(folder) => Some(folder),
            Err(error) => {
                id_field.problem(context, error);
                None
            }
        }
    };
    let Some(folder) = folder else {
        return PathBuf::new();
    };
    match taken
        .stores
        .insert(places::comparable(&folder), id.to_owned())
    {
        // Groups of one id share the default store, and that has been reported.
        Some(other) if other != id => {
            field.problem(
                context,
                format!("group `{other}` has the same folder: give each its own"),
            );
        }
        _ => {}
    }
    folder
}

fn check_delivery(field: &Field<'_>, context: &mut Context<'_>) {
    let choices = [("at-least-once", false), ("transactional", true)];
    if field.choice(context, false, &choices) {
        let message =
            "transactional delivery is not built: write `at-least-once`, or remove the key";
        field.problem(context, message);
    }
}
