//! The section `dedup` of a group.

use std::time::Duration;

use super::field::Field;
use super::section::Context;
use crate::config::{Dedup, IdSource};

const DAY: Duration = Duration::from_hours(24);

pub(super) fn read(field: &Field<'_>, context: &mut Context<'_>) -> Option<Dedup> {
    let mut section = field.section(context)?;
    let id_field = section.require("id", "\"json:/id\"", context);
    let id = id_field
        .text(context)
        .and_then(|text| match id_source(text) {
            Ok(source) => Some(source),
            Err(message) => {
                id_field.problem(context, message);
                None
            }
        });
    let window = section
        .take("window")
        .duration(context, DAY, Duration::from_secs(1)..=365 * DAY);
    // 16 bytes an id, so that the limit keeps a partition below half a gigabyte.
    let max_events = section
        .take("max_events")
        .number(context, 100_000, 1..=10_000_000);
    let rebuild_timeout = section.take("rebuild_timeout").duration(
        context,
        Duration::from_mins(1),
        Duration::from_secs(1)..=Duration::from_mins(10),
    );
    section.finish(context);
    Some(Dedup {
        id: id?,
        window,
        max_events,
        rebuild_timeout,
    })
}

fn id_source(text: &str) -> Result<IdSource, String> {
    match text.split_once(':') {
        Some(("header", "")) => Err("`header:` names no header: write `header:NAME`".to_owned()),
        Some(("header", name)) => Ok(IdSource::Header(name.to_owned())),
        Some(("json", pointer)) => json_pointer(pointer).map(IdSource::Json),
        _ => match text {
            "cloudevents" => Ok(IdSource::CloudEvents),
            "key" => Ok(IdSource::Key),
            "value-hash" => Ok(IdSource::ValueHash),
            _ => Err(format!(
                "`{text}` is no source of ids: write `header:NAME`, `json:/pointer`, `cloudevents`, \
                 `key` or `value-hash`"
            )),
        },
    }
}

/// Splits a JSON pointer at its slashes and unescapes its parts (RFC 6901).
pub(super) fn json_pointer(pointer: &str) -> Result<Vec<String>, String> {
    let Some(parts) = pointer.strip_prefix('/') else {
        return Err(if pointer.is_empty() {
            "`json:` points at the whole value: write `json:/id`, or `value-hash`".to_owned()
        } else {
            format!("`{pointer}` is not a JSON pointer: write `json:/{pointer}`")
        });
    };
    parts
        .split('/')
        .map(|part| {
            let bad = part.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1']));
            if bad {
                return Err(format!(
                    "`{pointer}` is not a JSON pointer: write `~0` for `~` and `~1` for `/` in a name"
                ));
            }
            Ok(part.replace("~1", "/").replace("~0", "~"))
        })
        .collect()
}
