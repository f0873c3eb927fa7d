//! No event gets in without the right token, or the right certificate.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::harness::certificates::Authority;
use crate::harness::host::Setup;
use crate::harness::http::{ask, publish};
use crate::harness::topic::Topic;
use crate::harness::{kafka, process};

const BILLING: &str = "billing-billing-billing";
const SHOP: &str = "shop-shop-shop-shop-shop";

#[test]
fn no_event_gets_in_without_the_right_token() {
    let topic = Topic::create(kafka::shared(), "http-billing", 1);
    let other = Topic::create(kafka::shared(), "http-shop", 1);
    let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, process::free_port()));
    let config = format!(
        "ingest:\n  http: {{ listen: \"{gateway}\" }}\n  clients:\n    \
         - {{ name: billing, token: {BILLING}, topics: [{}] }}\n    \
         - {{ name: shop, token: {SHOP}, topics: [\"http-shop*\"] }}\n",
        topic.name()
    );
    let host = Setup::new(kafka::shared(), &config).start();
    let bearer = |token: &str| format!("Bearer {token}");
    let lines = ("content-type", "application/x-ndjson");
    for (authorization, status, code) in [
        (None, 401, "UNAUTHENTICATED"),
        (Some(String::new()), 401, "UNAUTHENTICATED"),
        (Some(bearer("")), 401, "UNAUTHENTICATED"),
        (
            Some(bearer("billing-billing-billinG")),
            401,
            "UNAUTHENTICATED",
        ),
        (Some(format!("Basic {BILLING}")), 401, "UNAUTHENTICATED"),
        (Some(bearer(SHOP)), 403, "DENIED"),
    ] {
        for more in [None, Some(lines)] {
            let mut headers: Vec<(&str, &str)> = more.into_iter().collect();
            if let Some(authorization) = &authorization {
                headers.push(("authorization", authorization));
            }
            let reply = publish(gateway, topic.name(), "", &headers, b"1").unwrap();
            assert_eq!(reply.status, status, "{authorization:?}");
            assert_eq!(reply.json()["code"], code);
            if status == 401 {
                assert_eq!(reply.header("www-authenticate"), "Bearer");
            }
        }
    }
    let status_of = |topic: &str, token: &str| {
        let authorization = bearer(token);
        let headers = [("authorization", authorization.as_str())];
        publish(gateway, topic, "", &headers, b"1").unwrap().status
    };
    // Whether a topic exists is told to those alone who may write to it.
    assert_eq!(status_of("http-nowhere", BILLING), 403);
    assert_eq!(status_of("http-shop-nowhere", SHOP), 404);
    let document = ask(gateway, "GET", "/v1/openapi.json", &[], b"").unwrap();
    assert_eq!(
        document.status, 200,
        "what is asked of everybody is open to everybody"
    );
    assert!(topic.read_all().is_empty() && other.read_all().is_empty());
    assert_eq!(status_of(topic.name(), BILLING), 202);
    assert_eq!(status_of(other.name(), SHOP), 202);
    assert_eq!((topic.read_all().len(), other.read_all().len()), (1, 1));
    host.sigterm().expect_code(0);
}

/// Posts one event over TLS; the answer as it came, or what went wrong.
fn post_over_tls(
    gateway: SocketAddr,
    connector: TlsConnector,
    topic: &Topic,
) -> io::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(gateway).await?;
        let name = ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let mut stream = connector.connect(name, stream).await?;
        let request = format!(
            "POST /v1/topics/{}/events HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 1\r\n\r\n1",
            topic.name()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    })
}

#[test]
fn events_come_in_over_tls_from_clients_with_a_certificate() {
    let topic = Topic::create(kafka::shared(), "https", 1);
    let authority = Authority::new();
    let folder = process::folder("https");
    authority
        .server(IpAddr::V4(Ipv4Addr::LOCALHOST))
        .write(&folder);
    let ca = authority.write(&folder.join("ca.crt"));
    let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, process::free_port()));
    let config = format!(
        "ingest:\n  http: {{ listen: \"{gateway}\" }}\n  \
         tls: {{ cert: {dir}/tls.crt, key: {dir}/tls.key, client_ca: {ca} }}\n",
        dir = folder.display(),
        ca = ca.display(),
    );
    let host = Setup::new(kafka::shared(), &config).start();
    let client = authority.client("publisher");
    let answer = post_over_tls(
        gateway,
        authority.connector(Some(&client), "http/1.1"),
        &topic,
    );
    let answer = answer.expect("it is let in");
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    let none = post_over_tls(gateway, authority.connector(None, "http/1.1"), &topic);
    assert!(none.is_err(), "{none:?}");
    let in_the_clear = publish(gateway, topic.name(), "", &[], b"1");
    assert!(in_the_clear.is_err(), "{in_the_clear:?}");
    assert_eq!(topic.read_all().len(), 1);
    host.sigterm().expect_code(0);
}
