//! Dead letters by the admin interface: one of them whole, put back at a rate until somebody stops it, and removed.

use serde_json::{Value, json};

use super::TIMEOUT;
use super::described::Document;
use crate::harness::host::{Host, Setup, command};
use crate::harness::kafka;
use crate::harness::topic::{Record, Stored, recent_ms};
use crate::harness::witness::Witness;
use crate::harness::{http, wait};

/// A structured CloudEvent, which the route of the group decodes.
const EVENT: &str =
    r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"order":4711}}"#;

/// What a plugin that logs one line leaves behind.
const TRANSCRIPT: &str = r#"{"version":1,"fuel":null,"seed":"00","redacted":false,"answers":[{"log":"info looks for a price"}]}"#;

/// A host whose group has dead letters that the test writes.
pub(super) struct Graves {
    pub(super) witness: Witness,
    pub(super) host: Host,
    setup: Setup,
}

impl Graves {
    pub(super) fn new(hint: &str) -> Self {
        let witness = Witness::new(hint, 2);
        let routed = format!("{}: witness", witness.source.name());
        let decoding = format!(
            "{}: {{ plugin: witness, decode: cloudevents }}",
            witness.source.name()
        );
        let config = witness.config("").replace(&routed, &decoding);
        let setup = Setup::new(kafka::shared(), &config);
        let host = setup.start();
        Self {
            witness,
            host,
            setup,
        }
    }

    pub(super) fn topic(&self) -> &str {
        self.witness.dead_letters.name()
    }

    /// The dead letter of the event with this number.
    pub(super) fn letter(&self, number: usize, cause: &str) -> Record {
        let failed_at = recent_ms().to_string();
        let message = format!("no price for order {number}");
        let facts = [
            ("version", "1"),
            ("origin.topic", self.witness.source.name()),
            ("origin.partition", "1"),
            ("origin.offset", &number.to_string()),
            ("group", &self.witness.group),
            ("plugin", "witness"),
            ("cause", cause),
            ("code", "no-price"),
            ("message", &message),
            ("signature", &format!("0123456789ab:{cause}:no-price")),
            ("attempts", "3"),
            ("first-failed-at", &failed_at),
            ("last-failed-at", &failed_at),
            ("transcript", TRANSCRIPT),
        ];
        let record = Record::new("a customer", json!({ "id": number }).to_string());
        facts.into_iter().fold(record, |record, (name, value)| {
            record.header(&format!("millrace.dlq.{name}"), value)
        })
    }

    /// What was put back.
    pub(super) fn back(&self) -> Vec<Stored> {
        self.witness.source.read_all()
    }

    /// The signature of the cluster with this cause, once all letters are read.
    pub(super) fn signature(&self, cause: &str, letters: usize) -> String {
        wait::eventually_some("the clusters", TIMEOUT, || {
            let path = format!("/v1/dead-letters/{}", self.topic());
            let (_, text) = self.host.get(&path).expect("it is served");
            let read: Value = serde_json::from_str(&text).expect("it is JSON");
            let mut clusters = read["clusters"].as_array().into_iter().flatten();
            let cluster = clusters.find(|cluster| cluster["cause"] == cause);
            let signature = cluster.and_then(|cluster| cluster["signature"].as_str());
            let all = read["letters"] == letters;
            signature.filter(|_| all).map(str::to_owned).ok_or(text)
        })
    }
}

/// Requests of which each answer is held against the document.
struct Asking<'a> {
    graves: &'a Graves,
    document: Document,
}

impl<'a> Asking<'a> {
    fn of(graves: &'a Graves) -> Self {
        Self {
            graves,
            document: Document::of(&graves.host),
        }
    }

    #[track_caller]
    fn ask(&self, method: &str, rest: &str, status: u16) -> Value {
        self.ask_of(self.graves.topic(), method, rest, status)
    }

