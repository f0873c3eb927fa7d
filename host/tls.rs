//! Encrypted connections: to other servers, and from clients. One implementation, rustls with ring.

pub(crate) mod client;
pub(crate) mod server;
