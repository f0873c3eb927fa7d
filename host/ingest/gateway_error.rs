//! Why a gateway does not run.

use std::io;
use std::net::SocketAddr;

use crate::tls::server::TlsError;

/// Why a gateway does not run. The operator must act.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The address could not be listened on.
    #[error(
        "the {gateway} gateway cannot listen on {address}: {source}; change {key}, or stop \
         what uses that address"
    )]
    Bind {
        /// Which gateway, as in `gRPC`.
        gateway: &'static str,
        /// Where its address is configured.
        key: &'static str,
        /// The address as configured.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Reflection could not be set up, which only a broken build can cause.
    #[error("the descriptors of the gRPC service are broken: {0}")]
    Descriptors(#[from] tonic_reflection::server::Error),
    /// Connections cannot be encrypted as configured.
    #[error("ingest.tls: {0}")]
    Tls(#[from] TlsError),
}
