//! A publisher as a stranger would write it: generated from `proto/`, and knowing nothing else.

use std::net::SocketAddr;

use tokio::runtime::Runtime;
use tonic::transport::Channel;

use self::proto::Event;
use self::proto::ingest_client::IngestClient;
use super::topic::Topic;

/// The contract, generated.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    clippy::clone_on_ref_ptr,
    reason = "generated code"
)]
pub(crate) mod proto {
    tonic::include_proto!("millrace.ingest.v1");
}

/// A client and what it runs on.
pub(crate) struct Publisher {
    pub(crate) runtime: Runtime,
    pub(crate) client: IngestClient<Channel>,
}

impl Publisher {
    /// Connects to a gateway that listens.
    pub(crate) fn connect(gateway: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime can be made");
        let client = runtime.block_on(IngestClient::connect(format!("http://{gateway}")));
        Self {
            client: client.expect("the gateway answers"),
            runtime,
        }
    }
}

/// An event with a key and a value.
pub(crate) fn event(topic: &Topic, key: &str, value: impl Into<Vec<u8>>) -> Event {
    Event {
        topic: topic.name().to_owned(),
        key: Some(key.to_owned().into()),
        value: Some(value.into().into()),
        ..Event::default()
    }
}
