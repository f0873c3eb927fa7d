//! The sections `ingest` and `admin`.

use std::net::{Ipv4Addr, SocketAddr};

use super::field::Field;
use super::producer;
use super::section::Context;
use super::validation::{self, KnownRules};
use super::{access, http_gateway};
use crate::config::units::show_bytes;
use crate::config::{Admin, GrpcIngest, Ingest};

/// What an accepted event grows by on its way into a record: framing, and headers the host adds.
const EVENT_OVERHEAD_BYTES: usize = 1024;

/// At 1 KB an event, about 10 MB waiting for the broker.
pub(super) const IN_FLIGHT_DEFAULT: usize = 10_000;

/// Each call or stream may hold one message that is still being received, so with messages of 4 MiB this is the bound
/// of 1 GiB on what clients can make the gateway hold.
const CALLS_DEFAULT: usize = 256;

/// So that one client cannot take every place.
const CALLS_OF_CONNECTION_DEFAULT: usize = 64;

const ADMIN_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

pub(super) fn ingest(
    field: &Field<'_>,
    message_max_bytes: usize,
    rules: &KnownRules,
    context: &mut Context<'_>,
) -> Ingest {
    let mut ingest = Ingest::default();
    let Some(mut section) = field.section(context) else {
        return ingest;
    };
    let grpc = section.take("grpc");
    let http = section.take("http");
    if grpc.is_absent() && http.is_absent() {
        context.problem(
            &field.place,
            "`ingest` has no gateway: write `grpc` or `http` below it, or remove it",
        );
    }
    ingest.validate = validation::of_topics(&section.take("validate"), rules, context);
    ingest.grpc = read_grpc(&grpc, message_max_bytes, context);
    ingest.http = http_gateway::read(&http, message_max_bytes, context);
    ingest.clients = access::clients(&section.take("clients"), context);
    ingest.tls = access::tls(&section.take("tls"), context);
    ingest.connections = access::connections(&section.take("connections"), context);
    ingest.producer = producer::read(&section.take("producer"), message_max_bytes, context);
    section.finish(context);
    ingest
}

fn read_grpc(
    field: &Field<'_>,
    message_max_bytes: usize,
    context: &mut Context<'_>,
) -> Option<GrpcIngest> {
    let mut section = field.section(context)?;
    let listen = section
        .require("listen", "127.0.0.1:50051", context)
        .address(context);
    let event_max_bytes = event_max(&section.take("event_max"), message_max_bytes, context);
    let in_flight_max =
        section
            .take("in_flight_max")
            .number(context, IN_FLIGHT_DEFAULT, 1..=1_000_000);
    let calls_max = section
        .take("calls_max")
        .number(context, CALLS_DEFAULT, 1..=10_000);
    let calls_of_connection_max = section.take("calls_of_connection_max").number(
        context,
        CALLS_OF_CONNECTION_DEFAULT,
        1..=10_000,
    );
    section.finish(context);
    Some(GrpcIngest {
        listen: listen?,
        event_max_bytes,
        in_flight_max,
        calls_max,
        calls_of_connection_max,
    })
}

/// The largest event of a gateway: what fits into a record at most.
pub(super) fn event_max(
    field: &Field<'_>,
    message_max_bytes: usize,
    context: &mut Context<'_>,
) -> usize {
    let largest = message_max_bytes.saturating_sub(EVENT_OVERHEAD_BYTES);
    let event_max_bytes = field.memory_bytes(context, largest, 1..=1_000_000_000);
    if event_max_bytes > largest {
        let message = format!(
            "{} does not fit into a record: write at most {}, or raise `kafka.message_max`",
            show_bytes(event_max_bytes as u64),
            show_bytes(largest as u64)
        );
        field.problem(context, message);
    }
    event_max_bytes
}

pub(super) fn admin(field: &Field<'_>, context: &mut Context<'_>) -> Admin {
    let mut admin = Admin {
        listen: ADMIN_DEFAULT,
        token: None,
        tls: None,
    };
    let Some(mut section) = field.section(context) else {
        return admin;
    };
    let listen = section.take("listen");
    admin.listen = listen.address(context).unwrap_or(ADMIN_DEFAULT);
    let token = section.take("token");
    admin.token = access::secret(&token, context);
    admin.tls = access::tls(&section.take("tls"), context);
    section.finish(context);
    if !admin.listen.ip().is_loopback() && token.is_absent() {
        let message = format!(
            "`{}` is no loopback address, so anybody who reaches it could replace plugins and read figures: \
             write `token: \"${{MILLRACE_ADMIN_TOKEN}}\"` beside it, or listen on 127.0.0.1",
            admin.listen
        );
        listen.problem(context, message);
    }
    admin
}
