//! The sections `ingest` and `admin`.

use std::net::{Ipv4Addr, SocketAddr};

use super::field::Field;
use super::section::Context;
use crate::config::units::show_bytes;
use crate::config::{Admin, GrpcIngest, Ingest};

/// What an accepted event grows by on its way into a record: framing, and headers the host adds.
const EVENT_OVERHEAD_BYTES: usize = 1024;

/// At 1 KB an event, about 10 MB waiting for the broker.
const IN_FLIGHT_DEFAULT: usize = 10_000;

const ADMIN_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

pub(super) fn ingest(
    field: &Field<'_>,
    message_max_bytes: usize,
    context: &mut Context<'_>,
) -> Ingest {
    let mut ingest = Ingest::default();
    let Some(mut section) = field.section(context) else {
        return ingest;
    };
    let grpc = section.take("grpc");
    let http = section.take("http");
    if !http.is_absent() {
        let message = "`ingest.http` is not built: remove it, and publish through `ingest.grpc`";
        context.problem(&http.place, message);
    }
    if grpc.is_absent() && http.is_absent() {
        context.problem(
            &field.place,
            "`ingest` has no gateway: write `grpc` below it, or remove it",
        );
    }
    ingest.grpc = read_grpc(&grpc, message_max_bytes, context);
    section.finish(context);
    ingest
}

fn read_grpc(
    field: &Field<'_>,
    message_max_bytes: usize,
    context: &mut Context<'_>,
) -> Option<GrpcIngest> {
    let mut section = field.section(context)?;
    let largest = message_max_bytes.saturating_sub(EVENT_OVERHEAD_BYTES);
    let listen = section
        .require("listen", "127.0.0.1:50051", context)
        .address(context);
    let event_max = section.take("event_max");
    let event_max_bytes = event_max.memory_bytes(context, largest, 1..=1_000_000_000);
    if event_max_bytes > largest {
        let message = format!(
            "{} does not fit into a record: write at most {}, or raise `kafka.message_max`",
            show_bytes(event_max_bytes as u64),
            show_bytes(largest as u64)
        );
        event_max.problem(context, message);
    }
    let in_flight_max =
        section
            .take("in_flight_max")
            .number(context, IN_FLIGHT_DEFAULT, 1..=1_000_000);
    section.finish(context);
    Some(GrpcIngest {
        listen: listen?,
        event_max_bytes,
        in_flight_max,
    })
}

pub(super) fn admin(field: &Field<'_>, context: &mut Context<'_>) -> Admin {
    let mut admin = Admin {
        listen: ADMIN_DEFAULT,
    };
    if let Some(mut section) = field.section(context) {
        admin.listen = section
            .take("listen")
            .address(context)
            .unwrap_or(ADMIN_DEFAULT);
        section.finish(context);
    }
    admin
}