    #[track_caller]
    fn ask_of(&self, topic: &str, method: &str, rest: &str, status: u16) -> Value {
        let path = format!("/v1/dead-letters/{topic}/{rest}");
        let reply = http::ask(self.graves.host.admin(), method, &path, &[], b"");
        let reply = reply.expect("it answers");
        let text = String::from_utf8_lossy(&reply.body);
        assert_eq!(reply.status, status, "{method} {path}: {text}");
        let what = rest.split(['/', '?']).next().unwrap_or_default();
        let place = if what == "letters" {
            "/{partition}/{offset}"
        } else {
            ""
        };
        let described = format!("/v1/dead-letters/{{topic}}/{what}{place}");
        let method = method.to_lowercase();
        self.document
            .holds(&method, &described, (reply.status, &text))
    }

    /// How some work stands in the end.
    #[track_caller]
    fn end_of(&self, work: &str) -> Value {
        wait::eventually_some("the end of it", TIMEOUT, || {
            let stands = self.ask("GET", work, 200);
            let runs = ["running", "stopping"]
                .iter()
                .any(|it| stands["state"] == *it);
            (!runs).then(|| stands.clone()).ok_or(stands)
        })
    }
}

#[test]
fn one_letter_is_told_whole_as_the_command_line_tells_it() {
    let graves = Graves::new("one-letter");
    let letter = graves.letter(7, "reject");
    let structured =
        Record::new("a customer", EVENT).header("content-type", "application/cloudevents+json");
    let facts = letter.headers.iter().cloned();
    let structured = facts.fold(structured, |record, (name, value)| {
        record.header(&name, value.expect("each has one"))
    });
    graves.witness.dead_letters.produce(&[structured, letter]);
    let asking = Asking::of(&graves);

    let told = asking.ask("GET", "letters/0/0", 200);
    assert_eq!(told["event"]["topic"], graves.witness.source.name());
    assert_eq!(told["event"]["key"], "a customer");
    assert_eq!(told["event"]["headers"][0]["name"], "content-type");
    assert_eq!(told["decoded"], json!({ "order": 4711 }));
    assert_eq!(told["dead_letter"]["cause"], "reject");
    assert_eq!(told["dead_letter"]["attempts"], "3");
    assert_eq!(told["log_lines"], json!(["info looks for a price"]));
    assert_eq!(told["redriven"], false);
    let plain = asking.ask("GET", "letters/0/1", 200);
    assert_eq!(plain["event"]["value"], json!({ "id": 7 }));
    assert_eq!(plain["decoded"], Value::Null);

    let config = graves.setup.config_file();
    let config = config.to_str().expect("the path is text");
    let id = format!("{}/0/0", graves.topic());
    let shown = command(&["dlq", "show", &id, "-c", config, "--output", "json"]);
    assert_eq!(shown.expect_code(0).json()[0], told);

    let gone = asking.ask("GET", "letters/0/99", 404);
    assert!(
        gone["error"]
            .as_str()
            .expect("a text")
            .contains("offset 99")
    );
    asking.ask("GET", "letters/0/last", 400);
    asking.ask_of("nowhere", "GET", "letters/0/0", 404);
    graves.host.sigterm().expect_code(0);
}

#[test]
fn a_cluster_is_put_back_at_a_rate_until_it_is_stopped_and_the_rest_later_and_then_it_is_removed() {
    const REJECTED: usize = 40;
    let graves = Graves::new("put-back");
    let letters = (0..REJECTED).map(|number| graves.letter(number, "reject"));
    let letters =
        letters.chain((REJECTED..REJECTED + 5).map(|number| graves.letter(number, "trap")));
    graves
        .witness
        .dead_letters
        .produce(&letters.collect::<Vec<_>>());
    let signature = graves.signature("reject", REJECTED + 5);
    let asking = Asking::of(&graves);
    let of_cluster = format!("redrive?signature={signature}");

    assert_eq!(asking.ask("GET", "redrive", 200), Value::Null);
    what_is_not_understood_is_refused(&asking);
    let begun = asking.ask("POST", &format!("{of_cluster}&dry_run=true"), 202);
    assert_eq!(begun["dry_run"], true);
    let tried = asking.end_of("redrive");
    assert_eq!(
        (&tried["state"], &tried["redriven"]),
        (&json!("done"), &json!(REJECTED))
    );
    assert_eq!(graves.back(), [], "it was only tried");

    let put_back = stopped_on_its_way(&asking, &of_cluster);
    assert!((2..REJECTED as u64).contains(&put_back), "{put_back}");
    assert_eq!(graves.back().len() as u64, put_back);

    asking.ask("POST", &of_cluster, 202);
    let rest = asking.end_of("redrive");
    assert_eq!(rest["redriven"], REJECTED as u64 - put_back, "{rest}");
    assert_eq!(rest["stayed"], json!({ "already-redriven": put_back }));
    let numbers: Vec<u64> = graves
        .back()
        .iter()
        .map(|record| record.json()["id"].as_u64().expect("a number"))
        .collect();
    let expected: Vec<u64> = (0..REJECTED as u64).collect();
    assert_eq!(numbers, expected, "each once, in the order of their key");

    let one = format!("redrive?id={}/0/{REJECTED}", graves.topic());
    asking.ask("POST", &one, 202);
    assert_eq!(asking.end_of("redrive")["redriven"], 1);
    what_was_put_back_is_removed(&asking, REJECTED as u64 + 1);
    graves.host.sigterm().expect_code(0);
}

