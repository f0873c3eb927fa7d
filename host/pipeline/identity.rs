//! The id of an event, for deduplication: found in the record, hashed together with its order group.

use std::borrow::Cow;

use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

use super::batch::EventView;
use crate::cloudevents::{self, Form};
use crate::config::IdSource;
use crate::delivery::dead_letter::REDRIVES;
use crate::delivery::dedup::EventId;
use crate::delivery::json_pointer;
use crate::delivery::lanes::OrderGroup;

/// The id of an event; none when it has none, and then it is never a duplicate. Ids are scoped by their
/// order group, because that is what shares a lane.
pub(crate) fn id_of(
    source: &IdSource,
    event: &EventView<'_>,
    group: OrderGroup,
) -> Option<EventId> {
    let bytes = match source {
        IdSource::Header(name) => Cow::Borrowed(event.header(name.as_bytes())?),
        IdSource::Json(path) => json_pointer::scalar_at(event.value()?, path)?,
        IdSource::CloudEvents => {
            let (id, source) = if is_structured(event) {
                let value = event.value()?;
                (
                    json_pointer::scalar_at(value, &["id"])?,
                    json_pointer::scalar_at(value, &["source"])?,
                )
            } else {
                (
                    Cow::Borrowed(event.header(b"ce_id")?),
                    Cow::Borrowed(event.header(b"ce_source")?),
                )
            };
            // Unique only together; a zero byte cannot be in either.
            Cow::Owned([&*id, &[0], &*source].concat())
        }
        IdSource::Key => Cow::Borrowed(event.key()?),
        IdSource::ValueHash => Cow::Borrowed(event.value()?),
    };
    Some(EventId(xxh3_128_with_seed(&bytes, seed_of(event, group))))
}

/// An event that was put back after it was given up is no repeat of itself: how often that happened counts as a part of
/// its id.
fn seed_of(event: &EventView<'_>, group: OrderGroup) -> u64 {
    match event.header(REDRIVES.as_bytes()) {
        Some(redrives) => xxh3_64_with_seed(redrives, group.0),
        None => group.0,
    }
}

fn is_structured(event: &EventView<'_>) -> bool {
    let content_type = event.header(cloudevents::CONTENT_TYPE.as_bytes());
    content_type.and_then(cloudevents::form) == Some(Form::Structured)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::delivery::offsets::{Applied, Offset};
    use crate::pipeline::assignment::Assignment;
    use crate::pipeline::batch::{Batch, EventKind, Place, pack_header};

    fn id(headers: &[(&str, &str)], value: &str) -> Option<EventId> {
        let topic = ("t".into(), 0);
        let to = Assignment::new(1, topic, 0, 0, Offset(0), Applied::default());
        let place = Place {
            topic_index: 0,
            partition: 0,
            offset: Offset(0),
            timestamp_ms: None,
            attempt: 1,
        };
        let meta = (EventKind::New, 0, Offset(0), OrderGroup(7));
        let mut batch = Batch::new(b"table");
        batch.push(
            &Arc::new(to),
            meta,
            place,
            (None, Some(value.as_bytes())),
            |bytes| {
                for (name, value) in headers {
                    pack_header(bytes, name.as_bytes(), Some(value.as_bytes()));
                }
            },
        );
        id_of(&IdSource::CloudEvents, &batch.view(0), OrderGroup(7))
    }

    #[test]
    fn a_cloudevent_has_the_same_id_in_either_mode() {
        let binary = id(&[("ce_id", "1"), ("ce_source", "/s")], "");
        assert!(binary.is_some());
        let event = r#"{"source":"\/s","data":{"id":"2"},"id":"1"}"#;
        let structured = [(
            "content-type",
            "Application/CloudEvents+json; charset=UTF-8",
        )];
        assert_eq!(id(&structured, event), binary);
        assert_eq!(id(&[], event), None, "nothing says that it is one");
        assert_eq!(id(&structured, "{}"), None);
        assert_ne!(id(&[("ce_id", "1"), ("ce_source", "/other")], ""), binary);
    }

    #[test]
    fn an_event_that_was_put_back_is_no_repeat_of_itself() {
        let after = |redrives: &[(&str, &str)]| {
            let own = [("ce_id", "1"), ("ce_source", "/s")];
            id(&[&own[..], redrives].concat(), "")
        };
        let once = after(&[("millrace.dlq.redrives", "1")]);
        assert!(once.is_some());
        assert_ne!(once, after(&[]));
        assert_ne!(once, after(&[("millrace.dlq.redrives", "2")]));
        assert_eq!(once, after(&[("millrace.dlq.redrives", "1")]));
    }
}
