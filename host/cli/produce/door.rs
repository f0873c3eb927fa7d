//! How `millrace produce` gets through the door of a gateway: encrypted, and with a token.
//!
//! It must not know what is sent, or which protocol is spoken inside.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::{self, Secret};
use crate::tls::client;

/// Where the token is. It is never an argument, which others could read.
const TOKEN_VARIABLE: &str = "MILLRACE_TOKEN";

/// What the gateway wants to see. The variable MILLRACE_TOKEN holds the token, where one is needed.
#[derive(Debug, Args)]
pub(super) struct Door {
    /// Speaks TLS with the gateway, and trusts the authorities in this PEM file.
    #[arg(long, value_name = "FILE")]
    gateway_ca: Option<PathBuf>,
}

impl Door {
    /// The header `authorization`, where there is a token.
    pub(super) fn authorization(&self) -> Option<String> {
        let mut environment = config::process_environment();
        let token = environment.find(|(name, _)| name == TOKEN_VARIABLE);
        let token = token.map(|(_, token)| Secret::new(token));
        token.map(|token| format!("Bearer {}", token.reveal()))
    }

    /// What encrypts connections; none where they are in the clear.
    pub(super) fn connector(&self, is_http2: bool) -> anyhow::Result<Option<TlsConnector>> {
        let Some(file) = &self.gateway_ca else {
            return Ok(None);
        };
        let connector = match is_http2 {
            true => client::connector_for_http2(Some(file)),
            false => client::connector_to(Some(file)),
        };
        connector.map(Some).map_err(anyhow::Error::msg)
    }
}

/// An encrypted connection to `address`, which the server's certificate has to name.
pub(super) async fn encrypted(
    connector: &TlsConnector,
    address: &str,
) -> anyhow::Result<TlsStream<TcpStream>> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let name = client::server_name(host.trim_matches(['[', ']']))
        .with_context(|| format!("{address} has no name that a certificate could hold"))?;
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let stream = connector.connect(name, stream).await;
    stream.context("the gateway is not trusted, or speaks no TLS")
}
