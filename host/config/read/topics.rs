//! The section `topics`: topics that the host checks at its start, and makes where it may.

use std::collections::BTreeMap;
use std::time::Duration;

use super::field::{Field, is_topic, not_a_topic};
use super::section::{Context, Section};
use crate::config::TopicPlan;

const CLEANUP: [(&str, &str); 3] = [
    ("delete", "delete"),
    ("compact", "compact"),
    ("both", "compact,delete"),
];

pub(super) fn read(field: &Field<'_>, context: &mut Context<'_>) -> BTreeMap<String, TopicPlan> {
    let mut topics = BTreeMap::new();
    for (name, value) in field.entries(context) {
        if !is_topic(name) {
            context.problem(&value.place, not_a_topic(name));
            continue;
        }
        if let Some(section) = value.section(context) {
            topics.insert(name.to_owned(), plan(section, context));
        }
    }
    topics
}

fn plan(mut section: Section<'_>, context: &mut Context<'_>) -> TopicPlan {
    let counted = |field: Field<'_>, most: u16, context: &mut Context<'_>| {
        (!field.is_absent()).then(|| field.number(context, 1, 1..=most))
    };
    // As many as the command line takes, and more replicas than clusters have brokers.
    let partitions = counted(section.take("partitions"), u16::MAX, context);
    let replication = counted(section.take("replication"), 100, context);
    let mut settings = BTreeMap::new();
    let mut from_keys = Vec::new();
    let retention = section.take("retention");
    if let Some(keep) = retention_ms(&retention, context) {
        from_keys.push(("retention.ms", "retention", keep));
    }
    let retention_size = section.take("retention_size");
    if let Some(keep) = retention_bytes(&retention_size, context) {
        from_keys.push(("retention.bytes", "retention_size", keep));
    }
    let cleanup = section.take("cleanup");
    if !cleanup.is_absent() {
        let policy = cleanup.choice(context, "delete", &CLEANUP);
        from_keys.push(("cleanup.policy", "cleanup", policy.to_owned()));
    }
    let config = section.take("config");
    for (name, value) in config.entries(context) {
        if let Some((_, key, _)) = from_keys.iter().find(|(setting, ..)| *setting == name) {
            let message = format!("`{key}` says the same: keep one of the two");
            value.problem(context, message);
        }
        if let Some(text) = value.text(context) {
            settings.insert(name.to_owned(), text.to_owned());
        }
    }
    settings.extend(
        from_keys
            .into_iter()
            .map(|(setting, _, value)| (setting.to_owned(), value)),
    );
    let create = section.take("create").flag(context, true);
    section.finish(context);
    TopicPlan {
        partitions,
        replication,
        settings,
        create,
    }
}

fn retention_ms(field: &Field<'_>, context: &mut Context<'_>) -> Option<String> {
    if field.is_absent() {
        return None;
    }
    if field.says("forever") {
        return Some("-1".to_owned());
    }
    let (shortest, longest) = (Duration::from_secs(1), Duration::from_hours(24 * 36_500));
    let keep = field.duration_or(context, "forever", shortest..=longest)?;
    Some(keep.as_millis().to_string())
}

fn retention_bytes(field: &Field<'_>, context: &mut Context<'_>) -> Option<String> {
    if field.is_absent() {
        return None;
    }
    if field.says("unlimited") {
        return Some("-1".to_owned());
    }
    Some(field.bytes(context, 1 << 30, 1 << 10..=1 << 50).to_string())
}
