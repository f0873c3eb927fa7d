//! Ids that come again: what deduplication catches, and what it does not promise to.

use super::TIMEOUT;
use crate::harness::host::Setup;
use crate::harness::kafka;
use crate::harness::main_flow::summary;
use crate::harness::topic::{Record, recent_ms};
use crate::harness::witness::Witness;

const DEDUP: &str = "    dedup: { id: \"header:id\", window: 24h }\n";

fn event(key: &str, partition: i32, id: &str) -> Record {
    Record::new(key, "{}")
        .partition(partition)
        .header("id", id)
        .timestamp_ms(recent_ms())
}

#[test]
fn the_first_of_two_events_with_one_id_wins_whatever_they_say() {
    let witness = Witness::new("sameid", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    let setup = Setup::new(kafka::shared(), &witness.config(DEDUP));
    let malformed = Record::new("a", "bad").header("id", "1");
    source.produce(&[event("a", 0, "1"), malformed, event("a", 0, "2")]);
    let host = setup.start();
    source.wait_for_no_lag(group, TIMEOUT);

    let exit = host.sigterm().expect_code(0);
    let all = summary(&exit, group);
    assert_eq!(
        (all["processed"], all["duplicate"], all["dead"]),
        (2, 1, 0),
        "{all:?}"
    );
    assert_eq!(witness.places(&setup), [(0, 0), (0, 2)]);
}

/// The scope is one partition and one key. The rest is stated here, so that nobody believes in more.
#[test]
fn an_id_is_known_in_its_partition_across_restarts_and_not_in_another_partition() {
    let witness = Witness::new("scope", 2);
    let (source, group) = (&witness.source, witness.group.as_str());
    let setup = Setup::new(kafka::shared(), &witness.config(DEDUP));
    source.produce(&[event("a", 0, "1"), event("a", 0, "1"), event("a", 1, "1")]);
    let host = setup.start();
    source.wait_for_no_lag(group, TIMEOUT);
    let exit = host.sigterm().expect_code(0);
    let first = summary(&exit, group);
    assert_eq!(
        (first["processed"], first["duplicate"]),
        (2, 1),
        "not caught: another partition"
    );

    // A restart in order, and one after a kill without its store: the topic itself is the memory.
    for lost_store in [false, true] {
        source.produce(&[event("a", 0, "1"), event("a", 1, "1")]);
        if lost_store {
            let store = setup.folder().join("store");
            std::fs::remove_dir_all(store).expect("it is there");
        }
        let host = setup.start();
        source.wait_for_no_lag(group, TIMEOUT);
        let exit = host.sigterm().expect_code(0);
        let later = summary(&exit, group);
        assert_eq!(
            (later["processed"], later["duplicate"]),
            (0, 2),
            "{later:?}"
        );
    }
}

#[test]
fn a_record_from_1970_and_one_from_2100_do_not_empty_the_window() {
    let witness = Witness::new("odd-times", 1);
    let any_time = [("message.timestamp.after.max.ms", "9223372036854775807")];
    let source = crate::harness::topic::Topic::create_with(
        kafka::shared(),
        &crate::harness::topic::unique("odd-times.any"),
        1,
        &any_time,
    );
    let group = witness.group.as_str();
    let config = witness.config(DEDUP);
    let config = config.replace(
        &format!("routes: {{ {}:", witness.source.name()),
        &format!("routes: {{ {}:", source.name()),
    );
    let setup = Setup::new(kafka::shared(), &config);
    // One key, so that all are on one lane.
    source.produce(&[
        event("a", 0, "1"),
        event("a", 0, "old").timestamp_ms(1),
        event("a", 0, "ahead").timestamp_ms(4_102_444_800_000),
        event("a", 0, "1"),
        event("a", 0, "old"),
        event("a", 0, "ahead"),
    ]);
    let host = setup.start();
    source.wait_for_no_lag(group, TIMEOUT);

    let exit = host.sigterm().expect_code(0);
    let all = summary(&exit, group);
    assert_eq!((all["processed"], all["duplicate"]), (3, 3), "{all:?}");
}
