//! The doors of a host as strangers meet them: tokens and rights, certificates, and clients that are slow, large or
//! break the rules of HTTP/2 on purpose. Every host here has gateways and no groups.

use std::net::{Ipv4Addr, SocketAddr};

use crate::harness::host::Setup;
use crate::harness::{kafka, process};

// Oversized messages, and small ones that become large.
mod bombs;
// HTTP/2 that no honest client speaks.
mod floods;
// Connections that hold places and do nothing with them.
mod slow;
// Certificates of servers and clients.
mod tls;
// Who may publish, and who may see and change what serves.
mod tokens;

/// A host with a gRPC gateway; `more` is added below `ingest`, in the style `{ .. }` of YAML.
fn gateway(more: &str) -> (Setup, SocketAddr) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, process::free_port()));
    let comma = if more.is_empty() { "" } else { ", " };
    let config = format!("ingest: {{ grpc: {{ listen: \"{address}\" }}{comma}{more} }}\n");
    (Setup::new(kafka::shared(), &config), address)
}
