//! Clients that are slow, large or many harm nobody else, and a host that ends answers what it has begun.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::start;
use crate::harness::host::Setup;
use crate::harness::http::{connect, publish, read};
use crate::harness::topic::Topic;
use crate::harness::{kafka, process, wait};

/// Begins a request that announces more than it sends.
fn begin(gateway: SocketAddr, topic: &Topic, length: usize, body: &[u8]) -> std::net::TcpStream {
    let mut stream = connect(gateway).unwrap();
    let head = format!(
        "POST /v1/topics/{}/events HTTP/1.1\r\nhost: h\r\ncontent-length: {length}\r\n\r\n",
        topic.name()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    stream
}

#[test]
fn a_slow_body_ends_with_408_and_a_slow_head_with_the_connection() {
    let topic = Topic::create(kafka::shared(), "http-slow", 1);
    let gateway = SocketAddr::from(([127, 0, 0, 1], process::free_port()));
    let config = format!(
        "ingest:\n  connections: {{ header_timeout: 500ms }}\n  \
         http: {{ listen: \"{gateway}\", body_timeout: 500ms }}\n"
    );
    let host = Setup::new(kafka::shared(), &config).start();
    let mut slow = begin(gateway, &topic, 10, b"five!");
    let reply = read(&mut slow).unwrap();
    assert_eq!(
        (reply.status, reply.json()["code"].as_str()),
        (408, Some("TIMEOUT"))
    );
    assert_eq!(
        slow.read(&mut [0; 1]).unwrap(),
        0,
        "and the connection with it"
    );
    let mut slower = connect(gateway).unwrap();
    slower.write_all(b"POST /v1/topics").unwrap();
    assert_eq!(slower.read(&mut [0; 1]).unwrap(), 0, "it is closed");
    let reply = publish(gateway, topic.name(), "", &[], b"quick").unwrap();
    assert_eq!(reply.status, 202);
    assert_eq!(
        topic.read_all().len(),
        1,
        "nothing of the slow one is there"
    );
    host.sigterm().expect_code(0);
}

#[test]
fn large_and_compressed_bodies_leave_the_memory_bounded() {
    let topic = Topic::create(kafka::shared(), "http-large", 1);
    let (host, gateway) = start(kafka::shared(), ", request_max: 2MiB");
    publish(gateway, topic.name(), "", &[], b"first").unwrap();
    let before = host.peak_memory_bytes();
    let large = vec![b'x'; 8 << 20];
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..200 {
        bomb.write_all(&large[..1 << 20]).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    assert!(
        bomb.len() < 1 << 20,
        "200 MiB look like {} bytes",
        bomb.len()
    );
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let gzip = ("content-encoding", "gzip");
                let lines = ("content-type", "application/x-ndjson");
                let reply = publish(gateway, topic.name(), "", &[gzip, lines], &bomb).unwrap();
                assert!(matches!(reply.status, 413 | 429), "{}", reply.status);
            });
            scope.spawn(|| {
                // It is refused by its length, perhaps before all of it is sent.
                if let Ok(reply) = publish(gateway, topic.name(), "", &[], &large) {
                    assert_eq!(reply.status, 413);
                }
            });
        }
    });
    let grown = host.peak_memory_bytes() - before;
    assert!(grown < 150 << 20, "{} MiB", grown >> 20);
    let mut small = GzEncoder::new(Vec::new(), Compression::fast());
    small.write_all(b"[1]").unwrap();
    let gzip = ("content-encoding", "gzip");
    let reply = publish(gateway, topic.name(), "", &[gzip], &small.finish().unwrap()).unwrap();
    assert_eq!(reply.status, 202);
    let values: Vec<_> = topic
        .read_all()
        .into_iter()
        .map(|record| record.value.unwrap())
        .collect();
    assert_eq!(values, [b"first".to_vec(), b"[1]".to_vec()]);
    host.sigterm().expect_code(0);
}

#[test]
fn a_host_that_ends_answers_what_it_has_begun_and_waits_for_no_idle_connection() {
    let topic = Topic::create(kafka::shared(), "http-drain", 1);
    let (host, gateway) = start(kafka::shared(), "");
    let idle = connect(gateway).unwrap();
    let mut begun = begin(gateway, &topic, 10, b"five!");
    let reply = publish(gateway, topic.name(), "", &[], b"known").unwrap();
    assert_eq!(reply.status, 202);
    host.ask_to_end();
    wait::eventually("the port is closed", Duration::from_secs(10), || {
        connect(gateway).is_err()
    });
    begun.write_all(b"five.").unwrap();
    let reply = read(&mut begun).unwrap();
    assert_eq!(reply.status, 202, "{}", reply.json());
    let ending = Instant::now();
    host.wait().expect_code(0);
    assert!(
        ending.elapsed() < Duration::from_secs(5),
        "{:?}",
        ending.elapsed()
    );
    drop(idle);
    assert_eq!(topic.read_all().len(), 2);
}
