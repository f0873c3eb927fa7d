//! How the cluster is reached and written to: what is taken, and what is refused with which words.

use super::*;
use crate::config::{
    Acks, Compression, KafkaTls, Partitioning, PasswordMechanism, Producing, Sasl, Secret,
    TlsIdentity, TlsVerify, TokenSource,
};

const GATEWAY: &str = "ingest: { grpc: { listen: 127.0.0.1:50051 } }";

fn with_kafka(lines: &str) -> String {
    format!("{GATEWAY}\nkafka:\n  brokers: b:9092\n{lines}")
}

fn with_producer(keys: &str) -> String {
    format!(
        "kafka: {{ brokers: b }}\ningest:\n  grpc: {{ listen: 127.0.0.1:50051 }}\n  producer: {{ {keys} }}\n"
    )
}

#[test]
fn encryption_and_logins_are_read_and_no_secret_is_printed() {
    let folder = Folder::new();
    for file in ["ca.pem", "cert.pem", "key.pem", "token"] {
        std::fs::write(folder.0.path().join(file), "hunter2\n").unwrap();
    }
    let text = with_kafka(
        "  tls: { ca: ca.pem, cert: cert.pem, key: key.pem, key_password: \"${file:key.pem}\", verify: chain }\n  \
         sasl: { mechanism: SCRAM-SHA-256, username: me, password: \"${SECRET}\" }\n",
    );
    let config = folder.read(&text, &[("SECRET", "hunter2")], &[]).unwrap();
    let at = |name: &str| folder.0.path().join(name);
    assert_eq!(
        config.kafka.tls,
        Some(KafkaTls {
            ca: Some(at("ca.pem")),
            identity: Some(TlsIdentity {
                cert: at("cert.pem"),
                key: at("key.pem"),
                key_password: Some(Secret::new("hunter2")),
            }),
            verify: TlsVerify::Chain,
        })
    );
    assert_eq!(
        config.kafka.sasl,
        Some(Sasl::Password {
            mechanism: PasswordMechanism::ScramSha256,
            username: "me".to_owned(),
            password: Secret::new("hunter2"),
        })
    );
    assert!(!format!("{config:?}").contains("hunter2"));

    let text =
        with_kafka("  tls: {}\n  sasl: { mechanism: OAUTHBEARER, token: { file: token } }\n");
    let config = folder.read(&text, &[], &[]).unwrap();
    assert_eq!(config.kafka.tls, Some(KafkaTls::default()));
    assert_eq!(
        config.kafka.sasl,
        Some(Sasl::Bearer(TokenSource::File(at("token"))))
    );
}

#[test]
fn connections_that_make_no_sense_are_refused() {
    check(&[
        (
            with_kafka("  sasl: { mechanism: PLAIN, username: u, password: p }\n"),
            "m.yaml:4:3: `kafka.sasl` without `kafka.tls` logs in over connections that everyone on the way can read: \
             write `tls: {}` beside it to encrypt them, or `tls: off` where the network is trusted",
        ),
        (
            with_kafka("  tls: { cert: absent.pem, key: p.wasm }\n"),
            "m.yaml:4:16: `kafka.tls.cert`: absent.pem cannot be read: No such file or directory (os error 2)",
        ),
        (
            with_kafka("  tls: { cert: p.wasm }\n"),
            "m.yaml:4:3: `kafka.tls.cert` is of no use without `kafka.tls.key`: the host shows a certificate by its \
             private key; write both, or neither",
        ),
        (
            with_kafka("  tls: {}\n  sasl: { mechanism: SCRAM-SHA-512, username: u }\n"),
            "m.yaml:5:3: `kafka.sasl.password` is missing: write `\"${file:/path}\"` or `\"${VARIABLE}\"`",
        ),
        (
            with_kafka("  tls: {}\n  sasl: { mechanism: scram }\n"),
            "m.yaml:5:22: `kafka.sasl.mechanism`: `scram` is not one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, \
             OAUTHBEARER: write one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER",
        ),
        (
            with_kafka(
                "  tls: {}\n  sasl: { mechanism: OAUTHBEARER, token: { url: \"http://login/token\", client_id: i, \
                        client_secret: s } }\n",
            ),
            "m.yaml:5:49: `kafka.sasl.token.url`: the client's secret would go there readable by everyone on the way: \
             write an `https:` address",
        ),
        (
            with_kafka("  tls: {}\n  properties: { ssl.ca.location: ca.pem }\n"),
            "m.yaml:4:3: `kafka.tls` and `kafka.properties.ssl.ca.location` say the same thing twice: remove the \
             property",
        ),
    ]);
}

#[test]
fn the_producer_is_read_from_the_file_and_from_options() {
    let folder = Folder::new();
    let text = with_producer(
        "acks: 1, batch: { events: 500, size: 64KiB, linger: 20ms }, compression: zstd, partitioning: \"json:/user/id\", \
         delivery_timeout: 10s, queue: { events: 5000, size: 8MiB }, statistics: 5s",
    );
    let config = folder
        .read(&text, &[], &["ingest.producer.compression=lz4"])
        .unwrap();
    let expected = Producing {
        acks: Acks::Leader,
        idempotence: false,
        batch_events: 500,
        batch_bytes: 64 << 10,
        linger: Duration::from_millis(20),
        compression: Compression::Lz4,
        partitioning: Partitioning::Field(vec!["user".into(), "id".into()]),
        delivery_timeout: Duration::from_secs(10),
        queue_events: 5_000,
        queue_bytes: 8 << 20,
        statistics: Some(Duration::from_secs(5)),
    };
    assert_eq!(config.ingest.producer, expected);
    let (kafka, producing) = connection(
        None,
        [].into_iter(),
        &["kafka.brokers=c:1".into(), "ingest.producer.acks=0".into()],
    )
    .unwrap();
    assert_eq!(
        (kafka.brokers.as_str(), producing.acks),
        ("c:1", Acks::Nobody)
    );
}

#[test]
fn producers_that_contradict_themselves_are_refused() {
    check(&[
        (
            with_producer("acks: 1, idempotence: true"),
            "m.yaml:4:37: `ingest.producer.idempotence`: it needs `acks: all`, and `acks` is 1: a broker that does not \
             wait for its replicas cannot promise that nothing is written twice; remove one of the two",
        ),
        (
            with_producer("batch: { linger: 5s }, delivery_timeout: 2s"),
            "m.yaml:4:56: `ingest.producer.delivery_timeout`: it is 2s and `batch.linger` is 5s, so that every event would \
             be given up before it is sent: raise the one or lower the other",
        ),
        (
            with_producer("batch: { size: 2MiB }"),
            "m.yaml:4:30: `ingest.producer.batch.size`: 2MiB is more than one request may hold: write at most 1MB, or raise \
             `kafka.message_max`",
        ),
        (
            with_producer("partitioning: hash"),
            "m.yaml:4:29: `ingest.producer.partitioning`: `hash` is no partitioning: write `key`, `round-robin`, `sticky`, \
             `explicit` or `json:/pointer`",
        ),
        (
            with_producer("compression: lzma"),
            "m.yaml:4:28: `ingest.producer.compression`: `lzma` is not one of none, gzip, snappy, lz4, zstd: write one of \
             none, gzip, snappy, lz4, zstd",
        ),
    ]);
}
