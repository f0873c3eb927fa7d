//! The value of a dead letter as its plugin is shown it, by the rules and the schema registry that serve. It must not know
//! who looks at it.

use std::sync::Arc;
use std::time::Duration;

use crate::daemon::ready::Ready;
use crate::dead_letters::Letter;
use crate::delivery::dead_letter::redriven;
use crate::schema::confluent::SchemaRegistry;
use crate::schema::{Event, Preparation, Prepared, RecordHeaders};

/// A schema registry that is up answers in milliseconds; a person waits for this.
const PATIENCE: Duration = Duration::from_secs(3);

/// None where its route decodes nothing, or that cannot be done now.
pub(super) fn decoded(
    letter: &Letter,
    ready: &Ready,
    registry: Option<&Arc<SchemaRegistry>>,
) -> Option<Vec<u8>> {
    let account = letter.account.as_ref()?;
    let (topic, ..) = account.origin.as_ref()?;
    let mut groups = ready.config.groups.iter();
    let route = groups
        .find(|group| group.id == account.group)?
        .route_of(topic)?;
    let rules = route.validate.as_ref();
    let rules = rules.and_then(|name| ready.rules.get(name));
    let preparation = Preparation::of(route, rules, registry)?;
    let record = &letter.record;
    // As the event would be once it is put back.
    let headers = redriven(&record.headers, Some(account));
    let event = Event {
        topic,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: &RecordHeaders(&headers),
    };
    match preparation.prepare_within(&event, PATIENCE) {
        Prepared::Ready(Some(view)) => view.value.filter(|it| record.value.as_ref() != Some(it)),
        Prepared::Ready(None) | Prepared::Flawed(_) | Prepared::NotNow { .. } => None,
    }
}
