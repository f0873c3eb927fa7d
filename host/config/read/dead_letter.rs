//! The section `dead_letter` of a group.

use std::time::Duration;

use super::field::{Field, is_topic};
use super::section::Context;
use crate::config::tree::Value;
use crate::config::{DeadLetter, Dialect, Routes};

const DIALECTS: [(&str, Dialect); 4] = [
    ("millrace", Dialect::Millrace),
    ("spring", Dialect::Spring),
    ("connect", Dialect::Connect),
    ("streams", Dialect::Streams),
];

pub(super) fn read(
    field: &Field<'_>,
    id_field: &Field<'_>,
    routes: &Routes,
    context: &mut Context<'_>,
) -> DeadLetter {
    let mut place = id_field.value_place().clone();
    let mut topic = None;
    let (mut dialect, mut partitions, mut retention) = (Dialect::Millrace, None, None);
    if let Some(mut section) = field.section(context) {
        let topic_field = section.take("topic");
        if !topic_field.is_absent() {
            place = topic_field.value_place().clone();
            // What is wrong with it has been said; the default would be wrong in another way.
            topic = Some(topic_field.topic(context).unwrap_or_default());
        }
        dialect = section.take("headers").choice(context, dialect, &DIALECTS);
        let partitions_field = section.take("partitions");
        if !partitions_field.is_absent() {
            partitions = Some(partitions_field.number(context, 1, 1..=10_000));
        }
        let (shortest, longest) = (Duration::from_mins(1), Duration::from_hours(24 * 3650));
        retention = section
            .take("retention")
            .duration_or(context, "forever", shortest..=longest);
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
    DeadLetter {
        topic,
        dialect,
        partitions,
        retention,
    }
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
