//! What bounds a plugin: the sections `limits` and `recycle`.

use std::time::Duration;

use super::field::Field;
use super::section::{Context, Section};
use crate::config::units::show_bytes;
use crate::config::{Limits, Recycle};

const GIB: u64 = 1 << 30;

pub(super) fn limits(field: &Field<'_>, context: &mut Context<'_>) -> Limits {
    let default = Limits::default();
    let Some(mut section) = field.section(context) else {
        return default;
    };
    let (event_hostcall_bytes, batch_hostcall_bytes) = hostcalls(&mut section, &default, context);
    let mut number = |key: &'static str, default: u32, max: u32| {
        section.take(key).number(context, default, 1..=max)
    };
    let instances = number("instances", default.instances, Limits::INSTANCES_MAX);
    let memories = number("memories", default.memories, Limits::MEMORIES_MAX);
    let tables = number("tables", default.tables, Limits::TABLES_MAX);
    let host_calls = number("host_calls", default.host_calls, 100_000_000);
    // A flood of lines would be the plugin's way to fill the operator's disk.
    let log_lines = number("log_lines", default.log_lines, 100_000);
    let fuel = section.take("fuel");
    let fuel = (!fuel.is_absent()).then(|| fuel.number(context, u64::MAX, 1_000..=FUEL_MAX));
    let mut limits = Limits {
        // From one page of WebAssembly to all that 32-bit memory can address.
        memory_bytes: section.take("memory").memory_bytes(
            context,
            default.memory_bytes,
            64 << 10..=4 * GIB,
        ),
        // A deadline is measured by ticks of 10 ms.
        deadline: section.take("deadline").duration(
            context,
            default.deadline,
            Duration::from_millis(10)..=Duration::from_mins(5),
        ),
        fuel,
        instances,
        memories,
        tables,
        table_elements: section.take("table_elements").number(
            context,
            default.table_elements,
            1..=Limits::TABLE_ELEMENTS_MAX,
        ),
        resources: section
            .take("resources")
            .number(context, default.resources, 1..=1_000_000),
        event_hostcall_bytes,
        batch_hostcall_bytes,
        outputs: section
            .take("outputs")
            .number(context, default.outputs, 0..=1_000_000),
        output_bytes: section.take("output_size").memory_bytes(
            context,
            default.output_bytes,
            0..=GIB,
        ),
        host_calls,
        log_line_bytes: section.take("log_line").memory_bytes(
            context,
            default.log_line_bytes,
            16..=1 << 20,
        ),
        log_lines,
        ..default
    };
    compile_limits(&mut limits, &mut section, context);
    kept_limits(&mut limits, &mut section, context);
    http_limits(&mut limits, &mut section, context);
    section.finish(context);
    limits
}

fn compile_limits(limits: &mut Limits, section: &mut Section<'_>, context: &mut Context<'_>) {
    limits.component_bytes =
        section
            .take("component_size")
            .bytes(context, limits.component_bytes, 1 << 10..=GIB);
    limits.compile_time = section.take("compile_time").duration(
        context,
        limits.compile_time,
        Duration::from_millis(10)..=Duration::from_hours(1),
    );
}

/// What stays in the host after a call.
fn kept_limits(limits: &mut Limits, section: &mut Section<'_>, context: &mut Context<'_>) {
    limits.series = section
        .take("series")
        .number(context, limits.series, 1..=100_000);
    limits.tallies = section
        .take("tallies")
        .number(context, limits.tallies, 1..=1_000_000);
}

fn http_limits(limits: &mut Limits, section: &mut Section<'_>, context: &mut Context<'_>) {
    limits.http_requests =
        section
            .take("http_requests")
            .number(context, limits.http_requests, 1..=1_000);
    limits.http_timeout = section.take("http_timeout").duration(
        context,
        limits.http_timeout,
        Duration::from_millis(10)..=Duration::from_mins(5),
    );
    let sizes = [
        ("http_request_size", &mut limits.http_request_bytes),
        ("http_response_size", &mut limits.http_response_bytes),
    ];
    for (key, bytes) in sizes {
        *bytes = section.take(key).bytes(context, *bytes, 0..=GIB);
    }
}

/// The most fuel of one event; a batch of the largest size still fits into 64 bits, ticks too.
const FUEL_MAX: u64 = 1_000_000_000_000_000;

/// Bytes to and from the host: of one event, and of a batch.
fn hostcalls(
    section: &mut Section<'_>,
    default: &Limits,
    context: &mut Context<'_>,
) -> (usize, usize) {
    let event_bytes = section.take("event_hostcall").memory_bytes(
        context,
        default.event_hostcall_bytes,
        1 << 10..=GIB,
    );
    let batch = section.take("batch_hostcall");
    let batch_bytes = batch.memory_bytes(context, default.batch_hostcall_bytes, 1 << 10..=GIB);
    if batch_bytes < event_bytes {
        let message = format!(
            "is {}, below `event_hostcall` of a single event: write at least {}",
            show_bytes(batch_bytes as u64),
            show_bytes(event_bytes as u64)
        );
        batch.problem(context, message);
    }
    (event_bytes, batch_bytes)
}

pub(super) fn recycle(
    field: &Field<'_>,
    memory_bytes_max: usize,
    context: &mut Context<'_>,
) -> Recycle {
    let Some(mut section) = field.section(context) else {
        return Recycle::default();
    };
    let events = section.take("events");
    let memory = section.take("memory");
    let recycle = Recycle {
        events: (!events.is_absent())
            .then(|| events.number(context, u64::MAX, 1..=1_000_000_000_000)),
        memory_bytes: (!memory.is_absent())
            .then(|| memory.memory_bytes(context, memory_bytes_max, 64 << 10..=4 * GIB)),
    };
    if recycle
        .memory_bytes
        .is_some_and(|bytes| bytes > memory_bytes_max)
    {
        let message = format!(
            "is more than `limits.memory`, which no instance gets past: write at most {}",
            show_bytes(memory_bytes_max as u64)
        );
        memory.problem(context, message);
    }
    section.finish(context);
    recycle
}
