//! The gateway from end to end: a real client over a real socket, and the embedded broker behind it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Instant;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::health_check_response::ServingStatus as Serving;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1 as reflection;
use tonic_types::StatusExt as _;

use super::*;
use crate::ingest::proto::ingest_client::IngestClient;
use crate::ingest::proto::*;
use crate::kafka::embedded::EmbeddedBroker;
use crate::kafka::publisher::Publisher;

const EVENT_MAX_BYTES: usize = 1_000;

struct Running {
    client: IngestClient<Channel>,
    address: SocketAddr,
    counts: Arc<Counts>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), GatewayError>>,
}

fn settings(in_flight_max: usize) -> config::GrpcIngest {
    config::GrpcIngest {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        event_max_bytes: EVENT_MAX_BYTES,
        in_flight_max,
        calls_max: 64,
        calls_of_connection_max: 32,
    }
}

fn shared(publisher: Arc<Publisher>) -> Arc<Shared> {
    Arc::new(Shared::new(
        &config::Ingest::default(),
        &config::Correlation::default(),
        publisher,
    ))
}

fn publisher(brokers: String, properties: &[(&str, &str)]) -> Arc<Publisher> {
    let properties: BTreeMap<_, _> = properties
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    let kafka = config::Kafka {
        properties,
        ..config::Kafka::at(brokers)
    };
    Arc::new(Publisher::new(&kafka).unwrap())
}

async fn run(publisher: Arc<Publisher>, in_flight_max: usize) -> Running {
    let gateway = GrpcGateway::bind(&settings(in_flight_max), shared(publisher)).unwrap();
    let (address, counts) = (gateway.address(), gateway.counts());
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async { drop(stopped.await) };
    let serving = tokio::spawn(gateway.serve(shutdown, Duration::from_secs(5)));
    let client = IngestClient::connect(format!("http://{address}"))
        .await
        .unwrap();
    Running {
        client,
        address,
        counts,
        stop,
        serving,
    }
}

async fn with_broker() -> (EmbeddedBroker, Running) {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("events", 2).unwrap();
    let running = run(publisher(broker.bootstrap_servers(), &[]), 1_000).await;
    (broker, running)
}

async fn connect(running: &Running) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{}", running.address)).unwrap();
    endpoint.connect().await.unwrap()
}

fn event(topic: &str, value: &[u8]) -> Event {
    Event {
        topic: topic.into(),
        key: Some(b"user-1".to_vec().into()),
        value: Some(value.to_vec().into()),
        headers: vec![Header {
            name: "trace".into(),
            value: None,
        }],
        ..Event::default()
    }
}

fn request(event: Event) -> PublishRequest {
    PublishRequest { event: Some(event) }
}

#[tokio::test]
async fn one_event_is_answered_with_its_place() {
    let (_broker, mut running) = with_broker().await;
    for offset in 0..3 {
        let answer = running
            .client
            .publish(request(event("events", b"x")))
            .await
            .unwrap();
        let status = answer.into_inner().status.unwrap();
        assert_eq!(
            (status.code(), status.offset),
            (StatusCode::Ok, Some(offset))
        );
    }
    let counted: BTreeMap<_, _> = running.counts.snapshot().collect();
    assert_eq!((counted["ok"], counted["invalid"]), (3, 0));
}

