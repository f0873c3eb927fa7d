//! What a record may look like: null, empty, invalid, large, with headers that are no text.

use std::collections::{BTreeMap, BTreeSet};

use super::{TIMEOUT, wait_for_metric, wait_for_reason};
use crate::harness::host::Setup;
use crate::harness::kafka;
use crate::harness::raw::{self, Raw};
use crate::harness::topic::{Record, Topic, recent_ms, unique};
use crate::harness::topic_admin;
use crate::harness::wait;
use crate::harness::witness::Witness;

/// The headers that the record had.
fn own_headers(letter: &Raw) -> Vec<raw::Header> {
    let mut headers = letter.headers.clone();
    headers.retain(|(name, _)| !name.starts_with(b"millrace.dlq."));
    headers
}

/// Checks that the dead letters are these records byte for byte, each once.
#[track_caller]
fn assert_kept(letters: &[Raw], records: &[Raw]) {
    let offset = |letter: &Raw| {
        letter
            .text("millrace.dlq.origin.offset")
            .expect("an origin")
    };
    let by_offset: BTreeMap<usize, &Raw> = letters
        .iter()
        .map(|letter| (offset(letter).parse().expect("a number"), letter))
        .collect();
    assert_eq!(
        (letters.len(), by_offset.len()),
        (records.len(), records.len())
    );
    for (at, record) in records.iter().enumerate() {
        let letter = by_offset[&at];
        assert_eq!(letter.key, record.key, "key of {at}");
        assert_eq!(letter.value, record.value, "value of {at}");
        assert_eq!(letter.timestamp_ms, record.timestamp_ms, "time of {at}");
        assert_eq!(own_headers(letter), record.headers, "headers of {at}");
    }
}

#[test]
fn a_dead_letter_is_its_record_byte_for_byte_whatever_its_form() {
    let witness = Witness::new("forms", 1);
    let now_ms = recent_ms();
    let many = (0..1_000_u32).fold(Raw::new(Some(b"many"), Some(b"?"), now_ms), |raw, n| {
        raw.header(format!("h{}", n % 7).as_bytes(), Some(&n.to_le_bytes()))
    });
    let records = [
        Raw::new(Some(b"k"), Some(b"{not json"), now_ms),
        Raw::new(Some(b"k"), Some(b"\xff\xfe\x00\x80"), now_ms + 1),
        Raw::new(Some(b"k"), Some(b""), now_ms + 2),
        Raw::new(Some(b"k"), None, now_ms + 3),
        Raw::new(None, Some(b"no key"), now_ms + 4),
        Raw::new(None, None, now_ms + 5),
        Raw::new(Some(b""), Some(b""), now_ms + 6),
        Raw::new(Some(b"\x00\xff"), Some(b"?"), now_ms - 1_000),
        Raw::new(Some(b"k"), Some(b"?"), now_ms)
            .header(b"\xff\xfe name", Some(b"\x80\x00\xff"))
            .header("na\u{ef}ve".as_bytes(), Some(b"text"))
            .header(b"\xc3", Some(b"a torn character"))
            .header(b"twice", Some(b"1"))
            .header(b"twice", None)
            .header(b"twice", Some(b"1"))
            .header(b"", Some(b"no name"))
            .header(b"empty", Some(b"")),
        many,
    ];
    raw::produce(&witness.source, &records);
    let host = Setup::new(kafka::shared(), &witness.config("")).start();

    witness.source.wait_for_no_lag(&witness.group, TIMEOUT);

    host.metrics().assert_ledger_balanced(&witness.group);
    host.sigterm().expect_code(0);
    assert_kept(&raw::read_all(&witness.dead_letters), &records);
}

/// A configuration over topics of the test's own.
fn config(witness: &Witness, dead_letters: &Topic) -> String {
    let own = witness.dead_letters.name();
    witness.config("").replace(own, dead_letters.name())
}

