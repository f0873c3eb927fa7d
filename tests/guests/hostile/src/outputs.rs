//! Attacks by what is returned: outputs that are too many, too large, or that no broker takes.

use millrace_sdk::{Output, config};

/// Far in the future, as microseconds would be.
const MICROSECONDS: i64 = 1_700_000_000_000_000;

/// The outputs of a deed, where it is one of these.
pub(crate) fn of(deed: &str, n: Option<u64>) -> Option<Vec<Output>> {
    let to = config::get("output").unwrap_or_default();
    let output = || Output::new(to.as_str(), "made");
    let with_header = |name: &str, bytes: usize| Output {
        headers: vec![(name.to_owned(), Some(vec![b'x'; bytes]))],
        ..output()
    };
    let to_topic = |topic: &str| Output::new(topic, "made");
    let outputs = match deed {
        "output" => vec![output()],
        "output-often" => vec![Output::new(to.as_str(), vec![b'x'; 900_000]); 4],
        "output-flood" => vec![output(); n.unwrap_or(100_000) as usize],
        "output-huge" => vec![Output::new(
            to.as_str(),
            vec![b'x'; n.unwrap_or(20 << 20) as usize],
        )],
        "output-large" => vec![Output::new(
            to.as_str(),
            vec![b'x'; n.unwrap_or(2 << 20) as usize],
        )],
        "output-forbidden" => vec![to_topic("nobody-granted-this")],
        "output-bad-topic" => vec![to_topic("no topic/at all")],
        "output-nul-topic" => vec![to_topic(&format!("{to}\0"))],
        "output-long-topic" => vec![to_topic(&to.repeat(1_000))],
        "output-nul-header" => vec![with_header("na\0me", 1)],
        "output-no-header-name" => vec![with_header("", 1)],
        "output-huge-header" => vec![with_header("large", n.unwrap_or(1 << 20) as usize)],
        "output-many-headers" => vec![Output {
            headers: vec![("h".to_owned(), None); n.unwrap_or(400_000) as usize],
            ..output()
        }],
        "output-partition" => vec![Output {
            partition: Some(i32::MAX),
            ..output()
        }],
        "output-future" => vec![Output {
            timestamp_ms: Some(MICROSECONDS),
            ..output()
        }],
        "output-past" => vec![Output {
            timestamp_ms: Some(-2),
            ..output()
        }],
        _ => return None,
    };
    Some(outputs)
}
