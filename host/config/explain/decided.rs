//! What the readers decided where nothing is written and no fixed default holds.
//!
//! It must not know the document.

use std::path::Path;

use crate::config::{Config, units};

/// The value of a setting; none where it is not known before the host runs.
pub(super) fn value(config: &Config, path: &[&str]) -> Option<String> {
    let folder = |path: &Path| path.display().to_string();
    match path {
        ["compile_cache"] => Some(
            config
                .compile_cache
                .as_deref()
                .map_or("off".to_owned(), folder),
        ),
        ["registry", "cache"] => config.registry.cache.as_deref().map(folder),
        ["registry", "credentials"] => config.registry.credentials.as_deref().map(folder),
        ["groups", id, rest @ ..] => of_group(config, id, rest),
        ["ingest", rest @ ..] => of_ingest(config, rest),
        _ => None,
    }
}

fn of_group(config: &Config, id: &str, path: &[&str]) -> Option<String> {
    let group = config.groups.iter().find(|group| group.id == id)?;
    match path {
        ["concurrency"] => Some(group.concurrency.to_string()),
        ["store"] => Some(group.store.display().to_string()),
        ["dead_letter", "topic"] => Some(group.dead_letter.topic.clone()),
        ["retry", "topic"] => group.retry.topic_name.clone(),
        _ => None,
    }
}

fn of_ingest(config: &Config, path: &[&str]) -> Option<String> {
    let size = |bytes: usize| units::show_bytes(bytes as u64);
    let (grpc, http) = (config.ingest.grpc.as_ref(), config.ingest.http.as_ref());
    let producer = &config.ingest.producer;
    match path {
        ["grpc", "event_max"] => grpc.map(|grpc| size(grpc.event_max_bytes)),
        ["http", "event_max"] => http.map(|http| size(http.event_max_bytes)),
        ["http", "request_max"] => http.map(|http| size(http.request_max_bytes)),
        ["producer", "idempotence"] => Some(producer.idempotence.to_string()),
        ["producer", "batch", "size"] => Some(units::show_bytes(u64::from(producer.batch_bytes))),
        _ => None,
    }
}
