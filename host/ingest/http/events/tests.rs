//! Every form of events that a body can have.

use axum::http::HeaderName;

use super::*;
use crate::config::CloudEventsMode;

const BINARY: CloudEventsIngest = CloudEventsIngest {
    mode: CloudEventsMode::Binary,
    key: None,
};

fn keyed(mode: CloudEventsMode) -> CloudEventsIngest {
    CloudEventsIngest {
        mode,
        key: Some("partitionkey".to_owned()),
    }
}

/// Key, value and headers of an event, or what is wrong with it.
type One = Result<(Option<String>, Option<String>, Vec<(String, String)>), String>;

type Shown = Vec<One>;

fn read(
    content: Content,
    query: &str,
    pairs: &[(&'static str, &'static str)],
    body: &str,
    settings: &CloudEventsIngest,
) -> Shown {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(HeaderName::from_static(name), value.parse().unwrap());
    }
    let stated = Stated::read(Some(query), &headers).unwrap();
    let events = Events::read(content, &stated, &headers, body.as_bytes(), settings).unwrap();
    let expected = events.len();
    let text = |bytes: Cow<'_, [u8]>| String::from_utf8_lossy(&bytes).into_owned();
    let shown: Shown = events
        .map(|event| {
            event.map(|event| {
                let headers = event.headers.into_iter();
                let header = |(name, value): (Cow<'_, str>, Option<Cow<'_, [u8]>>)| {
                    (name.into_owned(), value.map_or("(null)".into(), text))
                };
                (
                    event.key.map(text),
                    event.value.map(text),
                    headers.map(header).collect(),
                )
            })
        })
        .collect();
    assert_eq!(shown.len(), expected, "as many come as were announced");
    shown
}

fn plain(value: &str) -> One {
    Ok((None, Some(value.to_owned()), Vec::new()))
}

#[test]
fn a_line_is_an_event_and_a_bad_one_harms_only_itself() {
    let body = "{\"a\":1}\r\n\n  \"x\" \nbroken\n[1]";
    let shown = read(Content::Lines { enveloped: false }, "", &[], body, &BINARY);
    assert_eq!(shown.len(), 4);
    assert_eq!(shown[0], plain("{\"a\":1}"));
    assert_eq!(shown[1], plain("\"x\""));
    assert!(shown[2].as_ref().unwrap_err().contains("no JSON"));
    assert_eq!(shown[3], plain("[1]"));
    assert!(
        read(
            Content::Lines { enveloped: false },
            "",
            &[],
            "\n\n",
            &BINARY
        )
        .is_empty()
    );
}

#[test]
fn an_envelope_gives_each_event_its_own() {
    let body = [
        r#"{"key":"k\"1","value":{"a": 1},"headers":{"h":"1","h":null,"i":"2"},"partition":2,"timestamp_ms":5}"#,
        r#"{"key_base64":"/w==","value":null}"#,
        r#"{"value_base64":"YWI="}"#,
        r#"{"key":"a"}"#,
        r#"{"value":1,"value_base64":""}"#,
        r#"{"key":"a","key_base64":"","value":1}"#,
        r#"{"value":1,"valeu":2}"#,
        r#"{"value_base64":"%"}"#,
        r#"{"value":1,"headers":{"h":1}}"#,
    ]
    .join("\n");
    let content = Content::Lines { enveloped: true };
    let shown = read(
        content,
        "envelope=true&key=all",
        &[("kafka-header-t", "x")],
        &body,
        &BINARY,
    );
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let (key, value, headers) = shown[0].clone().unwrap();
    assert_eq!(
        (key.as_deref(), value.as_deref()),
        (Some("k\"1"), Some("{\"a\": 1}"))
    );
    assert_eq!(
        headers,
        [
            header("h", "1"),
            header("h", "(null)"),
            header("i", "2"),
            header("t", "x")
        ]
    );
    assert_eq!(shown[1].as_ref().unwrap().1, None, "null is a tombstone");
    let (key, value, _) = shown[2].clone().unwrap();
    assert_eq!(
        (key.as_deref(), value.as_deref()),
        (Some("all"), Some("ab"))
    );
    for (event, named) in shown[3..].iter().zip([
        "needs either `value`",
        "needs either `value`",
        "`key` and `key_base64`",
        "`valeu`",
        "`value_base64` is no base64",
        "no envelope",
    ]) {
        let message = event.as_ref().unwrap_err();
        assert!(message.contains(named), "{message}");
    }
}

#[test]
fn json_is_held_to_its_announcement_and_bytes_are_not() {
    let shown = read(Content::Value { is_json: true }, "", &[], "{", &BINARY);
    assert!(shown[0].as_ref().unwrap_err().contains("no JSON"));
    let shown = read(Content::Value { is_json: false }, "", &[], "{", &BINARY);
    assert_eq!(shown, [plain("{")]);
}