fn what_is_not_understood_is_refused(asking: &Asking<'_>) {
    for (rest, part) in [
        ("redrive", "all=true"),
        ("redrive?rate=2/s", "all=true"),
        ("redrive?all=true&rate=fast", "100/s"),
        ("redrive?sginature=a", "there is no parameter `sginature`"),
        ("redrive?all=true&if_fixed_by=current", "if_fixed_by"),
        ("purge", "redriven=true"),
        ("purge?redriven=true&all=true", "say one of"),
    ] {
        let refused = asking.ask("POST", rest, 400);
        let error = refused["error"].as_str().expect("a text");
        assert!(error.contains(part), "{rest}: {error}");
    }
    asking.ask_of("nowhere", "POST", "redrive?all=true", 404);
    let topic = asking.graves.topic();
    for (method, work) in [
        ("POST", "redrive?all=true"),
        ("POST", "purge?all=true"),
        ("DELETE", "redrive"),
    ] {
        let path = format!("/v1/dead-letters/{topic}/{work}");
        let from = [("origin", "https://elsewhere.example")];
        let reply = http::ask(asking.graves.host.admin(), method, &path, &from, b"");
        assert_eq!(reply.expect("it answers").status, 403, "{path}");
    }
}

/// How many were put back before it ended.
fn stopped_on_its_way(asking: &Asking<'_>, of_cluster: &str) -> u64 {
    let begun = asking.ask("POST", &format!("{of_cluster}&rate=2/s"), 202);
    assert_eq!(begun["state"], "running");
    wait::eventually_some("two that were put back", TIMEOUT, || {
        let stands = asking.ask("GET", "redrive", 200);
        let two = stands["redriven"].as_u64() >= Some(2);
        two.then_some(()).ok_or(stands)
    });
    for other in [of_cluster, "purge?all=true"] {
        let refused = asking.ask("POST", other, 409);
        let error = refused["error"].as_str().expect("a text");
        assert!(error.contains("a redrive of"), "{error}");
    }
    asking.ask("DELETE", "redrive", 200);
    let stopped = asking.end_of("redrive");
    assert_eq!(stopped["state"], "stopped", "{stopped}");
    asking.ask("DELETE", "redrive", 409);
    stopped["redriven"].as_u64().expect("a number")
}

/// First it is only told.
fn what_was_put_back_is_removed(asking: &Asking<'_>, put_back: u64) {
    let letters = &asking.graves.witness.dead_letters;
    let all = letters.read_all().len() as u64;
    asking.ask("POST", "purge?redriven=true&dry_run=true", 202);
    let told = asking.end_of("purge");
    assert_eq!(
        (&told["letters"], &told["not_redriven"]),
        (&json!(put_back), &json!(0))
    );
    assert_eq!(letters.read_all().len() as u64, all, "it was only told");
    asking.ask("POST", "purge?redriven=true", 202);
    assert_eq!(asking.end_of("purge")["letters"], put_back);
    assert_eq!(letters.read_all().len() as u64, all - put_back);
    asking.ask("POST", "purge?all=true", 202);
    let removed = asking.end_of("purge");
    assert_eq!(removed["not_redriven"], all - put_back, "{removed}");
    assert_eq!(letters.read_all(), []);
}
