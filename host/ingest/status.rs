//! How an outcome is told to a publisher: as a status of one event, or as the status of a call.
//!
//! It must not know how events are sent.

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use super::proto::{EventStatus, StatusCode};
use crate::kafka::publisher::{Outcome, PublishError};

/// Trailing metadata of a refused call: the name of the status code, because one gRPC code stands for
/// several of them.
pub(super) const STATUS_METADATA: &str = "millrace-status";

/// The name of a code without its prefix, such as `TOO_LARGE`.
pub(super) fn name(code: StatusCode) -> &'static str {
    code.as_str_name().trim_start_matches("STATUS_CODE_")
}

/// The code that a refusal is told by.
pub(super) fn code(error: &PublishError) -> StatusCode {
    match error {
        PublishError::Invalid(_) => StatusCode::Invalid,
        PublishError::TooLarge(_) => StatusCode::TooLarge,
        PublishError::UnknownTopic(_) => StatusCode::UnknownTopic,
        PublishError::Denied(_) => StatusCode::Denied,
        PublishError::Overloaded => StatusCode::Overloaded,
        PublishError::Unavailable(_) => StatusCode::Unavailable,
    }
}

/// What became of one event.
pub(super) fn of_event(topic: String, outcome: &Outcome) -> EventStatus {
    match outcome {
        Ok(delivered) => EventStatus {
            code: StatusCode::Ok.into(),
            message: String::new(),
            topic,
            partition: Some(delivered.partition),
            offset: Some(delivered.offset),
        },
        Err(error) => EventStatus {
            code: code(error).into(),
            message: error.to_string(),
            topic,
            partition: None,
            offset: None,
        },
    }
}

/// A refusal as the status of a whole call.
pub(super) fn of_call(error: &PublishError) -> Status {
    let grpc = match error {
        PublishError::Invalid(_) => Code::InvalidArgument,
        PublishError::UnknownTopic(_) => Code::NotFound,
        PublishError::TooLarge(_) | PublishError::Overloaded => Code::ResourceExhausted,
        PublishError::Denied(_) => Code::PermissionDenied,
        PublishError::Unavailable(_) => Code::Unavailable,
    };
    let mut status = Status::new(grpc, error.to_string());
    let metadata = status.metadata_mut();
    metadata.insert(
        STATUS_METADATA,
        MetadataValue::from_static(name(code(error))),
    );
    status
}
