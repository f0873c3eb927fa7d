//! What every output is given on its way: what ties it to its event, and which version made it. It must not know what
//! became of the event.

use std::sync::Arc;

use super::super::batch::EventView;
use super::super::versions::{OUTPUT_HEADERS_PREFIX, Version};
use super::LaneSettings;
use super::check::{RECORD_OVERHEAD_BYTES, bytes_of};
use crate::delivery::correlation::Heritage;
use crate::delivery::dead_letter::Header;
use crate::kafka::producer::OutgoingRecord;
use crate::sandbox::Output;

/// Ties an output to the event that made it.
pub(super) fn hand_on(settings: &LaneSettings, event: EventView<'_>, output: &mut Output) {
    let topic = &settings.routing.now.topics[event.topic_index() as usize];
    let bytes = bytes_of(output) + RECORD_OVERHEAD_BYTES;
    let heritage = Heritage {
        correlation_header: &settings.correlation.header,
        make: settings.correlation.make_for_outputs,
        origin: (topic, event.partition(), event.offset()),
        room_bytes: settings.message_bytes_max.saturating_sub(bytes),
    };
    heritage.hand_on(event.each_header(), &mut output.headers);
}

pub(super) fn outgoing(mut output: Output, version: &Version) -> OutgoingRecord {
    drop_output_headers(&mut output.headers);
    OutgoingRecord {
        topic: output.topic,
        partition: output.partition,
        timestamp_ms: output.timestamp_ms,
        key: output.key,
        value: output.value,
        headers: output.headers,
        shared_headers: Some(Arc::clone(&version.output_headers)),
        span: None,
    }
}

/// Writes on an emission which version made it: what is sent again must be the same, whatever serves then.
pub(super) fn mark(output: &mut Output, version: &Version) {
    drop_output_headers(&mut output.headers);
    output
        .headers
        .extend(version.output_headers.iter().cloned());
}

/// An output says which version made it, not which made the event that its headers were copied from.
fn drop_output_headers(headers: &mut Vec<Header>) {
    headers.retain(|(name, _)| !name.starts_with(OUTPUT_HEADERS_PREFIX));
}
