//! F52: streams that are reset as soon as they are opened, heads without an end, and bodies of nothing. Whatever comes,
//! a good client is answered meanwhile, and the host holds no more than before.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use super::gateway;
use crate::harness::call::framed;
use crate::harness::frames::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, frame,
};
use crate::harness::host::Setup;
use crate::harness::ingest::proto::PublishRequest;
use crate::harness::ingest::{Publisher, event};
use crate::harness::topic::Topic;
use crate::harness::{kafka, process};

const PUBLISH: &str = "/millrace.ingest.v1.Ingest/Publish";
const STREAM: &str = "/millrace.ingest.v1.Ingest/PublishStream";

/// A good client's answer beside a flood, on a machine that runs other tests too.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Sends `most` waves over one connection while a good client publishes; how many the server took.
fn beside_a_good_client(
    gateway: SocketAddr,
    topic: &Topic,
    most: usize,
    wave: impl FnMut(usize) -> Vec<u8> + Send + 'static,
) -> usize {
    let (tell, told) = sync_channel(1);
    let flood = thread::spawn(move || {
        let settings = frame(SETTINGS, 0, 0, &[]);
        let mut stream = frames::connect(gateway, &settings).expect("the gateway listens");
        let taken = frames::flood(&mut stream, most, wave);
        tell.send(taken).expect("somebody waits");
    });
    let mut publisher = Publisher::connect(gateway);
    let taken = loop {
        let began = Instant::now();
        let event = Some(event(topic, "k", "v"));
        let call = publisher.client.publish(PublishRequest { event });
        publisher
            .runtime
            .block_on(call)
            .expect("a good client is answered");
        assert!(began.elapsed() < ANSWER_MAX, "{:?}", began.elapsed());
        if let Ok(taken) = told.try_recv() {
            break taken;
        }
    };
    flood.join().expect("it only sends");
    taken
}

#[test]
fn floods_of_frames_end_with_their_connection_and_cost_others_nothing() {
    const MOST: usize = 100_000;
    let topic = Topic::create(kafka::shared(), "flooded", 1);
    let (setup, address) = gateway("");
    let host = setup.start();
    let before = host.peak_memory_bytes();

    let head = frames::call(PUBLISH, &[]);
    let resets = beside_a_good_client(address, &topic, MOST, move |n| {
        let stream = u32::try_from(2 * n + 1).expect("it is small");
        let mut wave = frame(HEADERS, END_HEADERS | END_STREAM, stream, &head);
        wave.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
        wave
    });
    assert!(resets < MOST, "streams were opened and reset for ever");
    let head = frames::call(PUBLISH, &[]);
    let endless = beside_a_good_client(address, &topic, MOST, move |n| match n {
        0 => frame(HEADERS, 0, 1, &head),
        // A field that is not finished in any frame.
        _ => frame(CONTINUATION, 0, 1, &[0, 1, b'x', 1, b'y']),
    });
    assert!(endless < MOST, "heads without an end were read for ever");
    let head = frames::call(STREAM, &[]);
    let empty = beside_a_good_client(address, &topic, MOST, move |n| match n {
        0 => frame(HEADERS, END_HEADERS, 1, &head),
        _ => frame(DATA, 0, 1, &[]),
    });
    assert!(empty < MOST, "bodies of nothing were read for ever");

    let grown = host.peak_memory_bytes() - before;
    assert!(grown < 64 << 20, "the host has grown by {grown} bytes");
}

#[test]
fn an_honest_stream_of_small_events_that_is_held_back_is_not_taken_for_a_flood() {
    // Nobody answers there, so that the first event holds the stream back for seconds.
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, process::free_port()));
    let config = format!("ingest: {{ grpc: {{ listen: \"{address}\" }} }}\n");
    let setup = Setup::new("127.0.0.1:1", &config);
    let _host = setup.start();
    let settings = frame(SETTINGS, 0, 0, &[]);
    let mut stream = frames::connect(address, &settings).expect("the gateway listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("it can be set");
    // The window of the connection is larger than the one that every connection begins with.
    frames::read_until(&mut stream, WINDOW_UPDATE, 0).expect("it is told");
    let head = frames::call(STREAM, &[]);
    let mut wave = frame(HEADERS, END_HEADERS, 1, &head);
    // A sequence, and an event with a topic of one letter.
    let event = framed(false, 7, &[8, 1, 18, 3, 10, 1, b't']);
    // As many as the window of a request holds, each in a frame of its own.
    for _ in 0..(256 << 10) / event.len() {
        wave.extend(frame(DATA, 0, 1, &event));
    }
    wave.extend(frame(PING, 0, 0, &[7; 8]));
    stream.write_all(&wave).expect("it is taken");
    frames::read_until(&mut stream, PING, 1).expect("the connection lasts");
}

#[test]
fn an_answer_before_the_end_of_its_request_is_not_followed_by_a_reset() {
    let (setup, address) =
        gateway("clients: [{ name: web, token: nobody-shows-this-one, topics: [\"*\"] }]");
    let _host = setup.start();
    let settings = frame(SETTINGS, 0, 0, &[]);
    let mut stream = frames::connect(address, &settings).expect("the gateway listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("it can be set");
    let head = frame(HEADERS, END_HEADERS, 1, &frames::call(PUBLISH, &[]));
    stream.write_all(&head).expect("it is taken");
    frames::read_until(&mut stream, HEADERS, END_STREAM).expect("it is refused by its head");
    let mut rest = frame(
        DATA,
        END_STREAM,
        1,
        &framed(false, 7, &[8, 1, 18, 3, 10, 1, b't']),
    );
    rest.extend(frame(PING, 0, 0, &[7; 8]));
    stream.write_all(&rest).expect("it is taken");
    let seen = frames::read_until(&mut stream, PING, 1).expect("the connection lasts");
    assert!(
        !seen.contains(&RST_STREAM),
        "clients throw the answer away: {seen:?}"
    );
}