const ATTRIBUTES: [(&str, &str); 5] = [
    ("ce-specversion", "1.0"),
    ("ce-id", "a%20b%C3%BC"),
    ("ce-source", "\"/s\\\"q\""),
    ("ce-type", "t"),
    ("ce-partitionkey", "p1"),
];

#[test]
fn a_cloudevent_in_headers_becomes_a_record_in_the_mode_that_is_set() {
    let mut pairs = ATTRIBUTES.to_vec();
    pairs.push(("content-type", "application/json"));
    let shown = read(
        Content::CloudEvent,
        "",
        &pairs,
        "{\"a\":1}",
        &keyed(CloudEventsMode::Binary),
    );
    let (key, value, headers) = shown[0].clone().unwrap();
    assert_eq!(
        (key.as_deref(), value.as_deref()),
        (Some("p1"), Some("{\"a\":1}"))
    );
    let find = |name: &str| {
        headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    };
    assert_eq!(find("ce_id"), Some("a b\u{fc}"));
    assert_eq!(find("ce_source"), Some("/s\"q"));
    assert_eq!(
        find("ce_partitionkey"),
        Some("p1"),
        "the mapping takes nothing away"
    );
    assert_eq!(find("content-type"), Some("application/json"));

    let shown = read(
        Content::CloudEvent,
        "",
        &pairs,
        "{\"a\":1}",
        &keyed(CloudEventsMode::Structured),
    );
    let (key, value, headers) = shown[0].clone().unwrap();
    assert_eq!(key.as_deref(), Some("p1"));
    assert_eq!(
        headers,
        [(
            "content-type".to_owned(),
            cloudevents::STRUCTURED.to_owned()
        )]
    );
    let value = value.unwrap();
    let event = cloudevents::read(value.as_bytes()).unwrap();
    assert_eq!(event.attribute("id"), Some("a b\u{fc}"));
    assert_eq!(event.data.as_deref(), Some(&b"{\"a\":1}"[..]));
}

#[test]
fn the_key_of_the_request_wins_and_without_the_mapper_there_is_none() {
    let shown = read(Content::CloudEvent, "key=mine", &ATTRIBUTES, "", &BINARY);
    assert_eq!(shown[0].as_ref().unwrap().0.as_deref(), Some("mine"));
    let shown = read(
        Content::CloudEvent,
        "key=mine",
        &ATTRIBUTES,
        "",
        &keyed(CloudEventsMode::Binary),
    );
    assert_eq!(shown[0].as_ref().unwrap().0.as_deref(), Some("mine"));
    let shown = read(Content::CloudEvent, "", &ATTRIBUTES, "", &BINARY);
    let (key, value, _) = shown[0].clone().unwrap();
    assert_eq!((key, value), (None, None), "no data is no value");
}

#[test]
fn a_broken_cloudevent_is_named() {
    for (broken, named) in [
        (("ce-id", "%ff"), "`ce-id` is no UTF-8"),
        (("ce-my-ext", "1"), "\"my-ext\""),
        (("ce-datacontenttype", "text/plain"), "`Content-Type`"),
        (("ce-specversion", "0.3"), "\"0.3\""),
    ] {
        let others = ATTRIBUTES.into_iter().filter(|(name, _)| *name != broken.0);
        let pairs: Vec<_> = others.chain([broken]).collect();
        let shown = read(Content::CloudEvent, "", &pairs, "", &BINARY);
        let message = shown[0].as_ref().unwrap_err();
        assert!(message.contains(named), "{message}");
    }
}

#[test]
fn structured_events_are_split_or_kept_as_they_came() {
    let event = |id: u32| {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t","partitionkey":"p{id}","data":[1, 2]}}"#
        )
    };
    let body = format!("[{},{{}},{}]", event(1), event(2));
    let shown = read(
        Content::Batch,
        "",
        &[],
        &body,
        &keyed(CloudEventsMode::Binary),
    );
    let (key, value, headers) = shown[2].clone().unwrap();
    assert_eq!(
        (key.as_deref(), value.as_deref()),
        (Some("p2"), Some("[1, 2]"))
    );
    assert!(headers.contains(&("ce_id".to_owned(), "2".to_owned())));
    assert!(headers.contains(&("content-type".to_owned(), "application/json".to_owned())));
    assert!(shown[1].as_ref().unwrap_err().contains("no `specversion`"));
    let shown = read(
        Content::Batch,
        "",
        &[],
        &body,
        &keyed(CloudEventsMode::Structured),
    );
    assert_eq!(
        shown[0].as_ref().unwrap().1.as_deref(),
        Some(&*event(1)),
        "byte for byte"
    );
    let shown = read(Content::Structured, "", &[], &event(3), &BINARY);
    assert_eq!(shown[0].as_ref().unwrap().1.as_deref(), Some("[1, 2]"));
}
