//! How an answer is told to a publisher: as a status of one event, or as the status of a call.
//!
//! It must not know how events are sent.

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::ingest::proto::{EventStatus, StatusCode};
use crate::ingest::refusal::{self, Answer, Refusal};

/// Trailing metadata of a refused call: the name of the status code, because one gRPC code stands for
/// several of them.
pub(super) const STATUS_METADATA: &str = "millrace-status";

/// Trailing metadata that clients with a retry policy wait by; `google.rpc.RetryInfo` says the same to the others.
const PUSHBACK_METADATA: &str = "grpc-retry-pushback-ms";

/// The code that stands for a status in answers to events.
fn code(status: refusal::Status) -> StatusCode {
    match status {
        refusal::Status::Ok => StatusCode::Ok,
        refusal::Status::Invalid => StatusCode::Invalid,
        refusal::Status::TooLarge => StatusCode::TooLarge,
        refusal::Status::UnknownTopic => StatusCode::UnknownTopic,
        refusal::Status::Denied => StatusCode::Denied,
        refusal::Status::Overloaded => StatusCode::Overloaded,
        refusal::Status::Unavailable => StatusCode::Unavailable,
        refusal::Status::Unauthenticated => StatusCode::Unauthenticated,
        refusal::Status::DeadlineExceeded => StatusCode::DeadlineExceeded,
    }
}

/// What became of one event.
pub(super) fn of_event(topic: String, answer: &Answer) -> EventStatus {
    let code = code(refusal::Status::of(answer)).into();
    match answer {
        Ok(delivered) => EventStatus {
            code,
            topic,
            partition: Some(delivered.partition),
            // Where nobody acknowledges, nobody tells it.
            offset: Some(delivered.offset).filter(|offset| *offset >= 0),
            ..EventStatus::default()
        },
        Err(refusal) => EventStatus {
            code,
            message: refusal.to_string(),
            topic,
            retry_after_ms: refusal
                .retry_after()
                .map(|wait| u32::try_from(wait.as_millis()).unwrap_or(u32::MAX)),
            ..EventStatus::default()
        },
    }
}

/// A refusal as the status of a whole call.
pub(super) fn of_call(refusal: &Refusal) -> Status {
    let status = refusal.status();
    let grpc = match status {
        refusal::Status::Ok => Code::Ok,
        refusal::Status::Invalid => Code::InvalidArgument,
        refusal::Status::UnknownTopic => Code::NotFound,
        refusal::Status::TooLarge | refusal::Status::Overloaded => Code::ResourceExhausted,
        refusal::Status::Denied => Code::PermissionDenied,
        refusal::Status::Unavailable => Code::Unavailable,
        refusal::Status::Unauthenticated => Code::Unauthenticated,
        refusal::Status::DeadlineExceeded => Code::DeadlineExceeded,
    };
    let mut metadata = MetadataMap::new();
    metadata.insert(STATUS_METADATA, MetadataValue::from_static(status.name()));
    let Some(wait) = refusal.retry_after() else {
        return Status::with_metadata(grpc, refusal.to_string(), metadata);
    };
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    metadata.insert(PUSHBACK_METADATA, MetadataValue::from(wait_ms));
    let details = ErrorDetails::with_retry_info(Some(wait));
    Status::with_error_details_and_metadata(grpc, refusal.to_string(), details, metadata)
}

/// A message that was larger than the limit, which the library tells as `OUT_OF_RANGE`.
pub(super) fn too_large(limit_bytes: usize) -> Status {
    let message = format!(
        "the message is larger than the {limit_bytes} bytes that are accepted; send fewer events at once"
    );
    let mut status = Status::resource_exhausted(message);
    let name = refusal::Status::TooLarge.name();
    let metadata = status.metadata_mut();
    metadata.insert(STATUS_METADATA, MetadataValue::from_static(name));
    status
}
