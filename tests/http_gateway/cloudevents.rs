//! CloudEvents that the official SDK of another language wrote, through the gateway or straight into Kafka, and read
//! again from the records.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::start;
use crate::harness::host::Setup;
use crate::harness::http::publish;
use crate::harness::main_flow::guest;
use crate::harness::topic::{Record, Stored, Topic, unique};
use crate::harness::{kafka, process, toolchains, wait};

/// The SDK, in a process that answers line by line.
struct Sdk {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// A message as the SDK wrote it.
struct Message {
    headers: BTreeMap<String, String>,
    key: Option<Vec<u8>>,
    body: Vec<u8>,
}

impl Sdk {
    fn start() -> Self {
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/cloudevents_peer.py");
        let mut command = process::tethered(toolchains::client("python3"));
        command
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = process::spawn(command).expect("python3 can be started");
        Self {
            orders: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    #[track_caller]
    fn ask(&mut self, order: &Value) -> Value {
        writeln!(self.orders, "{order}").expect("the SDK listens");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the SDK answers");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{order}: {line}: {error}"))
    }

    #[track_caller]
    fn write(&mut self, over: &str, mode: &str, event: &Value) -> Message {
        let order = json!({
            "do": "write", "over": over, "mode": mode,
            "attributes": event["attributes"], "data": event["data"],
        });
        let answer = self.ask(&order);
        let bytes = |name: &str| {
            answer[name]
                .as_str()
                .map(|text| STANDARD.decode(text).unwrap())
        };
        Message {
            headers: serde_json::from_value(answer["headers"].clone()).unwrap(),
            key: bytes("key"),
            body: bytes("body").unwrap(),
        }
    }

