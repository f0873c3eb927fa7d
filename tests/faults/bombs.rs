//! F27: batches that are small on the wire and huge in memory.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::harness::host::Setup;
use crate::harness::kafka;
use crate::harness::main_flow::guest;
use crate::harness::topic::{Record, Topic, unique};
use crate::harness::wait;

const TIMEOUT: Duration = Duration::from_secs(90);

/// Zeros of one record, which compress to a thousandth.
const RECORD_BYTES: usize = 900_000;

/// What a batch may be once it is unpacked, and the queues and lanes behind it: librdkafka unpacks it as a whole, into
/// buffers that double up to `receive.message.max.bytes`, which is 100 MB.
const MEMORY_MAX_BYTES: u64 = 700 << 20;

/// Writes so many records of zeros as one batch.
fn bomb(topic: &Topic, compression: &str, records: usize) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", topic.brokers())
        .set("compression.type", compression)
        .set("linger.ms", "2000")
        .set("batch.size", "2000000000")
        .set("batch.num.messages", records.to_string())
        .set("message.max.bytes", "1000000000")
        .set("queue.buffering.max.kbytes", "1000000")
        .create()
        .expect("a producer can be made");
    let zeros = vec![b'0'; RECORD_BYTES];
    for _ in 0..records {
        let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic.name())
            .partition(0)
            .key(&b"k"[..])
            .payload(&zeros[..]);
        producer
            .send(record)
            .map_err(|(error, _)| error)
            .expect("there is room");
    }
    producer.flush(TIMEOUT).expect("the broker takes it");
}

#[test]
fn f27_batches_that_unpack_to_a_thousand_times_their_size_leave_memory_bounded() {
    let topic = Topic::create(kafka::shared(), "bombs", 1);
    let larger = Topic::create(kafka::shared(), "larger-bombs", 1);
    let dead_letters = format!("{}.dlq", topic.name());
    let large = [("max.message.bytes", "2000000")];
    Topic::create_with(kafka::shared(), &dead_letters, 1, &large);
    let group = unique("bombs");
    for compression in ["zstd", "lz4", "gzip", "snappy"] {
        // 36 MB of zeros; snappy does not get below a twentieth, and a batch must fit through the broker.
        let records = if compression == "snappy" { 15 } else { 40 };
        bomb(&topic, compression, records);
    }
    // 180 MB, more than librdkafka unpacks. Its partition has to wait for somebody, and no other.
    bomb(&larger, "zstd", 200);
    let config = format!(
        "plugins:\n  copy:\n    path: {}\n    grants: [config, \"output:{copies}\"]\n    \
         config: {{ output: {copies}, host: h, wait_us: 0, down_ms: \"\" }}\n\
         groups:\n  - id: {group}\n    routes: {{ {topic}: copy, {larger}: copy }}\n    \
         dead_letter: {{ topic: {dead_letters} }}\n    store: store\n",
        guest("copy"),
        copies = Topic::create(kafka::shared(), "unbombed", 1).name(),
        topic = topic.name(),
        larger = larger.name(),
    );
    let setup = Setup::new(kafka::shared(), &config);
    let host = setup.start();
    topic.wait_for_no_lag(&group, TIMEOUT);
    let says = |line: &serde_json::Value| {
        line["message"]
            .as_str()
            .is_some_and(|m| m.contains("cannot be unpacked"))
    };
    wait::eventually("the batch that is too large to be told of", TIMEOUT, || {
        host.log().iter().any(says)
    });
    topic.produce(&[Record::new("k", "no JSON")]);
    topic.wait_for_no_lag(&group, TIMEOUT);
    let peak_bytes = host.peak_memory_bytes();
    let summary = host.sigterm().expect_code(0).json();
    let events: i64 = topic.end_offsets().values().sum();
    eprintln!(
        "{events} events, all but one {RECORD_BYTES} zeros, in five batches: peak memory {} MiB",
        peak_bytes >> 20
    );
    assert_eq!(
        summary["groups"][0]["total"]["dead"], events,
        "they are no JSON: {summary}"
    );
    assert_eq!(larger.lag(&group), 200, "nothing is skipped");
    assert!(peak_bytes < MEMORY_MAX_BYTES, "{peak_bytes} bytes");
}
