//! Rules at the gateway: what breaks them is refused and never written.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::json;

use super::{RULES, flawed, good, write_schemas};
use crate::harness::host::Setup;
use crate::harness::ingest::proto::{PublishBatchRequest, PublishRequest, StatusCode};
use crate::harness::ingest::{Publisher, event};
use crate::harness::topic::Topic;
use crate::harness::{http, kafka, process};

#[test]
fn a_gateway_refuses_what_breaks_a_rule_with_the_pointer_and_writes_none_of_it() {
    let (topic, free) = (
        Topic::create(kafka::shared(), "let-in", 1),
        Topic::create(kafka::shared(), "free", 1),
    );
    let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, process::free_port()));
    let web = SocketAddr::from((Ipv4Addr::LOCALHOST, process::free_port()));
    let pattern = format!("{}*", topic.name().trim_end_matches(char::is_alphanumeric));
    let config = format!(
        "{RULES}ingest:\n  grpc: {{ listen: \"{gateway}\" }}\n  http: {{ listen: \"{web}\" }}\n  \
         validate: {{ \"{pattern}\": orders }}\n",
    );
    let setup = Setup::new(kafka::shared(), &config);
    write_schemas(&setup.folder().join("schemas"));
    let host = setup.start();
    let mut publisher = Publisher::connect(gateway);

    let mut events = Vec::new();
    for id in 0..5 {
        events.push(event(&topic, "key", flawed(id).0));
        events.push(event(&topic, "key", good(id, json!({})).to_string()));
    }
    events.push(event(&free, "key", "anything"));
    let call = publisher
        .client
        .publish_batch(PublishBatchRequest { events });
    let answer = publisher.runtime.block_on(call).expect("it is answered");
    let statuses = answer.into_inner().statuses;
    for id in 0..5 {
        let (refused, let_in) = (&statuses[2 * id], &statuses[2 * id + 1]);
        let [_, _, message] = flawed(id).1;
        assert_eq!(refused.code(), StatusCode::Invalid, "{}", refused.message);
        assert!(refused.message.contains(message), "{}", refused.message);
        assert_eq!(let_in.code(), StatusCode::Ok, "{}", let_in.message);
    }
    assert_eq!(statuses[10].code(), StatusCode::Ok, "no rules hold there");
    let one = PublishRequest {
        event: Some(event(&topic, "key", flawed(2).0)),
    };
    let one = publisher.runtime.block_on(publisher.client.publish(one));
    let refused = one.expect_err("it breaks a rule");
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert!(
        refused.message().contains("/data/total/cents: "),
        "{}",
        refused.message()
    );

    let over_http = |value: &str| {
        let json = [("content-type", "application/json")];
        http::publish(web, topic.name(), "", &json, value.as_bytes()).expect("it is answered")
    };
    let refused = over_http(&flawed(2).0);
    assert_eq!(refused.status, 422, "{}", refused.json());
    let told = refused.json();
    assert_eq!(told["code"], "SCHEMA_VIOLATION");
    let detail = told["detail"].as_str().expect("text");
    assert!(detail.starts_with("/data/total/cents: "), "{detail}");
    let let_in = over_http(&good(5, json!({})).to_string());
    assert_eq!(let_in.status, 202, "{}", let_in.json());

    let written: Vec<_> = topic
        .read_all()
        .iter()
        .map(|record| record.json()["id"].clone())
        .collect();
    assert_eq!(written, [0, 1, 2, 3, 4, 5].map(serde_json::Value::from));
    let refused = |stage: &str| {
        let labels = [("rules", "orders"), ("at", "ingest"), ("stage", stage)];
        host.metrics()
            .sum("millrace_validation_refused_events_total", &labels)
    };
    assert_eq!((refused("payload"), refused("unknown-type")), (4.0, 1.0));
    host.sigterm().expect_code(0);
}
