//! The sections of a scenario that say what a host's configuration says: settings of a group, and of a plugin. They
//! are read by the very code that reads that configuration. It must not know what is rehearsed.

use std::path::Path;
use std::time::Duration;

use super::field::Field;
use super::plugins::{self, Component, Known};
use super::section::{Context, Section};
use super::{file_text, groups};
use crate::config::finding::{ConfigError, Findings, Place};
use crate::config::places::Environment;
use crate::config::tree::{self, Entry, Node, Scalar, Value};
use crate::config::{Group, Kafka, Plugin};

/// Keys of a group that a scenario has no use for, and why.
const NOT_HERE: [(&str, &str); 3] = [
    (
        "routes",
        "events come from the topics of the plugin's manifest",
    ),
    ("store", "a scenario begins with a store of its own"),
    ("delivery", "there is only one way yet"),
];

/// The documents of a file of scenarios, and what collects its problems.
///
/// # Errors
/// It cannot be read, or is no YAML.
pub(crate) fn documents<'a>(
    path: &'a Path,
    env: &'a Environment,
) -> Result<(Vec<Node>, Context<'a>), ConfigError> {
    let name = path.display().to_string();
    let text = file_text(path, &name)?;
    let mut findings = Findings::new(&name);
    let documents = tree::parse_all(&text, &mut findings).map_err(|(place, message)| {
        let mut alone = Findings::new(&name);
        alone.add(&place, message);
        alone.into_error()
    })?;
    let context = Context {
        findings,
        base: path.parent().unwrap_or(Path::new("")),
        env,
    };
    Ok((documents, context))
}

/// A group that reads these topics with this plugin, with what the section says of it. One lane and waits without
/// chance, where it does not say otherwise, so that a scenario runs the same everywhere.
pub(crate) fn group(
    field: &Field<'_>,
    (name, topics): (&str, &[String]),
    plugin: &Plugin,
    context: &mut Context<'_>,
) -> Option<Group> {
    let place = field.value_place().clone();
    let mut entries = match field.node.map(|node| &node.value) {
        Some(Value::Map(entries)) => entries.clone(),
        None => Vec::new(),
        Some(_) => {
            field.section(context);
            return None;
        }
    };
    for (key, why) in NOT_HERE {
        if let Some(entry) = entries.iter().find(|entry| entry.key == key) {
            let message = format!("`group.{key}` has no place in a scenario: {why}");
            context.problem(&entry.key_place, message);
            return None;
        }
    }
    let word = |text: &str| node(&place, Value::Scalar(scalar(text)));
    let routes = topics.iter().map(|topic| entry(topic, word(name)));
    let routes = node(&place, Value::Map(routes.collect()));
    give(&mut entries, "id", word(name));
    give(&mut entries, "routes", routes);
    give(&mut entries, "store", word("store"));
    give(&mut entries, "concurrency", word("1"));
    without_chance(&mut entries, &place);
    let section = node(&place, Value::Map(entries));
    let read = Field {
        path: "group".to_owned(),
        place: field.place.clone(),
        node: Some(&section),
    };
    let mut known = Known::default();
    known.names.insert(name.to_owned());
    if plugin.grants.state {
        known.stateful.insert(name.to_owned());
    }
    groups::alone(read, &known, context)
}

/// The plugin of a manifest, with what the section says in its place. Settings are added one by one.
pub(crate) fn plugin(
    field: &Field<'_>,
    manifest: &Plugin,
    name: &str,
    context: &mut Context<'_>,
) -> Option<Plugin> {
    if field.is_absent() {
        return Some(manifest.clone());
    }
    let node = field.node?;
    let mut section = node.clone();
    let Value::Map(entries) = &mut section.value else {
        field.section(context);
        return None;
    };
    let said = |entries: &[Entry], key: &str| entries.iter().any(|entry| entry.key == key);
    if manifest.journal.is_some() && said(entries, "grants") && grants_journal(entries) {
        let file = entry(
            "path",
            self::node(&node.place, Value::Scalar(scalar("journal"))),
        );
        give(
            entries,
            "journal",
            self::node(&node.place, Value::Map(vec![file])),
        );
    }
    let entries = entries.clone();
    let component = Component::Built(manifest.path.clone());
    let read = Field {
        path: field.path.clone(),
        place: field.place.clone(),
        node: Some(&section),
    };
    let (own, _) = plugins::one(
        &read,
        component,
        &mut plugins::Others::default(),
        name,
        context,
    )?;
    let mut plugin = manifest.clone();
    for Entry { key, .. } in &entries {
        match key.as_str() {
            "grants" => plugin.grants = own.grants.clone(),
            "tick" => plugin.tick = own.tick,
            "config" => {
                plugin.settings.extend(own.settings.clone());
                plugin.secret_parts.extend(own.secret_parts.clone());
            }
            "journal" => plugin.journal = own.journal.clone(),
            "state" => plugin.state_quota_bytes = own.state_quota_bytes,
            "limits" => plugin.limits = own.limits.clone(),
            "recycle" => plugin.recycle = own.recycle,
            _ => {}
        }
    }
    if !plugin.grants.journal {
        plugin.journal = None;
    }
    Some(plugin)
}

/// A cluster that nobody reaches.
pub(crate) fn kafka() -> Kafka {
    Kafka::at("")
}

/// How long giving up a partition may take.
pub(crate) const DRAIN_TIMEOUT: Duration = super::DRAIN_TIMEOUT_DEFAULT;

fn grants_journal(entries: &[Entry]) -> bool {
    let grants = entries.iter().find(|entry| entry.key == "grants");
    let Some(Value::List(words)) = grants.map(|entry| &entry.value.value) else {
        return false;
    };
    let is_journal =
        |word: &Node| matches!(&word.value, Value::Scalar(word) if word.text == "journal");
    words.iter().any(is_journal)
}

/// `retry.backoff.jitter: 0`, where it is not said.
fn without_chance(entries: &mut Vec<Entry>, place: &Place) {
    let nothing = || node(place, Value::Map(Vec::new()));
    give(entries, "retry", nothing());
    let retry = entries.iter_mut().find(|entry| entry.key == "retry");
    let Some(Value::Map(retry)) = retry.map(|entry| &mut entry.value.value) else {
        return;
    };
    give(retry, "backoff", nothing());
    let backoff = retry.iter_mut().find(|entry| entry.key == "backoff");
    if let Some(Value::Map(backoff)) = backoff.map(|entry| &mut entry.value.value) {
        give(backoff, "jitter", node(place, Value::Scalar(scalar("0"))));
    }
}

/// Adds a key that is not there.
fn give(entries: &mut Vec<Entry>, key: &str, value: Node) {
    if !entries.iter().any(|entry| entry.key == key) {
        entries.push(entry(key, value));
    }
}

fn entry(key: &str, value: Node) -> Entry {
    Entry {
        key: key.to_owned(),
        key_place: value.place.clone(),
        value,
    }
}

fn node(place: &Place, value: Value) -> Node {
    Node {
        place: place.clone(),
        value,
    }
}

fn scalar(text: &str) -> Scalar {
    Scalar {
        text: text.to_owned(),
        quoted: false,
        secrets: Vec::new(),
    }
}

/// The whole of one document.
pub(crate) fn root<'t>(node: &'t Node, context: &mut Context<'_>) -> Option<Section<'t>> {
    Section::root(node, context)
}
