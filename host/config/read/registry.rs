//! The section `registry`, and paths that name a registry.

use std::path::PathBuf;

use super::field::Field;
use super::section::Context;
use crate::config::tree::Value;
use crate::config::{Origin, Registry, Remote, places};

pub(super) fn read(field: &Field<'_>, context: &mut Context<'_>) -> Registry {
    let default = places::default_registry(context.env);
    let Some(mut section) = field.section(context) else {
        return default;
    };
    let cache = section.take("cache");
    let credentials = section.take("credentials");
    let registry = Registry {
        cache: if cache.is_absent() {
            default.cache
        } else {
            cache.file_path(context)
        },
        credentials: if credentials.is_absent() {
            default.credentials
        } else {
            credentials.file_path(context)
        },
    };
    section.finish(context);
    registry
}

/// The origin that a path names; none where it is a file's. What is wrong with it has been told where it is empty.
pub(super) fn origin(field: &Field<'_>, context: &mut Context<'_>) -> Option<(PathBuf, Origin)> {
    // Anything else is told by whoever reads it as the path of a file.
    let Value::Scalar(scalar) = &field.node?.value else {
        return None;
    };
    let remote = match Remote::parse(&scalar.text)? {
        Ok(remote) => Some(remote),
        Err(message) => {
            field.problem(context, message);
            None
        }
    };
    // The file is named once it is there.
    let origin = Origin {
        remote,
        digest: None,
    };
    Some((PathBuf::new(), origin))
}
