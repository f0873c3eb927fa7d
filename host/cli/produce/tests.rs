//! Sends to the embedded broker and counts what arrived.

use std::sync::Arc;

use clap::Parser;

use super::*;
use crate::kafka::embedded::EmbeddedBroker;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    produce: ProduceArgs,
}

fn args(written: &[&str]) -> ProduceArgs {
    Cli::try_parse_from([&["millrace", "--topic", "events"], written].concat())
        .unwrap()
        .produce
}

#[test]
fn what_is_sent_to_kafka_is_acknowledged_and_recorded() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("events", 2).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("sent.jsonl");
    let brokers = broker.bootstrap_servers();
    let args = args(&[
        "--brokers",
        &brokers,
        "--count",
        "5000",
        "--seed",
        "3",
        "--record",
        record.to_str().unwrap(),
        "--output",
        "json",
    ]);
    run(args).unwrap();
    let lines: Vec<serde_json::Value> = std::fs::read_to_string(record)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 5_000);
    assert!(lines.iter().any(|line| line["kind"] == "duplicate"));
}

#[test]
fn what_is_sent_through_the_gateway_is_acknowledged() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("events", 2).unwrap();
    let args = args(&["--count", "3000", "--brokers", &broker.bootstrap_servers()]);
    let publisher =
        Arc::new(crate::kafka::publisher::Publisher::new(&args.connection.kafka()).unwrap());
    let settings = crate::config::GrpcIngest {
        listen: "127.0.0.1:0".parse().unwrap(),
        event_max_bytes: 1_000_000,
        in_flight_max: 100,
        calls_max: 10,
        calls_of_connection_max: 10,
    };
    let shared = crate::ingest::Shared::new(
        &crate::config::Ingest::default(),
        &crate::config::Correlation::default(),
        publisher,
    );
    let gateway = crate::ingest::GrpcGateway::bind(&settings, Arc::new(shared)).unwrap();
    let address = gateway.address().to_string();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving =
        runtime.spawn(gateway.serve(async { drop(stopped.await) }, Duration::from_secs(5)));
    let mut source = Source::new(&args).unwrap();
    let seen = via_grpc::send(&mut source, "events", (&address, &args.door), Mode::Async).unwrap();
    assert_eq!((seen.events, seen.failure), (3_000, None));
    stop.send(()).unwrap();
    runtime.block_on(serving).unwrap().unwrap();
}

#[test]
fn every_compression_and_every_partitioning_writes_and_sync_waits_for_each() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("events", 3).unwrap();
    let brokers = broker.bootstrap_servers();
    for flags in [
        ["--compression", "gzip"],
        ["--compression", "snappy"],
        ["--compression", "lz4"],
        ["--compression", "zstd"],
        ["--partitioning", "round-robin"],
        ["--partitioning", "sticky"],
        ["--mode", "sync"],
        ["--acks", "1"],
        ["--acks", "0"],
    ] {
        let all = [
            &["--brokers", &brokers, "--count", "50", "--bad-share", "0"][..],
            &flags,
        ]
        .concat();
        run(args(&all)).unwrap_or_else(|error| panic!("{flags:?}: {error:#}"));
    }
}

#[test]
fn failures_are_counted_by_cause_and_settings_that_contradict_are_refused() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("events", 3).unwrap();
    let brokers = broker.bootstrap_servers();
    let args = |flags: &[&str]| args(&[&["--brokers", &brokers, "--count", "5"], flags].concat());
    let failing = args(&["--partitioning", "explicit"]);
    let (kafka, producing) = failing.producer.settings(&failing.connection).unwrap();
    let publisher = Publisher::with(&kafka, &producing).unwrap();
    let mut source = Source::new(&failing).unwrap();
    let seen = via_kafka::send(&mut source, "events", &publisher, Mode::Async).unwrap();
    assert_eq!(
        (seen.events, seen.causes),
        (0, [("invalid".to_owned(), 5)].into())
    );
    let refused = run(args(&["--acks", "1", "--idempotence", "true"])).unwrap_err();
    assert!(
        refused.to_string().contains("it needs `acks: all`"),
        "{refused}"
    );
}

#[test]
fn a_topic_that_does_not_exist_is_an_error_that_names_it() {
    let broker = EmbeddedBroker::start().unwrap();
    let error = run(args(&["--brokers", &broker.bootstrap_servers()])).unwrap_err();
    assert!(format!("{error:#}").contains("events"), "{error:#}");
}

#[test]
fn a_pace_is_kept_from_the_start_and_shares_are_checked() {
    let pace = Pace {
        rate: 100.0,
        started: Instant::now(),
        sent: 50,
    };
    assert_eq!(
        pace.due_in(Duration::from_millis(400)),
        Duration::from_millis(100)
    );
    assert_eq!(pace.due_in(Duration::from_millis(600)), Duration::ZERO);
    let unpaced = Pace { rate: 0.0, ..pace };
    assert_eq!(unpaced.due_in(Duration::ZERO), Duration::ZERO);
    Cli::try_parse_from(["millrace", "--topic", "t", "--bad-share", "2"]).unwrap_err();
    assert!(Source::new(&args(&["--bad-share", "0.6", "--duplicate-share", "0.6"])).is_err());
}
