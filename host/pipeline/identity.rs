//! The id of an event, for deduplication: found in the record, hashed together with its order group.

mod json_pointer;

use std::borrow::Cow;

use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::batch::EventView;
use crate::config::IdSource;
use crate::delivery::dedup::EventId;
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
            // Unique only together; a zero byte cannot be in either.
            let (id, source) = (event.header(b"ce_id")?, event.header(b"ce_source")?);
            Cow::Owned([id, &[0], source].concat())
        }
        IdSource::Key => Cow::Borrowed(event.key()?),
        IdSource::ValueHash => Cow::Borrowed(event.value()?),
    };
    Some(EventId(xxh3_128_with_seed(&bytes, group.0)))
}
