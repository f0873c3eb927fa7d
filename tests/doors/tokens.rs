//! F53: nobody gets an event in, or a plugin changed, without the right token.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tonic::{Code, Request, Status};

use super::gateway;
use crate::harness::host::{Setup, command_with};
use crate::harness::ingest::proto::{
    Event, PublishBatchRequest, PublishRequest, PublishStreamRequest, StatusCode,
};
use crate::harness::ingest::{Publisher, event};
use crate::harness::topic::Topic;
use crate::harness::{kafka, process};

const TOKEN: &str = "a-token-of-the-web-client";

fn with_token<T>(message: T, authorization: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(authorization) = authorization {
        let value = authorization.parse().expect("it is a header");
        request.metadata_mut().insert("authorization", value);
    }
    request
}

/// Publishes an event by each of the three calls; the status of each, that of the event where the call is answered.
fn by_every_call(
    publisher: &mut Publisher,
    event: &Event,
    authorization: Option<&str>,
) -> [Result<StatusCode, Status>; 3] {
    let (runtime, client) = (&publisher.runtime, &mut publisher.client);
    runtime.block_on(async {
        let event = Some(event.clone());
        let request = PublishRequest {
            event: event.clone(),
        };
        let one = client.publish(with_token(request, authorization)).await;
        let request = PublishBatchRequest {
            events: event.clone().into_iter().collect(),
        };
        let batch = client
            .publish_batch(with_token(request, authorization))
            .await;
        let requests = tokio_stream::iter([PublishStreamRequest { sequence: 1, event }]);
        let stream = client
            .publish_stream(with_token(requests, authorization))
            .await;
        let streamed = match stream {
            Ok(answers) => answers.into_inner().message().await,
            Err(status) => Err(status),
        };
        [
            one.map(|answer| answer.into_inner().status.expect("it is set").code()),
            batch.map(|answer| answer.into_inner().statuses[0].code()),
            streamed.map(|answer| {
                let answer = answer.expect("there is an answer");
                answer.status.expect("it is set").code()
            }),
        ]
    })
}

