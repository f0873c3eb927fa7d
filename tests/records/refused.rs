//! A dead-letter topic that is gone, or closed: its events wait, and go on when it is there again.

use super::{TIMEOUT, wait_for_metric, wait_for_reason};
use crate::harness::host::Setup;
use crate::harness::kafka;
use crate::harness::topic::{Record, Topic};
use crate::harness::topic_admin;
use crate::harness::witness::Witness;

#[test]
fn a_dead_letter_topic_deleted_while_running_is_waited_for_and_nothing_is_committed_past_it() {
    let witness = Witness::new("gone", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    let host = Setup::new(kafka::shared(), &witness.config("")).start();
    // Its dead letters have gone through once, so the producer knows the topic.
    source.produce(&[Record::new("a", "bad")]);
    source.wait_for_no_lag(group, TIMEOUT);
    topic_admin::delete(&witness.dead_letters);

    source.produce(&[
        Record::new("a", "{}"),
        Record::new("a", "bad"),
        Record::new("a", "{}"),
    ]);
    wait_for_reason(&host, &[witness.dead_letters.name(), group]);
    wait_for_metric(&host, "millrace_refused_records", group, |n| n == 1.0);
    assert!(source.committed(group)[&0] <= 2, "not past the dead letter");
    let again = Topic::create_with(kafka::shared(), witness.dead_letters.name(), 1, &[]);
    source.wait_for_no_lag(group, TIMEOUT);

    wait_for_metric(&host, "millrace_refused_records", group, |n| n == 0.0);
    host.metrics().assert_ledger_balanced(group);
    let (_, health) = host.get("/readyz?verbose").expect("it is served");
    assert!(!health.contains("waiting"), "{health}");
    host.sigterm().expect_code(0);
    let letters = again.read_all();
    assert!(!letters.is_empty(), "it is there");
    for letter in &letters {
        assert_eq!(letter.header("millrace.dlq.origin.offset"), Some("2"));
    }
}
