//! F50: messages that are larger than allowed, as they are or once they are unpacked.

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tonic::Code;

use super::gateway;
use crate::harness::call::{call, framed};
use crate::harness::ingest::proto::PublishRequest;
use crate::harness::ingest::{Publisher, event};
use crate::harness::kafka;
use crate::harness::topic::Topic;

/// A bomb unpacks to this.
const UNPACKED_BYTES: usize = 512 << 20;

/// At once, half of them by each encoding.
const BOMBS: usize = 48;

/// What all of them together may make the host hold: 4 MiB for each call that is unpacked, as much again for what it
/// is unpacked from, and two windows of zstd, one for each thread that serves.
const MEMORY_MAX: u64 = 640 << 20;

fn zeros(mut into: impl std::io::Write) {
    let block = vec![0; 1 << 20];
    for _ in 0..UNPACKED_BYTES >> 20 {
        into.write_all(&block).expect("memory takes it");
    }
}

fn gzip() -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    zeros(&mut encoder);
    encoder.finish().expect("memory takes it").into()
}

/// With the largest window that a decoder allows by itself, so that the window is a bomb too.
fn zstd_with_window() -> Bytes {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("it can be made");
    encoder.window_log(27).expect("it is allowed");
    zeros(&mut encoder);
    encoder.finish().expect("memory takes it").into()
}

#[test]
fn messages_that_are_or_become_too_large_are_refused_in_bounded_memory() {
    let topic = Topic::create(kafka::shared(), "bombed", 1);
    let (setup, address) = gateway("");
    let host = setup.start();
    let (gzip, zstd) = (gzip(), zstd_with_window());
    let before = host.peak_memory_bytes();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(async {
        let too_large = framed(false, 64 << 20, &[0; 100]);
        let refused = call(address, "PublishBatch", &[], too_large).await;
        assert_eq!(refused.code, Code::ResourceExhausted);
        assert_eq!(refused.headers["millrace-status"], "TOO_LARGE");
        let bombs = (0..BOMBS).map(|n| {
            let (encoding, body) = if n % 2 == 0 {
                ("gzip", &gzip)
            } else {
                ("zstd", &zstd)
            };
            let bomb = framed(true, body.len(), body);
            tokio::spawn(async move {
                let headers = [("grpc-encoding", encoding)];
                call(address, "PublishBatch", &headers, bomb).await.code
            })
        });
        for bomb in bombs.collect::<Vec<_>>() {
            assert_eq!(bomb.await.expect("it is answered"), Code::ResourceExhausted);
        }
    });
    let grown = host.peak_memory_bytes() - before;
    assert!(grown < MEMORY_MAX, "the host has grown by {grown} bytes");

    let mut publisher = Publisher::connect(address);
    let event = Some(event(&topic, "k", "v"));
    let call = publisher.client.publish(PublishRequest { event });
    publisher
        .runtime
        .block_on(call)
        .expect("the gateway serves on");
}