#[test]
fn no_event_gets_in_without_the_right_token_or_beyond_its_rights() {
    let topic = Topic::create(kafka::shared(), "guarded", 1);
    let other = Topic::create(kafka::shared(), "elsewhere", 1);
    let clients = format!(
        "clients: [{{ name: web, token: \"${{WEB_TOKEN}}\", topics: [\"{}*\"] }}]",
        topic.name()
    );
    let (setup, address) = gateway(&clients);
    let host = setup.env("WEB_TOKEN", TOKEN).start();
    let mut publisher = Publisher::connect(address);

    let wrong = [
        None,
        Some("Bearer a-token-of-the-web-clienT".to_owned()),
        Some(format!("Bearer {TOKEN}x")),
        Some(format!("Bearer x{TOKEN}")),
        Some("Bearer ".to_owned()),
        Some(format!("Basic {TOKEN}")),
        Some(TOKEN.to_owned()),
    ];
    for authorization in wrong {
        for refused in by_every_call(
            &mut publisher,
            &event(&topic, "k", "stolen"),
            authorization.as_deref(),
        ) {
            let status = refused.expect_err("nobody is let in");
            assert_eq!(status.code(), Code::Unauthenticated, "{authorization:?}");
            assert!(!status.message().contains(TOKEN), "{status:?}");
        }
    }
    let right = format!("Bearer {TOKEN}");
    let [one, batch, stream] =
        by_every_call(&mut publisher, &event(&other, "k", "stolen"), Some(&right));
    assert_eq!(one.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(batch.unwrap(), StatusCode::Denied);
    assert_eq!(stream.unwrap(), StatusCode::Denied);

    let honest = event(&topic, "k", "honest");
    for accepted in by_every_call(&mut publisher, &honest, Some(&right)) {
        assert_eq!(accepted.unwrap(), StatusCode::Ok);
    }
    let stored = topic.read_all();
    assert_eq!(stored.len(), 3, "{stored:?}");
    assert!(
        stored
            .iter()
            .all(|record| record.value.as_deref() == Some(&b"honest"[..]))
    );
    assert!(other.read_all().is_empty(), "nothing got past its rights");

    let refused = host.metrics().sum(
        "millrace_ingest_events_total",
        &[("gateway", "grpc"), ("status", "unauthenticated")],
    );
    assert!(refused >= 21.0, "{refused} were counted");
    let said = format!("{:?}", host.log());
    assert!(!said.contains(TOKEN), "a token is in the log");
}

/// The answer to one request, written by hand: its status, and all of it.
fn ask(admin: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(admin).expect("the admin server listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("it can be set");
    stream.write_all(request.as_bytes()).expect("it is read");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok());
    (status.expect("it is HTTP"), answer)
}

#[test]
fn the_admin_server_shows_and_changes_nothing_without_its_token() {
    const ADMIN_TOKEN: &str = "a-token-of-the-operators";
    let (setup, _) = gateway("");
    let admin = SocketAddr::from(([127, 0, 0, 1], process::free_port()));
    let config = std::fs::read_to_string(setup.config_file()).expect("it is there");
    let line = format!("admin: {{ listen: \"{}\" }}", setup.admin());
    assert!(config.contains(&line), "{config}");
    let guarded = format!("admin: {{ listen: \"{admin}\", token: \"${{ADMIN_TOKEN}}\" }}");
    setup.write_config(&config.replace(&line, &guarded));
    let host = setup.env("ADMIN_TOKEN", ADMIN_TOKEN).spawn();
    crate::harness::wait::eventually("a host that is ready", Duration::from_secs(60), || {
        TcpStream::connect(admin).is_ok()
    });

    let get = |path: &str, more: &str| ask(admin, &format!("GET {path} HTTP/1.0\r\n{more}\r\n"));
    for open in ["/livez", "/readyz", "/readyz?verbose", "/healthz"] {
        assert_eq!(get(open, "").0, 200, "{open}");
    }
    let wrong = [
        "",
        "Authorization: Bearer wrong-wrong-wrong\r\n",
        "Authorization: Basic x\r\n",
    ];
    for more in wrong {
        for guarded in [
            "/metrics",
            "/v1/plugins",
            "/nowhere",
            "/livez/",
            "//metrics",
        ] {
            let (status, answer) = get(guarded, more);
            assert_eq!(status, 401, "{guarded} {more:?}: {answer}");
            assert!(!answer.contains(ADMIN_TOKEN));
        }
        let post = format!("POST /v1/plugins/p/reload HTTP/1.0\r\n{more}Content-Length: 0\r\n\r\n");
        assert_eq!(ask(admin, &post).0, 401);
    }
    let right = format!("Authorization: Bearer {ADMIN_TOKEN}\r\n");
    assert_eq!(get("/metrics", &right).0, 200);
    assert_eq!(get("/v1/plugins", &right).0, 200);
    for name in [
        "..",
        "..%2f..%2fetc",
        "%2e%2e%2fpasswd",
        "a%00b",
        "%2fetc%2fpasswd",
    ] {
        let post =
            format!("POST /v1/plugins/{name}/reload HTTP/1.0\r\n{right}Content-Length: 0\r\n\r\n");
        let (status, answer) = ask(admin, &post);
        assert_eq!(status, 404, "{name}: {answer}");
    }

    let asked = admin.to_string();
    let list = ["plugin", "list", "--admin", &asked, "--output", "json"];
    let refused = command_with(&list, &[]).expect_code(1);
    assert!(
        refused.stderr.contains("MILLRACE__ADMIN__TOKEN"),
        "{}",
        refused.stderr
    );
    let listed = command_with(&list, &[("MILLRACE__ADMIN__TOKEN", ADMIN_TOKEN)]).expect_code(0);
    assert_eq!(listed.stdout.trim(), "[]");
    assert!(!format!("{:?}", host.log()).contains(ADMIN_TOKEN));
}

#[test]
fn an_admin_server_that_others_reach_needs_a_token() {
    let config = "ingest: { grpc: { listen: 127.0.0.1:0 } }\nadmin: { listen: 0.0.0.0:0 }\n";
    let exit = Setup::new("127.0.0.1:1", config)
        .run_to_exit()
        .expect_code(78);
    assert!(
        exit.stderr.contains("MILLRACE_ADMIN_TOKEN"),
        "{}",
        exit.stderr
    );
}
