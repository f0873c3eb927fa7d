//! The section `correlation`.

use super::field::Field;
use super::section::Context;
use crate::config::Correlation;

/// Longer names help nobody, and each record carries them.
const HEADER_MAX_BYTES: usize = 100;

/// What the headers of a trace context are called.
const TRACE: [&str; 3] = ["traceparent", "tracestate", "baggage"];

pub(super) fn read(field: &Field<'_>, context: &mut Context<'_>) -> Correlation {
    let mut correlation = Correlation::default();
    let Some(mut section) = field.section(context) else {
        return correlation;
    };
    let header = section.take("header");
    if let Some(name) = header.node.and_then(|_| header.name(context)) {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.len() > HEADER_MAX_BYTES || !name.bytes().all(is_plain) {
            let message = format!(
                "`{name}` cannot be the name of the header: use at most {HEADER_MAX_BYTES} of letters, digits, `-`, \
                 `_` and `.`"
            );
            header.problem(context, message);
        } else if name.starts_with("millrace.") || TRACE.contains(&name) {
            header.problem(
                context,
                format!("`{name}` means something else: write another name"),
            );
        } else {
            name.clone_into(&mut correlation.header);
        }
    }
    correlation.make_at_ingest = section
        .take("make_at_ingest")
        .flag(context, correlation.make_at_ingest);
    correlation.make_for_outputs = section
        .take("make_for_outputs")
        .flag(context, correlation.make_for_outputs);
    section.finish(context);
    correlation
}
