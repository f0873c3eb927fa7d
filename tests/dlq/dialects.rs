//! Dead letters that other systems have written.

use super::{Graveyard, ask};
use crate::harness::topic::Record;

#[test]
fn dead_letters_of_spring_connect_and_streams_go_back_without_what_those_wrote() {
    let yard = Graveyard::new("foreign", 3);
    let source = yard.source.name();
    let begun = |key: &str| {
        Record::new(key, "{}")
            .header("trace", "x")
            .null_header("empty")
    };
    yard.letters.produce(&[
        begun("spring")
            .header("kafka_dlt-original-topic", source)
            .header("kafka_dlt-original-partition", 2_i32.to_be_bytes())
            .header("kafka_dlt-original-offset", 77_i64.to_be_bytes())
            .header("kafka_dlt-original-timestamp", 5_i64.to_be_bytes())
            .header("kafka_dlt-original-timestamp-type", "CreateTime")
            .header("kafka_dlt-exception-fqcn", "java.lang.IllegalState")
            .header("kafka_dlt-exception-message", "order 1 is closed")
            .header("retry_topic-attempts", 3_i32.to_be_bytes()),
        begun("connect")
            .header("__connect.errors.topic", source)
            .header("__connect.errors.partition", "1")
            .header("__connect.errors.offset", "5")
            .header("__connect.errors.connector.name", "sink")
            .header("__connect.errors.exception.class.name", "org.DataException")
            .header("__connect.errors.exception.message", "no field 12"),
        begun("streams")
            .header("__streams.errors.topic", source)
            .header("__streams.errors.partition", "0")
            .header("__streams.errors.offset", "9")
            .header("__streams.errors.exception", "org.StreamsException")
            .header("__streams.errors.message", "bad"),
    ]);
    let causes = |clusters: &serde_json::Value| {
        let clusters = clusters["clusters"].as_array().expect("a list").iter();
        let cause = |it: &serde_json::Value| it["cause"].as_str().expect("a text").to_owned();
        let mut causes: Vec<String> = clusters.map(cause).collect();
        causes.sort_unstable();
        causes
    };
    assert_eq!(
        causes(&ask(&["clusters", yard.name()])),
        [
            "java.lang.IllegalState",
            "org.DataException",
            "org.StreamsException"
        ]
    );
    let done = ask(&["redrive", yard.name(), "--source", source]);
    assert_eq!(done["redriven"], 3, "{done}");
    let records = yard.source.read_all();
    let places: Vec<(i32, Option<&[u8]>)> = records
        .iter()
        .map(|record| (record.partition, record.key.as_deref()))
        .collect();
    let expected: [(i32, &[u8]); 3] = [(0, b"streams"), (1, b"connect"), (2, b"spring")];
    assert_eq!(places, expected.map(|(at, key)| (at, Some(key))));
    for record in &records {
        let mut left = record.headers.clone();
        left.retain(|(name, _)| {
            !name.starts_with("millrace.dlq.origin.") && name != "millrace.dlq.redrive-of"
        });
        let expected = [
            ("trace", Some(b"x".to_vec())),
            ("empty", None),
            ("millrace.dlq.redrives", Some(b"1".to_vec())),
        ];
        assert_eq!(left, expected.map(|(name, value)| (name.to_owned(), value)));
        assert_eq!(record.header("millrace.dlq.origin.topic"), Some(source));
    }
}
