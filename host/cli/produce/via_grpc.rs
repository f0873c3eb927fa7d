//! Sends sample events through the gRPC gateway, over one stream.
//!
//! It must not know what the events are.

use anyhow::Context;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use super::door::{Door, encrypted};
use super::{Acknowledged, Mode, Source};
use crate::ingest::proto::ingest_client::IngestClient;
use crate::ingest::proto::{
    Event, EventStatus, PublishRequest, PublishStreamRequest, PublishStreamResponse, StatusCode,
};
use crate::sample::Sample;

/// Requests made but not yet on their way; the gateway's own window is what bounds the rest.
const AHEAD: usize = 256;

pub(super) fn send(
    source: &mut Source,
    topic: &str,
    (address, door): (&str, &Door),
    mode: Mode,
) -> anyhow::Result<Acknowledged> {
    let authorization = door.authorization();
    let authorization = authorization
        .as_deref()
        .map(str::parse::<MetadataValue<Ascii>>)
        .transpose();
    let authorization = authorization.context("the token has characters that no header holds")?;
    let connector = door.connector(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let client = connect(address, connector).await.with_context(|| {
            format!(
                "no gRPC gateway answers at {address}; check the address and that the host runs with \
                 ingest.grpc configured"
            )
        })?;
        let client = IngestClient::with_interceptor(client, Shows(authorization));
        match mode {
            Mode::Async => stream(source, topic, client).await,
            Mode::Sync => one_by_one(source, topic, client).await,
        }
    })
}

type Client = IngestClient<InterceptedService<Channel, Shows>>;

/// Shows the token with each call, where there is one.
#[derive(Clone)]
struct Shows(Option<MetadataValue<Ascii>>);

impl Interceptor for Shows {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(authorization) = &self.0 {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", authorization.clone());
        }
        Ok(request)
    }
}

async fn connect(address: &str, connector: Option<TlsConnector>) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    let Some(connector) = connector else {
        return Ok(endpoint.connect().await?);
    };
    let address = address.to_owned();
    let encrypt = tower::service_fn(move |_| {
        let (connector, address) = (connector.clone(), address.clone());
        async move {
            let stream = encrypted(&connector, &address).await;
            stream.map(TokioIo::new).map_err(std::io::Error::other)
        }
    });
    Ok(endpoint.connect_with_connector(encrypt).await?)
}

async fn one_by_one(
    source: &mut Source,
    topic: &str,
    mut client: Client,
) -> anyhow::Result<Acknowledged> {
    let mut seen = Acknowledged::default();
    loop {
        tokio::time::sleep(source.due_in()).await;
        let Some(sample) = source.take()? else {
            return Ok(seen);
        };
        let event = Some(event(topic, sample));
        match client.publish(PublishRequest { event }).await {
            Ok(_) => seen.events += 1,
            Err(refused) => {
                let cause = refused.metadata().get("millrace-status");
                let cause = cause
                    .and_then(|cause| cause.to_str().ok())
                    .unwrap_or("UNAVAILABLE");
                seen.failed(&cause.to_ascii_lowercase(), || refused.message().to_owned());
            }
        }
    }
}

async fn stream(
    source: &mut Source,
    topic: &str,
    mut client: Client,
) -> anyhow::Result<Acknowledged> {
    let (requests, receiver) = mpsc::channel(AHEAD);
    let answers = client
        .publish_stream(ReceiverStream::new(receiver))
        .await
        .context("the gateway refused the stream")?
        .into_inner();
    // Both run on this thread: while one waits, the other goes on.
    let (sent, acknowledged) = tokio::join!(feed(source, topic, requests), listen(answers));
    sent?;
    let mut acknowledged = acknowledged;
    if acknowledged.failure.is_none() && acknowledged.events < source.report.total {
        acknowledged.failure = Some("the stream ended before every event had its answer".into());
    }
    Ok(acknowledged)
}

async fn feed(
    source: &mut Source,
    topic: &str,
    requests: mpsc::Sender<PublishStreamRequest>,
) -> anyhow::Result<()> {
    let mut sequence = 0;
    loop {
        let wait = source.due_in();
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        // A stream that has ended takes no more; its listener knows why.
        let Ok(slot) = requests.reserve().await else {
            return Ok(());
        };
        let Some(sample) = source.take()? else {
            return Ok(());
        };
        sequence += 1;
        slot.send(PublishStreamRequest {
            sequence,
            event: Some(event(topic, sample)),
        });
    }
}

fn event(topic: &str, sample: Sample) -> Event {
    Event {
        topic: topic.to_owned(),
        key: Some(sample.key.into_bytes().into()),
        value: Some(sample.value.into_bytes().into()),
        ..Event::default()
    }
}

fn count(seen: &mut Acknowledged, status: EventStatus) {
    match status.code() {
        StatusCode::Ok => seen.events += 1,
        code => {
            let cause = code.as_str_name().trim_start_matches("STATUS_CODE_");
            seen.failed(&cause.to_ascii_lowercase(), || status.message);
        }
    }
}

async fn listen(mut answers: Streaming<PublishStreamResponse>) -> Acknowledged {
    let mut seen = Acknowledged::default();
    loop {
        match answers.message().await {
            Ok(Some(answer)) => {
                count(&mut seen, answer.status.unwrap_or_default());
            }
            Ok(None) => return seen,
            Err(status) => {
                seen.failure
                    .get_or_insert_with(|| status.message().to_owned());
                return seen;
            }
        }
    }
}
