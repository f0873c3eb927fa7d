//! Where events go that fail: the topics that the host makes for them, and what a dead letter says to the
//! tools of other systems.

use std::time::Duration;

use crate::harness::host::Setup;
use crate::harness::kafka;
use crate::harness::main_flow::plugin;
use crate::harness::topic::{Record, Stored, Topic, recent_ms, unique};
use crate::harness::wait;
use crate::harness::witness::Witness;

const TIMEOUT: Duration = Duration::from_secs(60);

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// The bytes of the only header of this name.
fn bytes<'s>(letter: &'s Stored, name: &str) -> &'s [u8] {
    let mut found = letter.headers.iter().filter(|(each, _)| each == name);
    let (_, value) = found.next().unwrap_or_else(|| panic!("there is no {name}"));
    assert!(found.next().is_none(), "{name} stands more than once");
    value.as_deref().expect("it is not null")
}

#[test]
fn topics_for_retries_and_dead_letters_are_made_as_the_configuration_says() {
    let source = Topic::create(kafka::shared(), "made", 3);
    let group = unique("made");
    let setup = Setup::new(
        kafka::shared(),
        &format!(
            "plugins:\n  audit: {{ path: {}, grants: [journal], journal: {{ path: audit.log }} }}\n\
             groups:\n  - id: {group}\n    routes: {{ {}: audit }}\n    store: store\n    \
             retry: {{ mode: topic, retention: 3d }}\n    \
             dead_letter: {{ partitions: 2, retention: 30d }}\n",
            plugin("audit"),
            source.name(),
        ),
    );
    let made = |name: String| Topic::named(kafka::shared(), &name);
    setup.start().sigterm().expect_code(0);
    let retry = made(format!("{}.{group}.retry", source.name()));
    assert_eq!(retry.partition_count(), 3, "as many as its source");
    let retention = |days: u64| Some((days * DAY_MS).to_string());
    assert_eq!(retry.setting("retention.ms"), retention(3));
    let letters = made(format!("{group}.dlq"));
    assert_eq!(letters.partition_count(), 2);
    assert_eq!(letters.setting("retention.ms"), retention(30));
    // What is there is taken as it is.
    setup.start().sigterm().expect_code(0);
}

#[test]
fn a_dead_letter_tells_tools_of_spring_where_it_came_from_and_where_the_plugin_trapped() {
    let witness = Witness::new("spring", 1);
    let topic = format!("topic: {}", witness.dead_letters.name());
    let config = witness
        .config("    retry: { attempts: 2, backoff: { initial: 1ms } }\n")
        .replace(&topic, &format!("{topic}, headers: spring"));
    let setup = Setup::new(kafka::shared(), &config);
    let time_ms = recent_ms();
    witness.source.produce(&[
        Record::new("good", "{}"),
        Record::new("bad", r#"{"do":"trap"}"#).timestamp_ms(time_ms),
    ]);
    let host = setup.start();
    witness.source.wait_for_no_lag(&witness.group, TIMEOUT);
    host.sigterm().expect_code(0);
    let letter = wait::eventually_some("a dead letter", TIMEOUT, || {
        let mut letters = witness.dead_letters.read_all();
        letters.pop().ok_or("there was none")
    });
    let spring = |name: &str| bytes(&letter, &format!("kafka_dlt-{name}"));
    assert_eq!(spring("original-topic"), witness.source.name().as_bytes());
    assert_eq!(spring("original-partition"), 0_i32.to_be_bytes());
    assert_eq!(spring("original-offset"), 1_i64.to_be_bytes());
    assert_eq!(spring("original-timestamp"), time_ms.to_be_bytes());
    assert_eq!(spring("original-consumer-group"), witness.group.as_bytes());
    assert_eq!(spring("exception-fqcn"), b"millrace.trap");
    let trace = String::from_utf8_lossy(spring("exception-stacktrace"));
    assert!(trace.contains("\n\tat witness::"), "{trace}");
    let signature = letter.header("millrace.dlq.signature");
    let signature = signature.expect("it is there beside");
    assert!(
        signature.contains(":trap:UnreachableCodeReached:witness::"),
        "{signature}"
    );
    eprintln!("dead letters: {signature}\n{trace}");
}
