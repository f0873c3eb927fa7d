//! The section `ingest.producer`.

use std::time::Duration;

use super::dedup::json_pointer;
use super::field::Field;
use super::section::{Context, Section};
use crate::config::units::{show_bytes, show_duration};
use crate::config::{Acks, Compression, Partitioning, Producing};

/// librdkafka's own limits of a batch.
const BATCH_EVENTS_MAX: u32 = 1_000_000;
const BATCH_BYTES_MAX: u64 = 2_147_483_647;

/// Half a minute is long for a batch; it is there for archives that are written rarely.
const LINGER_MAX: Duration = Duration::from_secs(30);

pub(super) fn read(
    field: &Field<'_>,
    message_max_bytes: usize,
    context: &mut Context<'_>,
) -> Producing {
    let mut producing = Producing::default();
    producing.batch_bytes = producing
        .batch_bytes
        .min(u32::try_from(message_max_bytes).unwrap_or(u32::MAX));
    let Some(mut section) = field.section(context) else {
        return producing;
    };
    producing.acks = section.take("acks").choice(
        context,
        producing.acks,
        &[("all", Acks::All), ("1", Acks::Leader), ("0", Acks::Nobody)],
    );
    let idempotence = section.take("idempotence");
    producing.idempotence = idempotence.flag(context, producing.acks == Acks::All);
    if producing.idempotence && producing.acks != Acks::All {
        let message = format!(
            "it needs `acks: all`, and `acks` is {}: a broker that does not wait for its replicas cannot promise that \
             nothing is written twice; remove one of the two",
            producing.acks.as_str()
        );
        idempotence.problem(context, message);
    }
    batch(&mut section, &mut producing, message_max_bytes, context);
    producing.compression = section.take("compression").choice(
        context,
        producing.compression,
        &[
            ("none", Compression::None),
            ("gzip", Compression::Gzip),
            ("snappy", Compression::Snappy),
            ("lz4", Compression::Lz4),
            ("zstd", Compression::Zstd),
        ],
    );
    producing.partitioning = partitioning(&section.take("partitioning"), context);
    let timeout = section.take("delivery_timeout");
    producing.delivery_timeout = timeout.duration(
        context,
        producing.delivery_timeout,
        Duration::from_secs(1)..=Duration::from_hours(1),
    );
    if producing.linger >= producing.delivery_timeout {
        let message = format!(
            "it is {} and `batch.linger` is {}, so that every event would be given up before it is sent: raise the one \
             or lower the other",
            show_duration(producing.delivery_timeout),
            show_duration(producing.linger)
        );
        timeout.problem(context, message);
    }
    queue(&section.take("queue"), &mut producing, context);
    let statistics = section.take("statistics");
    producing.statistics = statistics.duration_or(
        context,
        "off",
        Duration::from_secs(1)..=Duration::from_hours(1),
    );
    section.finish(context);
    producing
}

fn batch(
    section: &mut Section<'_>,
    producing: &mut Producing,
    message_max_bytes: usize,
    context: &mut Context<'_>,
) {
    let field = section.take("batch");
    let Some(mut batch) = field.section(context) else {
        return;
    };
    producing.batch_events =
        batch
            .take("events")
            .number(context, producing.batch_events, 1..=BATCH_EVENTS_MAX);
    let size = batch.take("size");
    let bytes = size.bytes(
        context,
        u64::from(producing.batch_bytes),
        1024..=BATCH_BYTES_MAX,
    );
    if bytes > message_max_bytes as u64 {
        let message = format!(
            "{} is more than one request may hold: write at most {}, or raise `kafka.message_max`",
            show_bytes(bytes),
            show_bytes(message_max_bytes as u64)
        );
        size.problem(context, message);
    }
    producing.batch_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    producing.linger =
        batch
            .take("linger")
            .duration(context, producing.linger, Duration::ZERO..=LINGER_MAX);
    batch.finish(context);
}

fn queue(field: &Field<'_>, producing: &mut Producing, context: &mut Context<'_>) {
    let Some(mut queue) = field.section(context) else {
        return;
    };
    producing.queue_events =
        queue
            .take("events")
            .number(context, producing.queue_events, 1_000..=10_000_000);
    let size = queue.take("size");
    producing.queue_bytes = size.bytes(context, producing.queue_bytes, (1 << 20)..=(64 << 30));
    if producing.queue_bytes < u64::from(producing.batch_bytes) {
        let message = format!(
            "{} does not hold one batch of {}: raise it, or lower `batch.size`",
            show_bytes(producing.queue_bytes),
            show_bytes(u64::from(producing.batch_bytes))
        );
        size.problem(context, message);
    }
    queue.finish(context);
}

fn partitioning(field: &Field<'_>, context: &mut Context<'_>) -> Partitioning {
    const WORDS: &str = "`key`, `round-robin`, `sticky`, `explicit` or `json:/pointer`";
    let Some(text) = field.name(context) else {
        return Partitioning::Key;
    };
    let wrong = match text {
        "key" => return Partitioning::Key,
        "round-robin" => return Partitioning::RoundRobin,
        "sticky" => return Partitioning::Sticky,
        "explicit" => return Partitioning::Explicit,
        _ => match text.strip_prefix("json:") {
            Some(pointer) if !pointer.is_empty() => match json_pointer(pointer) {
                Ok(path) => return Partitioning::Field(path),
                Err(message) => message,
            },
            _ => format!("`{text}` is no partitioning: write {WORDS}"),
        },
    };
    field.problem(context, wrong);
    Partitioning::Key
}