#[tokio::test]
async fn a_refused_event_is_a_grpc_status_and_creates_no_topic() {
    let (_broker, mut running) = with_broker().await;
    let negative = Event {
        partition: Some(-1),
        ..event("events", b"x")
    };
    let beyond = Event {
        partition: Some(9),
        ..event("events", b"x")
    };
    let cases = [
        (event("nowhere", b"x"), Code::NotFound, "UNKNOWN_TOPIC"),
        (event("nowhere", b"x"), Code::NotFound, "UNKNOWN_TOPIC"),
        (event("", b"x"), Code::InvalidArgument, "INVALID"),
        (event("a b", b"x"), Code::InvalidArgument, "INVALID"),
        (negative, Code::InvalidArgument, "INVALID"),
        (beyond, Code::InvalidArgument, "INVALID"),
        (
            event("events", &[b'x'; 2_000]),
            Code::ResourceExhausted,
            "TOO_LARGE",
        ),
    ];
    for (event, code, name) in cases {
        let shown = format!("{event:?}");
        let status = running.client.publish(request(event)).await.unwrap_err();
        assert_eq!(status.code(), code, "{shown}: {status:?}");
        assert_eq!(status.metadata().get("millrace-status").unwrap(), name);
    }
    let status = running
        .client
        .publish(PublishRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn one_bad_event_of_a_batch_costs_only_itself() {
    let (_broker, mut running) = with_broker().await;
    let events = vec![
        event("events", b"one"),
        event("events", &[b'x'; 2_000]),
        event("nowhere", b"two"),
        Event {
            value: None,
            ..event("events", b"")
        },
    ];
    let request = PublishBatchRequest { events };
    let statuses = running
        .client
        .publish_batch(request)
        .await
        .unwrap()
        .into_inner()
        .statuses;
    let codes: Vec<_> = statuses.iter().map(EventStatus::code).collect();
    use StatusCode::{Ok, TooLarge, UnknownTopic};
    assert_eq!(codes, [Ok, TooLarge, UnknownTopic, Ok]);
    assert_eq!(statuses[3].offset.unwrap(), statuses[0].offset.unwrap() + 1);
}

#[tokio::test]
async fn a_batch_that_does_not_fit_is_refused_as_a_whole() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("events", 1).unwrap();
    let mut running = run(publisher(broker.bootstrap_servers(), &[]), 2).await;
    let batch = |n| PublishBatchRequest {
        events: vec![event("events", b"x"); n],
    };
    let status = running.client.publish_batch(batch(3)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(
        status.metadata().get("millrace-status").unwrap(),
        "OVERLOADED"
    );
    let pushback = status.metadata().get("grpc-retry-pushback-ms").unwrap();
    assert_eq!(pushback, "250");
    let delay = status.get_error_details().retry_info().unwrap().retry_delay;
    assert_eq!(delay, Some(Duration::from_millis(250)));
    let statuses = running
        .client
        .publish_batch(batch(2))
        .await
        .unwrap()
        .into_inner()
        .statuses;
    assert_eq!(statuses[0].offset, Some(0));
    let status = running.client.publish_batch(batch(0)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn every_event_of_a_stream_is_answered_by_its_sequence_in_order_of_its_key() {
    let (_broker, mut running) = with_broker().await;
    let requests = (0..5_000_u64).map(|sequence| PublishStreamRequest {
        sequence,
        event: Some(event(
            if sequence % 1_000 == 7 {
                "nowhere"
            } else {
                "events"
            },
            b"x",
        )),
    });
    let answers = running
        .client
        .publish_stream(tokio_stream::iter(requests))
        .await
        .unwrap();
    let answers: Vec<_> = answers
        .into_inner()
        .collect::<Result<_, _>>()
        .await
        .unwrap();
    assert_eq!(answers.len(), 5_000);
    let mut places = Vec::new();
    for answer in answers {
        let status = answer.status.unwrap();
        if answer.sequence % 1_000 == 7 {
            assert_eq!(status.code(), StatusCode::UnknownTopic);
        } else {
            assert_eq!(status.code(), StatusCode::Ok, "{status:?}");
            places.push((answer.sequence, status.offset.unwrap()));
        }
    }
    places.sort_unstable();
    assert!(
        places.is_sorted_by_key(|(_, offset)| *offset),
        "one key keeps its order"
    );
}

#[tokio::test]
async fn shutting_down_answers_what_was_read_and_ends_open_streams() {
    let (_broker, mut running) = with_broker().await;
    let (requests, receiver) = tokio::sync::mpsc::channel(16);
    let receiver = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut answers = running
        .client
        .publish_stream(receiver)
        .await
        .unwrap()
        .into_inner();
    let request = |sequence| PublishStreamRequest {
        sequence,
        event: Some(event("events", b"x")),
    };
    requests.send(request(1)).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().sequence, 1);
    let started = Instant::now();
    running.stop.send(()).unwrap();
    assert_eq!(
        answers.message().await.unwrap_err().code(),
        Code::Unavailable
    );
    drop(requests);
    running.serving.await.unwrap().unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
    let gone = IngestClient::connect(format!("http://{}", running.address)).await;
    assert!(gone.is_err(), "the port is free again");
}

#[tokio::test]
async fn a_broker_that_is_down_is_unavailable_and_is_named() {
    let publisher = publisher("127.0.0.1:1".into(), &[]);
    let mut running = run(publisher, 10).await;
    let status = running
        .client
        .publish(request(event("events", b"x")))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("127.0.0.1:1"), "{status:?}");
}

#[tokio::test]
async fn a_broker_that_goes_away_is_unavailable_within_the_delivery_timeout() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("events", 1).unwrap();
    let publisher = publisher(
        broker.bootstrap_servers(),
        &[("delivery.timeout.ms", "1500")],
    );
    let mut running = run(publisher, 10).await;
    running
        .client
        .publish(request(event("events", b"x")))
        .await
        .unwrap();
    drop(broker);
    let status = running
        .client
        .publish(request(event("events", b"x")))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}

#[tokio::test]
async fn health_turns_to_not_serving_at_shutdown() {
    let (_broker, running) = with_broker().await;
    let mut health = HealthClient::new(connect(&running).await);
    for service in ["", "millrace.ingest.v1.Ingest"] {
        let request = HealthCheckRequest {
            service: service.into(),
        };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), Serving::Serving);
    }
    let watched = HealthCheckRequest {
        service: "millrace.ingest.v1.Ingest".into(),
    };
    let mut watch = health.watch(watched).await.unwrap().into_inner();
    assert_eq!(
        watch.message().await.unwrap().unwrap().status(),
        Serving::Serving
    );
    let started = Instant::now();
    running.stop.send(()).unwrap();
    assert_eq!(
        watch.message().await.unwrap().unwrap().status(),
        Serving::NotServing
    );
    running.serving.await.unwrap().unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "a watcher does not hold the end up"
    );
}

#[tokio::test]
async fn reflection_lists_the_services() {
    let (_broker, running) = with_broker().await;
    let mut client =
        reflection::server_reflection_client::ServerReflectionClient::new(connect(&running).await);
    use reflection::server_reflection_request::MessageRequest;
    use reflection::server_reflection_response::MessageResponse;
    let request = reflection::ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let mut answers = client
        .server_reflection_info(tokio_stream::once(request))
        .await
        .unwrap()
        .into_inner();
    let answer = answers
        .message()
        .await
        .unwrap()
        .unwrap()
        .message_response
        .unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else {
        panic!("{answer:?}")
    };
    let names: Vec<_> = list
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    for expected in ["millrace.ingest.v1.Ingest", "grpc.health.v1.Health"] {
        assert!(names.iter().any(|name| name == expected), "{names:?}");
    }
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let (broker, running) = with_broker().await;
    let settings = config::GrpcIngest {
        listen: running.address,
        ..settings(10)
    };
    let second = GrpcGateway::bind(
        &settings,
        shared(publisher(broker.bootstrap_servers(), &[])),
    );
    let message = second.unwrap_err().to_string();
    assert!(message.contains(&running.address.to_string()), "{message}");
    assert!(message.contains("ingest.grpc.listen"), "{message}");
}
