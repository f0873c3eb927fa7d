//! The document that is served holds: schemathesis makes requests out of it that are right and that are wrong, and no
//! answer is a failure of the server or one that the document does not know.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use super::start;
use crate::harness::topic::Topic;
use crate::harness::{kafka, process, toolchains};

/// The longest that a run of requests may take; `make contract` asks for many.
const TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// Requests of each kind and operation in the short run.
const EXAMPLES: &str = "60";

#[test]
fn a_property_based_client_finds_no_failure_and_no_answer_that_is_not_documented() {
    let topic = Topic::create(kafka::shared(), "http-contract", 2);
    let (host, gateway) = start(kafka::shared(), "");
    let examples = process::setting("MILLRACE_CONTRACT_EXAMPLES");
    let folder = process::folder("contract");
    let said = folder.join("schemathesis.txt");
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let mut client = process::tethered(toolchains::client("schemathesis"));
    client
        .arg("run")
        .arg(format!("http://{gateway}/v1/openapi.json"))
        .arg("--max-examples")
        .arg(examples.as_deref().unwrap_or(EXAMPLES))
        .args([
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,unsupported_method",
            // The same requests in each run; `make contract` asks for others each time.
            "--seed",
            process::setting("MILLRACE_CONTRACT_SEED").as_deref().unwrap_or("1"),
            "--continue-on-failure",
            "--no-color",
        ])
        .env("SCHEMATHESIS_HOOKS", "contract_hooks")
        .env("PYTHONPATH", &clients)
        .env("MILLRACE_TOPIC", topic.name())
        .current_dir(&folder)
        .stdout(File::create(&said).unwrap())
        .stderr(File::create(folder.join("stderr.txt")).unwrap());
    let mut client = process::spawn(client).expect("schemathesis can be started");
    let ended = process::wait_for_exit(&mut client, "schemathesis", TIMEOUT);
    assert!(
        ended.success(),
        "{}\n{}",
        process::tail(&said, 200),
        process::tail(&folder.join("stderr.txt"), 20)
    );
    let metrics = host.metrics();
    let answered = |status: &str| {
        metrics.sum(
            "millrace_ingest_events_total",
            &[("gateway", "http"), ("status", status)],
        )
    };
    assert!(
        answered("ok") > 20.0,
        "it got through to Kafka: {}",
        answered("ok")
    );
    assert!(answered("invalid") > 0.0, "and sent what is wrong");
    let stored: i64 = topic.end_offsets().values().sum();
    assert_eq!(stored as f64, answered("ok"), "what is counted is there");
    host.sigterm().expect_code(0);
}