    /// What the SDK makes of a record.
    #[track_caller]
    fn read(&mut self, record: &Stored) -> Value {
        let text = |value: &Option<Vec<u8>>| String::from_utf8(value.clone().unwrap()).unwrap();
        let headers = record.headers.iter();
        let headers: BTreeMap<&str, String> = headers
            .map(|(name, value)| (name.as_str(), text(value)))
            .collect();
        self.ask(&json!({
            "do": "read", "headers": headers,
            "key": record.key.as_ref().map(|key| STANDARD.encode(key)),
            "body": record.value.as_ref().map(|value| STANDARD.encode(value)),
        }))
    }
}

impl Drop for Sdk {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Events of every kind of data, and with what is hard to carry.
fn events() -> Vec<Value> {
    let event = |id: &str, more: Value, data: Value| {
        let mut attributes = json!({
            "specversion": "1.0", "id": id, "source": "https://example.com/caf\u{e9}?q=%25",
            "type": "com.example.made", "time": "2026-11-29T12:00:00.123456+00:00",
            "subject": "a \"quoted\" subject", "partitionkey": format!("key-{id}"), "myext": "1",
        });
        for (name, value) in more.as_object().unwrap() {
            attributes[name] = value.clone();
        }
        json!({"attributes": attributes, "data": data})
    };
    vec![
        event(
            "json",
            json!({"datacontenttype": "application/json"}),
            json!({"a": [1, "\u{fc}"]}),
        ),
        event(
            "text",
            json!({"datacontenttype": "text/plain; charset=utf-8"}),
            json!("line\n\"\u{fc}\""),
        ),
        event(
            "bytes",
            json!({"datacontenttype": "image/png"}),
            json!({"base64": "iVBORwD/"}),
        ),
        event(
            "vendor",
            json!({"datacontenttype": "application/vnd.x+json"}),
            json!({"b": null}),
        ),
    ]
}

/// Attributes and data as they compare: the SDK reads text of an unknown media type as bytes or as text, by its mode.
fn comparable(event: &Value) -> (Value, Vec<u8>) {
    let data = match &event["data"] {
        Value::String(text) => text.clone().into_bytes(),
        Value::Object(map) if map.contains_key("base64") => {
            STANDARD.decode(map["base64"].as_str().unwrap()).unwrap()
        }
        other => other.to_string().into_bytes(),
    };
    (event["attributes"].clone(), data)
}

#[track_caller]
fn post(gateway: SocketAddr, topic: &Topic, message: &Message) {
    let headers = message.headers.iter();
    let headers: Vec<(&str, &str)> = headers.map(|(name, value)| (&**name, &**value)).collect();
    let reply = publish(gateway, topic.name(), "", &headers, &message.body).unwrap();
    assert_eq!(reply.status, 202, "{}", reply.json());
}

/// Everything that the SDK sends in all three modes is read by the SDK as what was sent.
fn round_trips(gateway_mode: &str) {
    let topic = Topic::create(kafka::shared(), "ce-http", 1);
    let more = format!(", cloudevents: {{ mode: {gateway_mode}, key: partitionkey }}");
    let (host, gateway) = start(kafka::shared(), &more);
    let mut sdk = Sdk::start();
    let events = events();
    for mode in ["binary", "structured"] {
        for event in &events {
            post(gateway, &topic, &sdk.write("http", mode, event));
        }
    }
    let each: Vec<String> = events
        .iter()
        .map(|event| String::from_utf8(sdk.write("http", "structured", event).body).unwrap())
        .collect();
    let batch = Message {
        headers: [("content-type", "application/cloudevents-batch+json")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        key: None,
        body: format!("[{}]", each.join(",")).into_bytes(),
    };
    post(gateway, &topic, &batch);

    let stored = topic.read_all();
    assert_eq!(stored.len(), 3 * events.len());
    for (record, event) in stored.iter().zip(events.iter().cycle()) {
        let key = event["attributes"]["partitionkey"].as_str().unwrap();
        assert_eq!(record.key.as_deref(), Some(key.as_bytes()));
        match gateway_mode {
            "binary" => {
                assert_eq!(record.header("ce_id"), event["attributes"]["id"].as_str());
                assert_eq!(
                    record.header("ce_source"),
                    event["attributes"]["source"].as_str()
                );
                let content_type = event["attributes"]["datacontenttype"].as_str();
                assert_eq!(record.header("content-type"), content_type);
            }
            _ => {
                let content_type = record.header("content-type");
                assert_eq!(
                    content_type,
                    Some("application/cloudevents+json; charset=UTF-8")
                );
                assert_eq!(record.json()["id"], event["attributes"]["id"]);
            }
        }
        assert_eq!(comparable(&sdk.read(record)), comparable(event));
    }
    host.sigterm().expect_code(0);
}

#[test]
fn what_the_sdk_sends_over_http_it_reads_from_kafka_in_binary_mode() {
    round_trips("binary");
}

#[test]
fn what_the_sdk_sends_over_http_it_reads_from_kafka_in_structured_mode() {
    round_trips("structured");
}

#[test]
fn a_handler_gets_the_attributes_in_either_mode_and_a_broken_event_is_a_dead_letter() {
    let topic = Topic::create(kafka::shared(), "ce-in", 1);
    let out = Topic::create(kafka::shared(), "ce-out", 1);
    let dead = Topic::create(kafka::shared(), "ce-dlq", 1);
    let mut sdk = Sdk::start();
    let events = events();
    let mut records = Vec::new();
    for mode in ["binary", "structured"] {
        for event in &events {
            let message = sdk.write("kafka", mode, event);
            let record = Record::new(message.key.unwrap(), message.body);
            let headers = message.headers.iter();
            records.push(headers.fold(record, |record, (name, value)| {
                record.header(name, value.as_bytes())
            }));
        }
    }
    let structured = "application/cloudevents+json; charset=UTF-8";
    let broken = Record::new("broken", "{\"id\":\"1\"}").header("content-type", structured);
    records.push(broken.header("other", "kept"));
    // The same event in both modes is one event.
    let seen = sdk.write("kafka", "structured", &events[0]);
    let twice = Record::new(seen.key.unwrap(), seen.body).header("content-type", structured);
    records.push(twice);
    topic.produce(&records);

    let config = format!(
        r#"
plugins:
  copy:
    path: {copy}
    grants: [config, "output:{out}"]
    config: {{ output: {out}, as_it_is: "true" }}
groups:
  - id: {group}
    routes: {{ {topic}: {{ plugin: copy, decode: cloudevents }} }}
    dedup: {{ id: cloudevents, window: 1h }}
    dead_letter: {{ topic: {dead} }}
    store: store
"#,
        copy = guest("copy"),
        out = out.name(),
        topic = topic.name(),
        dead = dead.name(),
        group = unique("ce"),
    );
    let host = Setup::new(kafka::shared(), &config).start();
    let expected = events.len();
    wait::eventually(
        "the copies and the dead letter",
        Duration::from_secs(60),
        || out.read_all().len() >= expected && dead.read_all().len() == 1,
    );
    host.sigterm().expect_code(0);

    let copies = out.read_all();
    assert_eq!(
        copies.len(),
        expected,
        "each event was handled in one of its two modes"
    );
    for event in &events {
        let id = event["attributes"]["id"].as_str();
        let copy = copies.iter().find(|copy| copy.header("ce_id") == id);
        let copy = copy.expect("each event has its copy");
        assert_eq!(comparable(&sdk.read(copy)), comparable(event));
    }
    assert_given_up_as_read(&dead.read_all()[0], structured);
}

/// The dead letter is the broken event byte for byte, and says what is wrong with it.
#[track_caller]
fn assert_given_up_as_read(letter: &Stored, content_type: &str) {
    assert_eq!(letter.value.as_deref(), Some(&b"{\"id\":\"1\"}"[..]));
    assert_eq!(letter.header("content-type"), Some(content_type));
    assert_eq!(letter.header("other"), Some("kept"));
    assert_eq!(letter.header("millrace.dlq.cause"), Some("decode"));
    let message = letter.header("millrace.dlq.message").unwrap();
    assert!(message.contains("no `specversion`"), "{message}");
}
