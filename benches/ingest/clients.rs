//! Clients that cost as little as a client can: their requests are bytes before the clock starts, and of the answers
//! they look only at what was refused.

use std::future::poll_fn;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::Request;
use prost::Message;

use super::shared::harness::ingest::proto::{
    Event, PublishBatchRequest, PublishBatchResponse, PublishStreamRequest, StatusCode,
};
use super::shared::{PATIENCE, own_cpu};

/// What one write to a stream holds; several frames.
const WRITE_BYTES: usize = 64 << 10;

/// Answers that may be on their way: more than any stream has.
const WINDOW_BYTES: u32 = 16 << 20;

const BATCH_EVENTS: usize = 1_000;

/// Connections for calls that are answered one by one.
const CONNECTIONS: usize = 4;

/// Of an answer in a stream, what this client looks at; the rest is skipped.
#[derive(Clone, PartialEq, Message)]
struct StreamAnswer {
    #[prost(message, optional, tag = "2")]
    status: Option<Verdict>,
}

/// The same of an event's status.
#[derive(Clone, PartialEq, Message)]
struct Verdict {
    #[prost(enumeration = "StatusCode", tag = "1")]
    code: i32,
}

fn event(topic: &str, (key, value): &(String, String)) -> Event {
    Event {
        topic: topic.to_owned(),
        key: Some(key.clone().into()),
        value: Some(value.clone().into()),
        ..Event::default()
    }
}

/// A message with the five bytes that gRPC puts before it.
fn frame(message: &impl Message, into: &mut BytesMut) {
    into.put_u8(0);
    into.put_u32(u32::try_from(message.encoded_len()).expect("messages are small"));
    message.encode(into).expect("there is room");
}

fn timed(run: impl Future<Output = ()>) -> (f64, f64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime can be made").block_on(async {
        let (began, cpu) = (Instant::now(), own_cpu());
        tokio::time::timeout(PATIENCE, run)
            .await
            .expect("the gateway answers everything");
        (began.elapsed().as_secs_f64(), own_cpu() - cpu)
    })
}

async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("the gateway listens");
    stream.set_nodelay(true).expect("it is a socket");
    let (client, connection) = h2::client::Builder::new()
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .handshake::<_, Bytes>(stream)
        .await
        .expect("it speaks HTTP/2");
    tokio::spawn(connection);
    client
}