/// The largest value that a broker takes for a record without headers into a topic of this limit: what the
/// format adds is found by trying.
fn largest_value(topic: &Topic, limit: usize) -> Vec<u8> {
    let fits = |len: usize| {
        let record = Raw::new(Some(b"k"), Some(&vec![b'?'; len]), recent_ms());
        raw::is_taken(topic, &record)
    };
    // What the format adds is somewhere between 50 and 200 bytes; each try costs a client of its own.
    let (mut fits_at, mut too_long) = (limit - 200, limit);
    while too_long - fits_at > 1 {
        let middle = usize::midpoint(fits_at, too_long);
        if fits(middle) {
            fits_at = middle;
        } else {
            too_long = middle;
        }
    }
    vec![b'?'; fits_at]
}

#[test]
fn a_dead_letter_of_the_largest_record_sheds_its_added_headers_rather_than_wait() {
    const LIMIT: usize = 10_000;
    let witness = Witness::new("largest", 1);
    let limit = LIMIT.to_string();
    let limited = |hint: &str| {
        let limit = [("max.message.bytes", limit.as_str())];
        Topic::create_with(kafka::shared(), &unique(hint), 1, &limit)
    };
    let dead_letters = limited("largest.limited.dlq");
    let largest = largest_value(&limited("largest.probe"), LIMIT);
    // As large as its dead letter may be, and less: with room for all headers, and for none.
    let records: Vec<Raw> = [largest.len(), largest.len() - 100, LIMIT - 2_000]
        .into_iter()
        .map(|len| Raw::new(Some(b"k"), Some(&largest[..len]), recent_ms()))
        .collect();
    raw::produce(&witness.source, &records);
    let host = Setup::new(kafka::shared(), &config(&witness, &dead_letters)).start();

    witness.source.wait_for_no_lag(&witness.group, TIMEOUT);

    host.sigterm().expect_code(0);
    let letters = raw::read_all(&dead_letters);
    let kept: Vec<_> = letters.iter().map(|letter| &letter.value).collect();
    let sent: Vec<_> = records.iter().map(|record| &record.value).collect();
    assert_eq!(kept, sent);
    assert_eq!(letters[0].headers, [], "there is room for none");
    assert!(
        letters[1]
            .text("millrace.dlq.origin.offset")
            .is_none_or(|at| at == "1")
    );
    assert_eq!(
        letters[2].text("millrace.dlq.cause").as_deref(),
        Some("reject")
    );
}

#[test]
fn a_dead_letter_that_its_topic_never_takes_is_waited_for_and_small_ones_get_through() {
    let witness = Witness::new("toolarge", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    let limit = [("max.message.bytes", "3000")];
    let dead_letters = Topic::create_with(kafka::shared(), &unique("toolarge.dlq"), 1, &limit);
    // Far more than one batch of the limited topic: a batch is refused as a whole, and none of these is to
    // blame for it.
    let small = |n: usize| Record::new(format!("k{n}"), format!("small {n}"));
    let mut records: Vec<Record> = (0..100).map(small).collect();
    records.push(Record::new("big", vec![b'?'; 5_000]));
    records.extend((100..200).map(small));
    source.produce(&records);
    let host = Setup::new(kafka::shared(), &config(&witness, &dead_letters)).start();

    let (status, _) = wait_for_reason(&host, &[dead_letters.name(), "larger than the topic takes"]);
    assert_eq!(status, 200, "another host would wait for the same");
    wait_for_metric(&host, "millrace_refused_records", group, |n| n == 1.0);
    let values = || -> BTreeSet<_> {
        let letters = raw::read_all(&dead_letters).into_iter();
        letters.map(|letter| letter.value).collect()
    };
    wait::eventually("all small ones", TIMEOUT, || values().len() == 200);
    assert!(
        source.committed(group).get(&0).is_none_or(|at| *at <= 100),
        "not past it"
    );
    topic_admin::configure(&dead_letters, "max.message.bytes", "100000");
    source.wait_for_no_lag(group, TIMEOUT);
    wait_for_metric(&host, "millrace_refused_records", group, |n| n == 0.0);

    host.metrics().assert_ledger_balanced(group);
    host.sigterm().expect_code(0);
    assert_eq!(values().len(), 201);
}
