//! The names by which containers are configured everywhere: `KAFKA_BOOTSTRAP_SERVERS` and the like.
//!
//! They are put into the tree where nothing else says the same, so that one reader checks everything and
//! `explain` names them. It must not know what the values mean.

use super::finding::{Findings, Place};
use super::places::Environment;
use super::tree::{Entry, Node, Scalar, Value};

const BROKERS: &str = "KAFKA_BOOTSTRAP_SERVERS";
const GROUP: &str = "KAFKA_GROUP_ID";
const TOPICS: &str = "KAFKA_TOPICS";
const RETRIES: &str = "MAX_RETRIES";
const METRICS_PORT: &str = "METRICS_PORT";

/// What is written to the log; the command line takes it, because logging begins before the configuration is read.
pub(super) const LOG_LEVEL: &str = "LOG_LEVEL";

/// Every name that stands for a setting of the file, and the setting.
pub(super) const NAMES: [(&str, &str); 5] = [
    (BROKERS, "kafka.brokers"),
    (GROUP, "groups.ID.id"),
    (TOPICS, "groups.ID.routes"),
    (RETRIES, "groups.ID.retry.attempts"),
    (METRICS_PORT, "admin.listen"),
];

/// The most retries: one less than the most attempts.
const RETRIES_MAX: u32 = 999;

/// The value of a variable; one that is set to nothing is not set, as deployments leave variables empty.
pub(super) fn value<'e>(env: &'e Environment, name: &str) -> Option<&'e str> {
    env.get(name)
        .map(|value| value.trim())
        .filter(|value| !value.is_empty())
}

/// Fills in what the document leaves open.
pub(super) fn fill(root: &mut Node, env: &Environment, findings: &mut Findings) {
    let Value::Map(top) = &mut root.value else {
        return;
    };
    if let Some(brokers) = value(env, BROKERS)
        && let Some(kafka) = section(top, "kafka", BROKERS)
    {
        give(kafka, "brokers", text(brokers), BROKERS);
    }
    if let Some(topics) = value(env, TOPICS) {
        add_routes(top, topics, findings);
    }
    if let (Some(id), Some([group])) = (value(env, GROUP), groups(top))
        && let Value::Map(group) = &mut group.value
    {
        give(group, "id", text(id), GROUP);
    }
    if let Some(retries) = value(env, RETRIES) {
        match retries.parse::<u32>() {
            Ok(retries) if retries <= RETRIES_MAX => {
                for group in groups(top).into_iter().flatten() {
                    if let Value::Map(group) = &mut group.value
                        && let Some(retry) = section(group, "retry", RETRIES)
                    {
                        let attempts = (retries + 1).to_string();
                        give(retry, "attempts", text(&attempts), RETRIES);
                    }
                }
            }
            _ => findings.add(
                &place(RETRIES),
                format!("`{retries}` is not a number of retries: write 0 to {RETRIES_MAX}"),
            ),
        }
    }
    if let Some(port) = value(env, METRICS_PORT) {
        listen_on(top, port, findings);
    }
}

/// Topics with commas between, for the one plugin there is: those of the only group, or of a new one.
fn add_routes(top: &mut Vec<Entry>, topics: &str, findings: &mut Findings) {
    let plugins = top.iter().find(|entry| entry.key == "plugins");
    let plugins: Vec<String> = match plugins.map(|entry| &entry.value.value) {
        Some(Value::Map(plugins)) => plugins.iter().map(|entry| entry.key.clone()).collect(),
        _ => Vec::new(),
    };
    if !has(top, "groups") {
        // A host that is a gateway only.
        if plugins.is_empty() {
            return;
        }
        let group = node(Value::Map(Vec::new()), TOPICS);
        give(top, "groups", Value::List(vec![group]), TOPICS);
    }
    let open = matches!(groups(top), Some([group])
        if matches!(&group.value, Value::Map(keys) if !has(keys, "routes")));
    if !open {
        return;
    }
    let [plugin] = plugins.as_slice() else {
        let message = format!(
            "there are {} plugins, and it cannot say which of them handles the topics: write `routes` in the group",
            plugins.len()
        );
        findings.add(&place(TOPICS), message);
        return;
    };
    let mut routes = Vec::new();
    for topic in topics.split(',').map(str::trim) {
        if !topic.is_empty() {
            give(&mut routes, topic, text(plugin), TOPICS);
        }
    }
    if let Some([group]) = groups(top)
        && let Value::Map(group) = &mut group.value
    {
        give(group, "routes", Value::Map(routes), TOPICS);
    }
}

/// An address that others reach needs a token, so without one the port is this machine's alone.
fn listen_on(top: &mut Vec<Entry>, port: &str, findings: &mut Findings) {
    if !port.parse::<u16>().is_ok_and(|port| port > 0) {
        let message = format!("`{port}` is not a port: write 1 to 65535");
        return findings.add(&place(METRICS_PORT), message);
    }
    if let Some(admin) = section(top, "admin", METRICS_PORT) {
        let ip = if has(admin, "token") {
            "0.0.0.0"
        } else {
            "127.0.0.1"
        };
        give(admin, "listen", text(&format!("{ip}:{port}")), METRICS_PORT);
    }
}

fn place(name: &str) -> Place {
    Place::Override(name.to_owned())
}

fn node(value: Value, name: &str) -> Node {
    Node {
        place: place(name),
        value,
    }
}

fn text(text: &str) -> Value {
    Value::Scalar(Scalar {
        text: text.to_owned(),
        quoted: false,
        secrets: Vec::new(),
    })
}

fn has(entries: &[Entry], key: &str) -> bool {
    entries.iter().any(|entry| entry.key == key)
}

/// Adds a key that is not there.
fn give(entries: &mut Vec<Entry>, key: &str, value: Value, name: &str) {
    if !has(entries, key) {
        entries.push(Entry {
            key: key.to_owned(),
            key_place: place(name),
            value: node(value, name),
        });
    }
}

/// The keys of a section, which is made where it is not there. None where something else is written.
fn section<'n>(entries: &'n mut Vec<Entry>, key: &str, name: &str) -> Option<&'n mut Vec<Entry>> {
    give(entries, key, Value::Map(Vec::new()), name);
    let entry = entries.iter_mut().find(|entry| entry.key == key)?;
    match &mut entry.value.value {
        Value::Map(entries) => Some(entries),
        _ => None,
    }
}

fn groups(top: &mut [Entry]) -> Option<&mut [Node]> {
    let entry = top.iter_mut().find(|entry| entry.key == "groups")?;
    match &mut entry.value.value {
        Value::List(groups) => Some(groups),
        _ => None,
    }
}
