//! The section `groups`, and what groups must not share.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::field::Field;
use super::plugins::Known;
use super::section::Context;
use super::{breaker, dead_letter, dedup, retry, routes};
use crate::config::tree::{Entry, Value};
use crate::config::{Group, Ordering, PatternRoute, Route, StartFrom, places};

const COMMIT_INTERVAL_DEFAULT: Duration = Duration::from_millis(250);

/// What earlier groups have taken.
#[derive(Default)]
pub(super) struct Taken {
    ids: BTreeSet<String>,
    /// Folder to the group that has it.
    stores: BTreeMap<PathBuf, String>,
    /// Journalling plugin to the group that has it.
    pub(super) journalling: BTreeMap<String, String>,
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
    let read: Vec<_> = items
        .into_iter()
        .filter_map(|item| one(item, known, &mut taken, context))
        .collect();
    for (at, (group, retry_topic)) in read.iter().enumerate() {
        if let Some(retry_topic) = retry_topic {
            let others = read.iter().enumerate();
            let others = others
                .filter(|(other, _)| *other != at)
                .map(|(_, (group, _))| group);
            check_retry_topics(group, others, retry_topic, context);
        }
    }
    read.into_iter().map(|(group, _)| group).collect()
}

/// Reads a group that is alone in its document.
pub(super) fn alone(field: Field<'_>, known: &Known, context: &mut Context<'_>) -> Option<Group> {
    let (group, retry_topic) = one(field, known, &mut Taken::default(), context)?;
    if let Some(retry_topic) = retry_topic {
        check_retry_topics(&group, std::iter::empty(), &retry_topic, context);
    }
    Some(group)
}

/// A retry topic carries the records of one source of one group, and nothing else.
fn check_retry_topics<'g>(
    group: &'g Group,
    others: impl Iterator<Item = &'g Group> + Clone,
    field: &Field<'_>,
    context: &mut Context<'_>,
) {
    for topic in group.retry.topics.values() {
        let taken_by_another = || {
            others.clone().find_map(|other| {
                let id = &other.id;
                if other.routes.contains_key(topic) {
                    Some(format!("group `{id}` consumes it"))
                } else if other.dead_letter.topic == *topic {
                    Some(format!("it takes the dead letters of group `{id}`"))
                } else if other.retry.topics.values().any(|theirs| theirs == topic) {
                    Some(format!("it is a retry topic of group `{id}`"))
                } else {
                    None
                }
            })
        };
        let taken = if group.routes.contains_key(topic) {
            Some("the group consumes it as a source".to_owned())
        } else if group.dead_letter.topic == *topic {
            Some("it takes the dead letters of the group".to_owned())
        } else {
            taken_by_another()
        };
        if let Some(taken) = taken {
            let message = format!(
                "`{topic}` cannot be a retry topic: {taken}; write a name of its own, such as \
                 `{{topic}}.{{group}}.retry`"
            );
            field.problem(context, message);
        }
    }
}

fn one<'t>(
    mut field: Field<'t>,
    known: &Known,
    taken: &mut Taken,
    context: &mut Context<'_>,
) -> Option<(Group, Option<Field<'t>>)> {
    // Messages and `--set` name a group by its id rather than by its position.
    if let Some(id) = written_id(&field).filter(|_| field.path.starts_with("groups")) {
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
    let (routes, patterns) = routes::read(&routes_field, &id, known, taken, context);
    let all = || {
        routes
            .values()
            .chain(patterns.iter().map(|by: &PatternRoute| &by.route))
    };
    let ordering = ordering(&section.take("ordering"), all(), known, context);
    let owner = retry::Owner {
        group: &id,
        routes: &routes,
        patterns: patterns.len(),
    };
    let (retry, retry_topic) = retry::read(&section.take("retry"), &owner, context);
    let group = Group {
        concurrency: section.take("concurrency").number(
            context,
            places::default_concurrency(),
            1..=256,
        ),
        dedup: dedup::read(&section.take("dedup"), context),
        retry,
        breaker: breaker::read(&section.take("breaker"), context),
        dead_letter: dead_letter::read(&section.take("dead_letter"), &id_field, &routes, context),
        store: store(&section.take("store"), &id_field, taken, context),
        commit_interval: section.take("commit_interval").duration(
            context,
            COMMIT_INTERVAL_DEFAULT,
            Duration::from_millis(10)..=Duration::from_mins(1),
        ),
        commit_map: section.take("commit_map").flag(context, true),
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
        patterns,
        ordering,
    };
    check_delivery(&section.take("delivery"), context);
    section.finish(context);
    Some((group, retry_topic))
}

fn ordering<'r>(
    field: &Field<'_>,
    mut routes: impl Iterator<Item = &'r Route>,
    known: &Known,
    context: &mut Context<'_>,
) -> Ordering {
    let ordering = field.choice(
        context,
        Ordering::Key,
        &[
            ("key", Ordering::Key),
            ("partition", Ordering::Partition),
            ("unordered", Ordering::Unordered),
        ],
    );
    if ordering == Ordering::Unordered
        && let Some(route) = routes.find(|route| known.stateful.contains(&route.plugin))
    {
        let plugin = &route.plugin;
        let message = format!(
            "plugin `{plugin}` is granted `state`, which needs an order: write `key` or `partition`"
        );
        field.problem(context, message);
    }
    ordering
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
