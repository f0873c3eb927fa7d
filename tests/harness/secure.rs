//! A publisher over TLS and with a token, on a connection of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tonic::Request;
use tonic::transport::{Channel, Endpoint, Uri};

use super::ingest::event;
use super::ingest::proto::PublishRequest;
use super::ingest::proto::ingest_client::IngestClient;
use super::topic::Topic;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A client, what it runs on, and its token.
pub(crate) struct SecurePublisher {
    runtime: Runtime,
    client: IngestClient<Channel>,
    token: Option<String>,
}

impl SecurePublisher {
    /// Connects to a gateway on loopback; what went wrong, where something did.
    pub(crate) fn connect(
        gateway: SocketAddr,
        connector: TlsConnector,
        token: Option<&str>,
    ) -> Result<Self, String> {
        let runtime = runtime();
        let connect = tower::service_fn(move |_: Uri| {
            let connector = connector.clone();
            async move {
                let stream = TcpStream::connect(gateway).await?;
                // A call is two small writes, and the second would wait for the first to be acknowledged.
                stream.set_nodelay(true)?;
                let name = ServerName::from(LOCALHOST);
                connector.connect(name, stream).await.map(TokioIo::new)
            }
        });
        let endpoint = Endpoint::from_static("http://localhost");
        let channel = runtime.block_on(endpoint.connect_with_connector(connect));
        Ok(Self {
            client: IngestClient::new(channel.map_err(|error| format!("{error:?}"))?),
            runtime,
            token: token.map(str::to_owned),
        })
    }

    /// Publishes one event; what went wrong, where something did.
    pub(crate) fn publish(&mut self, topic: &Topic) -> Result<(), String> {
        let event = Some(event(topic, "k", "v"));
        let mut request = Request::new(PublishRequest { event });
        if let Some(token) = &self.token {
            let value = format!("Bearer {token}").parse().expect("it is a header");
            request.metadata_mut().insert("authorization", value);
        }
        let answer = self.runtime.block_on(self.client.publish(request));
        answer.map(drop).map_err(|status| format!("{status:?}"))
    }
}

/// The certificate that the server on loopback shows; none where it is not trusted.
pub(crate) fn shown(
    gateway: SocketAddr,
    connector: &TlsConnector,
) -> Option<CertificateDer<'static>> {
    runtime().block_on(async {
        let stream = TcpStream::connect(gateway).await.ok()?;
        let name = ServerName::from(LOCALHOST);
        let stream = connector.connect(name, stream).await.ok()?;
        let certificates = stream.get_ref().1.peer_certificates()?;
        let first = certificates.first().cloned();
        first.map(CertificateDer::into_owned)
    })
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made")
}
