//! What a handler answers is its acknowledgement, and the commit follows it.

use super::TIMEOUT;
use crate::harness::host::Setup;
use crate::harness::kafka;
use crate::harness::topic::Record;
use crate::harness::wait;
use crate::harness::witness::Witness;

#[test]
fn the_commit_follows_what_a_handler_answers_and_never_passes_an_event_that_it_has_not_acknowledged()
 {
    let witness = Witness::new("outcomes", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    let setup = Setup::new(kafka::shared(), &witness.config(""));
    source.produce(&[
        Record::new("not yet", r#"{"do":"retry","times":2,"after-ms":800}"#),
        Record::new("other", "{}"),
        Record::new("rejected", "no JSON"),
        Record::new("another", "{}"),
    ]);
    let host = setup.start();
    wait::eventually("everything acknowledged", TIMEOUT, || {
        // In this order: what is committed now was acknowledged before.
        let committed = source.committed(group).get(&0).copied().unwrap_or(0);
        let acknowledged = witness.places(&setup).contains(&(0, 0));
        assert!(
            committed == 0 || acknowledged,
            "the commit passed an event that the handler had not acknowledged"
        );
        committed == 4
    });
    host.sigterm().expect_code(0);
    let order: Vec<_> = witness
        .lines(&setup)
        .iter()
        .map(|line| line["offset"].clone())
        .collect();
    assert_eq!(order, [1, 3, 0], "the others were acknowledged above it");
    assert_eq!(witness.dead_letters.read_all().len(), 1);
}
