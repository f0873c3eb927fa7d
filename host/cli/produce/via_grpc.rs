//! Sends sample events through the gRPC gateway, over one stream.
//!
//! It must not know what the events are.

use anyhow::Context;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{Acknowledged, Source};
use crate::ingest::proto::ingest_client::IngestClient;
use crate::ingest::proto::{Event, PublishStreamRequest, PublishStreamResponse, StatusCode};

/// Requests made but not yet on their way; the gateway's own window is what bounds the rest.
const AHEAD: usize = 256;

pub(super) fn send(
    source: &mut Source,
    topic: &str,
    address: &str,
) -> anyhow::Result<Acknowledged> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(stream(source, topic, address))
}

async fn stream(source: &mut Source, topic: &str, address: &str) -> anyhow::Result<Acknowledged> {
    let mut client = IngestClient::connect(format!("http://{address}")).await.with_context(|| {
        format!(
            "no gRPC gateway answers at {address}; check the address and that the host runs with \
             ingest.grpc configured"
        )
    })?;
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
        let event = Event {
            topic: topic.to_owned(),
            key: Some(sample.key.into_bytes().into()),
            value: Some(sample.value.into_bytes().into()),
            ..Event::default()
        };
        slot.send(PublishStreamRequest {
            sequence,
            event: Some(event),
        });
    }
}

async fn listen(mut answers: Streaming<PublishStreamResponse>) -> Acknowledged {
    let mut seen = Acknowledged::default();
    loop {
        match answers.message().await {
            Ok(Some(answer)) => {
                let status = answer.status.unwrap_or_default();
                if status.code() == StatusCode::Ok {
                    seen.events += 1;
                } else if seen.failure.is_none() {
                    seen.failure = Some(status.message);
                }
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