async fn call(
    client: &mut SendRequest<Bytes>,
    method: &str,
) -> (SendStream<Bytes>, ResponseFuture) {
    let request = Request::post(format!("http://gateway/millrace.ingest.v1.Ingest/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("the request is well-formed");
    poll_fn(|context| client.poll_ready(context))
        .await
        .expect("it takes a call");
    let (response, stream) = client
        .send_request(request, false)
        .expect("it takes a call");
    (stream, response)
}

async fn send(stream: &mut SendStream<Bytes>, mut bytes: Bytes, last: bool) {
    while bytes.has_remaining() {
        stream.reserve_capacity(bytes.len());
        let room = poll_fn(|context| stream.poll_capacity(context)).await;
        let room = room
            .expect("the stream is open")
            .expect("the stream is open");
        let part = bytes.split_to(room.min(bytes.len()));
        let end = last && bytes.is_empty();
        stream.send_data(part, end).expect("the stream is open");
    }
}

/// Takes messages off until there are so many; each is looked at by `look`.
async fn receive(mut answers: RecvStream, mut wanted: usize, mut look: impl FnMut(&[u8])) {
    let mut buffer = BytesMut::new();
    while wanted > 0 {
        let chunk = answers
            .data()
            .await
            .expect("the stream ended early")
            .expect("the stream is well");
        answers
            .flow_control()
            .release_capacity(chunk.len())
            .expect("it was received");
        buffer.extend_from_slice(&chunk);
        while buffer.len() >= 5 {
            let length = u32::from_be_bytes([buffer[1], buffer[2], buffer[3], buffer[4]]) as usize;
            if buffer.len() < 5 + length {
                break;
            }
            look(&buffer[5..5 + length]);
            buffer.advance(5 + length);
            wanted -= 1;
        }
    }
}

pub(crate) fn grpc_stream(
    address: SocketAddr,
    topic: &str,
    samples: &[(String, String)],
) -> (f64, f64) {
    let mut writes = Vec::new();
    let mut bytes = BytesMut::with_capacity(WRITE_BYTES * 2);
    for (sequence, sample) in (0..).zip(samples) {
        let event = Some(event(topic, sample));
        frame(&PublishStreamRequest { sequence, event }, &mut bytes);
        if bytes.len() >= WRITE_BYTES {
            writes.push(bytes.split().freeze());
        }
    }
    writes.push(bytes.freeze());
    timed(async {
        let (mut stream, response) = call(&mut connect(address).await, "PublishStream").await;
        let sending = async {
            let last = writes.len() - 1;
            for (at, write) in writes.into_iter().enumerate() {
                send(&mut stream, write, at == last).await;
            }
        };
        let receiving = async {
            let answers = response.await.expect("the gateway answers").into_body();
            receive(answers, samples.len(), |message| {
                let answer = StreamAnswer::decode(message).expect("it is an answer");
                let verdict = answer.status.expect("it is set");
                assert_eq!(verdict.code(), StatusCode::Ok);
            })
            .await;
        };
        tokio::join!(sending, receiving);
    })
}

pub(crate) fn grpc_batches(
    address: SocketAddr,
    topic: &str,
    samples: &[(String, String)],
) -> (f64, f64) {
    let batch = |samples: &[(String, String)]| {
        let events = samples.iter().map(|sample| event(topic, sample)).collect();
        let mut bytes = BytesMut::new();
        frame(&PublishBatchRequest { events }, &mut bytes);
        (bytes.freeze(), samples.len())
    };
    let batches: Vec<(Bytes, usize)> = samples.chunks(BATCH_EVENTS).map(batch).collect();
    let next = AtomicUsize::new(0);
    let one = async || {
        let mut client = connect(address).await;
        while let Some((bytes, events)) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (mut stream, response) = call(&mut client, "PublishBatch").await;
            send(&mut stream, bytes.clone(), true).await;
            let answers = response.await.expect("the gateway answers").into_body();
            receive(answers, 1, |message| {
                let answer = PublishBatchResponse::decode(message).expect("it is an answer");
                assert_eq!(answer.statuses.len(), *events);
                assert!(
                    answer
                        .statuses
                        .iter()
                        .all(|status| status.code() == StatusCode::Ok)
                );
            })
            .await;
        }
    };
    timed(async {
        tokio::join!(one(), one(), one(), one());
    })
}

/// Threads that block, one for each connection: nothing is cheaper for requests that are answered one by one.
pub(crate) fn http_batches(
    address: SocketAddr,
    topic: &str,
    samples: &[(String, String)],
) -> (f64, f64) {
    let batch = |samples: &[(String, String)]| {
        let line =
            |(key, value): &(String, String)| format!("{{\"key\":\"{key}\",\"value\":{value}}}\n");
        let body: String = samples.iter().map(line).collect();
        let head = format!(
            "POST /v1/topics/{topic}/events?envelope=true HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-ndjson\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        head + &body
    };
    let batches: Vec<String> = samples.chunks(BATCH_EVENTS).map(batch).collect();
    let next = AtomicUsize::new(0);
    let (began, cpu) = (Instant::now(), own_cpu());
    std::thread::scope(|threads| {
        for _ in 0..CONNECTIONS {
            threads.spawn(|| {
                let mut stream = TcpStream::connect(address).expect("the gateway listens");
                stream.set_nodelay(true).expect("it is a socket");
                let mut answers = BufReader::new(stream.try_clone().expect("it is a socket"));
                while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                    stream
                        .write_all(batch.as_bytes())
                        .expect("the gateway reads");
                    accepted(&mut answers);
                }
            });
        }
    });
    (began.elapsed().as_secs_f64(), own_cpu() - cpu)
}

/// Reads an answer, which must be 202.
fn accepted(answers: &mut BufReader<TcpStream>) {
    let mut line = String::new();
    answers.read_line(&mut line).expect("the gateway answers");
    assert!(line.starts_with("HTTP/1.1 202"), "{line}");
    let mut length = 0;
    loop {
        line.clear();
        answers.read_line(&mut line).expect("the gateway answers");
        if line == "\r\n" {
            break;
        }
        if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().expect("it is a number");
        }
    }
    let mut body = vec![0; length];
    answers.read_exact(&mut body).expect("the gateway answers");
}
