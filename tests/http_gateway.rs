//! The HTTP gateway through `millrace run`: what is answered 202 is in Kafka, and what a stranger sends is answered as
//! the document says.

mod access;
mod acknowledged;
mod cloudevents;
mod contract;
mod limits;
mod records;

use std::net::{Ipv4Addr, SocketAddr};

use crate::harness::host::{Host, Setup};
use crate::harness::process;

/// A host with nothing but the gateway. `more` are further keys of `ingest.http`.
fn start(brokers: &str, more: &str) -> (Host, SocketAddr) {
    start_with(brokers, more, "")
}

/// The same, with further sections.
fn start_with(brokers: &str, more: &str, sections: &str) -> (Host, SocketAddr) {
    let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, process::free_port()));
    let config = format!("{sections}ingest:\n  http: {{ listen: \"{gateway}\"{more} }}\n");
    let host = Setup::new(brokers, &config).start();
    (host, gateway)
}
