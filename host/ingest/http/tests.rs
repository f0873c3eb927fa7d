//! The gateway's routes with the embedded broker behind them. What sockets do is tested through `millrace run`.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use axum::body::Body;
use axum::http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};

use super::*;
use crate::kafka::embedded::EmbeddedBroker;
use crate::kafka::publisher::Publisher;

const EVENT_MAX_BYTES: usize = 1_000;

const LINES: (&str, &str) = ("content-type", "application/x-ndjson");

struct Reply {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

fn desk(brokers: String, properties: &[(&str, &str)], in_flight_max: usize) -> Arc<Desk> {
    let properties: BTreeMap<_, _> = properties
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    let kafka = config::Kafka {
        properties,
        ..config::Kafka::at(brokers)
    };
    let publisher = Arc::new(Publisher::new(&kafka).unwrap());
    let shared = Shared::new(
        &config::Ingest::default(),
        &config::Correlation::default(),
        publisher,
    );
    let settings = config::HttpIngest {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        event_max_bytes: EVENT_MAX_BYTES,
        request_max_bytes: 10_000,
        batch_max: 100,
        in_flight_max,
        requests_max: 10,
        body_timeout: Duration::from_secs(5),
        cloudevents: config::CloudEventsIngest::default(),
    };
    HttpGateway::bind(&settings, Arc::new(shared)).unwrap().desk
}

async fn ask(
    desk: &Arc<Desk>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Reply {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body.into()).unwrap();
    let service = TowerToHyperService::new(router(Arc::clone(desk)));
    let response: Response<Body> = service.call(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Reply {
        status: head.status.as_u16(),
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

async fn post(desk: &Arc<Desk>, query: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let path = format!("/v1/topics/events/events{query}");
    ask(desk, "POST", &path, headers, body.to_owned()).await
}

fn with_broker() -> (EmbeddedBroker, Arc<Desk>) {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("events", 2).unwrap();
    let desk = desk(broker.bootstrap_servers(), &[], 1_000);
    (broker, desk)
}

#[tokio::test]
async fn one_event_is_answered_with_its_place() {
    let (_broker, desk) = with_broker();
    for offset in 0..2 {
        let reply = post(&desk, "?partition=1", &[], "x").await;
        assert_eq!(reply.status, 202, "{}", reply.body);
        assert_eq!(
            reply.json(),
            json!({"topic": "events", "partition": 1, "offset": offset})
        );
    }
    let counted: BTreeMap<_, _> = desk.reception.counts().snapshot().collect();
    assert_eq!((counted["ok"], counted["invalid"]), (2, 0));
}

#[tokio::test]
async fn a_batch_is_202_207_or_the_one_problem_that_it_has() {
    let (_broker, desk) = with_broker();
    let large = format!("\"{}\"", "x".repeat(2_000));
    let reply = post(&desk, "?partition=0", &[LINES], "1\n2\n").await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    assert_eq!(
        reply.json()["events"][1],
        json!({"status": 202, "partition": 0, "offset": 1})
    );
    let reply = post(
        &desk,
        "?partition=0",
        &[LINES],
        &format!("1\nbroken\n{large}\n4"),
    )
    .await;
    assert_eq!(reply.status, 207, "{}", reply.body);
    let json = reply.json();
    assert_eq!(
        (&json["accepted"], &json["refused"]),
        (&json!(2), &json!(2))
    );
    let statuses: Vec<_> = json["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["status"].clone())
        .collect();
    assert_eq!(statuses, [202, 400, 413, 202]);
    assert_eq!(
        json["events"][3]["offset"], 3,
        "what is refused leaves no hole"
    );
    let reply = post(&desk, "", &[LINES], &format!("{large}\n{large}")).await;
    assert_eq!(
        (reply.status, &reply.json()["code"]),
        (413, &json!("TOO_LARGE"))
    );
    assert_eq!(reply.json()["events"].as_array().unwrap().len(), 2);
    let reply = post(&desk, "", &[LINES], &format!("broken\n{large}")).await;
    assert_eq!((reply.status, &reply.json()["accepted"]), (207, &json!(0)));
    let reply = post(&desk, "", &[LINES], "").await;
    assert_eq!((reply.status, &reply.json()["events"]), (202, &json!([])));
    let reply = post(&desk, "", &[LINES], &"1\n".repeat(101)).await;
    assert_eq!(
        (reply.status, &reply.json()["code"]),
        (413, &json!("TOO_LARGE"))
    );
    let counted: BTreeMap<_, _> = desk.reception.counts().snapshot().collect();
    assert_eq!(
        (counted["ok"], counted["invalid"], counted["too_large"]),
        (4, 2, 4)
    );
}

/// Method, path, headers and body of a request, and the status and code that refuse it.
type Refused<'a> = (
    &'a str,
    &'a str,
    &'a [(&'a str, &'a str)],
    &'a str,
    u16,
    &'a str,
);

/// Where events are posted.
const POSTED: &str = "/v1/topics/events/events";

const REFUSED: [Refused<'static>; 13] = [
    (
        "POST",
        "/v1/topics/nowhere/events",
        &[],
        "x",
        404,
        "UNKNOWN_TOPIC",
    ),
    ("POST", "/v1/topics/a%20b/events", &[], "x", 400, "INVALID"),
    ("POST", "/v1/topics/%ff/events", &[], "x", 400, "INVALID"),
    ("POST", "/v1/topics/events", &[], "x", 404, "NOT_FOUND"),
    ("GET", POSTED, &[], "", 405, "METHOD_NOT_ALLOWED"),
    (
        "POST",
        "/v1/openapi.json",
        &[],
        "",
        405,
        "METHOD_NOT_ALLOWED",
    ),
    (
        "POST",
        "/v1/topics/events/events?partition=9",
        &[],
        "x",
        400,
        "INVALID",
    ),
    (
        "POST",
        "/v1/topics/events/events?partition=-1",
        &[],
        "x",
        400,
        "INVALID",
    ),
    (
        "POST",
        POSTED,
        &[("content-type", "application/json")],
        "{",
        400,
        "INVALID",
    ),
    (
        "POST",
        POSTED,
        &[("content-type", "multipart/form-data")],
        "x",
        415,
        "UNSUPPORTED_MEDIA_TYPE",
    ),
    (
        "POST",
        POSTED,
        &[("content-encoding", "br")],
        "x",
        415,
        "UNSUPPORTED_MEDIA_TYPE",
    ),
    ("POST", POSTED, &[("ce-id", "1")], "x", 400, "INVALID"),
    (
        "POST",
        "/v1/topics/events/events?timestamp_ms=9000000000000",
        &[],
        "x",
        400,
        "INVALID",
    ),
];

#[tokio::test]
async fn each_refusal_is_a_problem_that_says_what_to_do() {
    let (_broker, desk) = with_broker();
    let large = "x".repeat(1_500);
    let large: [Refused<'_>; 1] = [("POST", POSTED, &[], &large, 413, "TOO_LARGE")];
    for (method, path, headers, body, status, code) in REFUSED.into_iter().chain(large) {
        let reply = ask(&desk, method, path, headers, body.to_owned()).await;
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.body);
        assert_eq!(reply.headers["content-type"], "application/problem+json");
        let problem = reply.json();
        assert_eq!(
            (&problem["code"], &problem["status"]),
            (&json!(code), &json!(status))
        );
        assert!(
            problem["type"]
                .as_str()
                .unwrap()
                .starts_with("urn:millrace:problem:")
        );
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
    let reply = ask(&desk, "GET", POSTED, &[], "").await;
    assert_eq!(reply.headers["allow"], "POST");
    let reply = post(&desk, "", &[], &"x".repeat(10_001)).await;
    assert!(
        reply.json()["detail"]
            .as_str()
            .unwrap()
            .contains("a request has at most")
    );
}

#[tokio::test]
async fn what_waits_for_the_broker_is_bounded_and_told_when_to_come_again() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("events", 1).unwrap();
    let desk = desk(
        broker.bootstrap_servers(),
        &[("delivery.timeout.ms", "1500")],
        2,
    );
    assert_eq!(post(&desk, "", &[], "x").await.status, 202);
    drop(broker);
    let first = {
        let desk = Arc::clone(&desk);
        tokio::spawn(async move { post(&desk, "", &[LINES], "1\n2").await })
    };
    while desk.reception.room_for(2).is_ok() {
        tokio::task::yield_now().await;
    }
    let reply = post(&desk, "", &[], "x").await;
    assert_eq!(
        (reply.status, &reply.json()["code"]),
        (429, &json!("OVERLOADED"))
    );
    assert_eq!(reply.headers["retry-after"], "1");
    let reply = first.await.unwrap();
    assert_eq!(
        (reply.status, &reply.json()["code"]),
        (503, &json!("UNAVAILABLE"))
    );
    assert!(reply.headers.contains_key("retry-after"));
    assert_eq!(reply.json()["events"][1]["status"], 503);
    assert!(desk.reception.room_for(2).is_ok(), "the room is free again");
    let reply = post(&desk, "", &[LINES], "1\n2\n3").await;
    assert_eq!(
        reply.status, 413,
        "what can never have room is not told to come again"
    );
}

#[tokio::test]
async fn requests_at_once_are_bounded() {
    let (_broker, desk) = with_broker();
    let places = desk.places.try_acquire_many(desk.places_max).unwrap();
    let reply = post(&desk, "", &[], "x").await;
    assert_eq!(
        (reply.status, &reply.json()["code"]),
        (429, &json!("OVERLOADED"))
    );
    drop(places);
    assert_eq!(post(&desk, "", &[], "x").await.status, 202);
}

#[tokio::test]
async fn the_document_is_served_and_names_what_is_answered() {
    let (_broker, desk) = with_broker();
    let reply = ask(&desk, "GET", "/v1/openapi.json", &[], "").await;
    assert_eq!(
        (reply.status, &reply.headers["content-type"]),
        (200, &"application/json".parse().unwrap())
    );
    let document = reply.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let responses = &document["paths"][EVENTS]["post"]["responses"];
    let codes = document["components"]["schemas"]["Code"]["enum"]
        .as_array()
        .unwrap();
    let mut known = 0;
    for kind in Kind::ALL {
        assert!(codes.contains(&json!(kind.code())), "{kind:?}");
        if kind != Kind::MethodNotAllowed {
            assert!(responses[kind.status().as_str()].is_object(), "{kind:?}");
        }
        known += 1;
    }
    assert_eq!(codes.len(), known);
}
