//! The nested records of the world `handler` and of `on-tick`, and the way to the host's own types.
//!
//! It must not know stores, limits or calls.

use wasmtime::component::{ComponentType, Lift, Lower};

use super::packed::{Output, Problem, TEXT_BYTES_MAX};

#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct HeaderIn<'a> {
    pub(super) name: String,
    pub(super) value: Option<&'a [u8]>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct EventIn<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) offset: i64,
    #[component(name = "timestamp-ms")]
    pub(super) timestamp_ms: Option<i64>,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: &'a [HeaderIn<'a>],
    pub(super) attempt: u32,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct HeaderOut {
    pub(super) name: String,
    pub(super) value: Option<Vec<u8>>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct OutputOut {
    pub(super) topic: String,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) partition: Option<i32>,
    #[component(name = "timestamp-ms")]
    pub(super) timestamp_ms: Option<i64>,
    pub(super) headers: Vec<HeaderOut>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct ProblemOut {
    pub(super) code: String,
    pub(super) message: String,
    #[component(name = "after-ms")]
    pub(super) after_ms: Option<u64>,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(super) enum SuccessOut {
    #[component(name = "processed")]
    Processed(Vec<OutputOut>),
    #[component(name = "filtered")]
    Filtered,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(super) enum FailureOut {
    #[component(name = "retry")]
    Retry(ProblemOut),
    #[component(name = "reject")]
    Reject(ProblemOut),
    #[component(name = "overloaded")]
    Overloaded(ProblemOut),
}

/// An output of an event, in the host's form.
pub(super) fn output_of(event_index: u32, output: OutputOut) -> Output {
    Output {
        event_index,
        topic: output.topic,
        partition: output.partition,
        timestamp_ms: output.timestamp_ms,
        key: output.key,
        value: output.value,
        headers: output
            .headers
            .into_iter()
            .map(|h| (h.name.into_bytes(), h.value))
            .collect(),
    }
}

/// No more of a text is kept than of a packed one.
pub(super) fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

/// The kind by its number in the packed form, and the problem.
pub(super) fn problem_of(failure: FailureOut) -> (u32, Problem) {
    let (kind, problem) = match failure {
        FailureOut::Retry(problem) => (2, problem),
        FailureOut::Reject(problem) => (3, problem),
        FailureOut::Overloaded(problem) => (4, problem),
    };
    let ProblemOut {
        code,
        message,
        after_ms,
    } = problem;
    (
        kind,
        Problem {
            code: cut(code),
            message: cut(message),
            after_ms,
            frames: Vec::new(),
        },
    )
}
