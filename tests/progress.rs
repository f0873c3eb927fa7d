//! A partition that settles nothing is noticed, with its reason, and so is its end.

use std::time::Duration;

use crate::harness::host::Setup;
use crate::harness::kafka;
use crate::harness::topic::Record;
use crate::harness::wait;
use crate::harness::witness::Witness;

/// A stall is one after a minute; the rest is for the events.
const TIMEOUT: Duration = Duration::from_secs(120);

#[test]
fn a_partition_that_waits_for_a_retry_for_over_a_minute_says_so_until_it_goes_on() {
    let witness = Witness::new("stalls", 2);
    let (source, group) = (&witness.source, witness.group.as_str());
    let setup = Setup::new(kafka::shared(), &witness.config(""));
    let host = setup.start();
    let waits = r#"{"do":"retry","times":1,"after-ms":66000}"#;
    source.produce(&[
        Record::new("waits", waits).partition(0),
        Record::new("goes on", "{}").partition(1),
    ]);

    let stalled = |partition: &str, reason: &str| {
        let labels = [
            ("group", group),
            ("partition", partition),
            ("reason", reason),
        ];
        host.metrics().sum("millrace_partition_stalled", &labels)
    };
    wait::eventually("a stall", TIMEOUT, || stalled("0", "parked") == 1.0);
    let (status, said) = host.get("/readyz?verbose").expect("it is served");
    assert_eq!(status, 200, "{said}");
    let why = format!("{}[0] has settled nothing for 6", source.name());
    assert!(said.contains(&why), "{said}");
    assert!(
        said.contains("1 events wait for a retry, or behind one; the next is due in"),
        "{said}"
    );

    source.wait_for_no_lag(group, TIMEOUT);
    wait::eventually("its end", TIMEOUT, || stalled("0", "parked") == 0.0);
    let (_, said) = host.get("/readyz?verbose").expect("it is served");
    assert!(!said.contains("settled nothing"), "{said}");
    for reason in ["parked", "unknown", "paused", "full", "broker"] {
        assert_eq!(stalled("1", reason), 0.0, "the other partition had no work");
    }
    let log = host.sigterm().expect_code(0).log();
    let lines = |part: &str| {
        let said = |line: &&serde_json::Value| {
            line["message"]
                .as_str()
                .is_some_and(|said| said.contains(part))
        };
        log.iter().filter(said).count()
    };
    assert_eq!(lines("a partition settles nothing"), 1);
    assert_eq!(lines("the partition settles again"), 1);
}
