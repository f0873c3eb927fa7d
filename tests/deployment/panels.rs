//! The dashboards under load: a real Prometheus scrapes a real host whose plugins fail in every way that the panels
//! show, and is asked what each panel asks.

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::{files_below, metrics_page};
use crate::harness::host::{BINARY, Setup};
use crate::harness::load::{ENDLESS, Load, Plan};
use crate::harness::main_flow::guest;
use crate::harness::prometheus::Prometheus;
use crate::harness::topic::{Topic, unique};
use crate::harness::{kafka, process, wait};

/// A rate needs two scrapes, and the slowest failure its deadline several times.
const FILLED_TIMEOUT: Duration = Duration::from_secs(60);

/// Where the plugin that counts by key writes, whatever it is told.
const COUNTS_TOPIC: &str = "counts";

/// One query of a panel.
struct Panel {
    place: String,
    expression: String,
}

#[test]
fn no_panel_is_empty_under_load_and_every_metric_is_on_the_page() {
    let source = Topic::create(kafka::shared(), "panels", 2);
    let output = Topic::create(kafka::shared(), "panels.out", 2);
    if !Topic::named(kafka::shared(), COUNTS_TOPIC).exists() {
        Topic::create_with(kafka::shared(), COUNTS_TOPIC, 1, &[]);
    }
    let gateway = format!("127.0.0.1:{}", process::free_port());
    let setup = Setup::new(kafka::shared(), &config(&source, &output, &gateway));
    let host = setup.start();
    let prometheus = Prometheus::watching(host.admin());
    let publishing = publish(output.name(), &gateway);
    let plan = Plan::of(ENDLESS, 2).rate(500).deed(deed);
    let load = Load::start(&source, plan, process::folder("panels").join("sent"));

    let panels = panels();
    assert!(panels.len() > 50, "only {} queries", panels.len());
    for panel in &panels {
        let what = format!("something to show in {}: {}", panel.place, panel.expression);
        wait::eventually_some(&what, FILLED_TIMEOUT, || {
            let shown = prometheus.query(&panel.expression);
            let is_something = shown.iter().any(|(_, value)| !value.is_nan());
            is_something.then_some(()).ok_or_else(|| {
                let exported = host.get("/metrics").map(|(_, text)| text.len());
                format!(
                    "{shown:?}; the host exports {exported:?} bytes; {}",
                    prometheus.log()
                )
            })
        });
    }
    let (_, scrape) = host.get("/metrics").expect("the host serves /metrics");
    metrics_page::assert_listed(&scrape, &["counter_", "copy_"]);
    let firing = prometheus.query(r#"ALERTS{alertname="MillraceDeadLetters"}"#);
    assert!(!firing.is_empty(), "dead letters without an alert");
    load.stop();
    drop(publishing);
    host.sigterm().expect_code(0);
}

/// Publishes through the gateway until it is dropped.
fn publish(topic: &str, gateway: &str) -> Publishing {
    let mut command = process::tethered(BINARY);
    command.args([
        "produce", "--via", "grpc", "--grpc", gateway, "--topic", topic,
    ]);
    command.args(["--count", "1000000", "--rate", "50"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Publishing(process::spawn(command).expect("the binary can be started"))
}

struct Publishing(Child);

impl Drop for Publishing {
    fn drop(&mut self) {
        // Fails when it has ended already; and the kernel kills it in the end.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Every event in ten asks for something that goes wrong.
fn deed(id: u64) -> Option<Value> {
    match id % 100 {
        10 => Some(json!({ "do": "reject" })),
        20 => Some(json!({ "do": "trap", "times": 1 })),
        30 | 40 => Some(json!({ "do": "retry" })),
        50 => Some(json!({ "do": "retry", "times": 1 })),
        // The deadline ends it.
        60 if id % 1_000 == 60 => Some(json!({ "do": "loop", "times": 1 })),
        _ => None,
    }
}

fn config(source: &Topic, output: &Topic, gateway: &str) -> String {
    let (group, counters) = (unique("panels"), unique("panels-state"));
    format!(
        r#"
plugins:
  copy:
    path: {copy}
    grants: [config, "output:{output}"]
    config: {{ output: {output} }}
    limits: {{ deadline: 50ms }}
    recycle: {{ events: 100 }}
  counter:
    path: {counter}
    grants: [state, "output:{COUNTS_TOPIC}"]
groups:
  - id: {group}
    routes: {{ {source}: copy }}
    dedup: {{ id: "json:/id", window: 1h }}
    retry: {{ attempts: 2, backoff: {{ initial: 50ms, max: 50ms }} }}
    store: store/copy
  - id: {counters}
    routes: {{ {source}: counter }}
    store: store/counter
ingest: {{ grpc: {{ listen: "{gateway}" }} }}
"#,
        copy = guest("copy"),
        counter = guest("counter-state"),
        source = source.name(),
        output = output.name(),
    )
}

/// The queries of every panel, with the variables as Grafana fills them in when everything is chosen.
fn panels() -> Vec<Panel> {
    let mut panels = Vec::new();
    for file in files_below("deploy/grafana/dashboards", &["json"]) {
        let text = fs::read_to_string(&file).expect("it is text");
        let dashboard: Value = serde_json::from_str(&text).expect("it is JSON");
        for panel in dashboard["panels"].as_array().expect("a list") {
            let targets = panel["targets"].as_array().expect("a panel asks something");
            assert!(!targets.is_empty());
            for target in targets {
                let expression = target["expr"].as_str().expect("it is text");
                panels.push(Panel {
                    place: format!("{} / {}", dashboard["title"], panel["title"]),
                    expression: filled_in(expression),
                });
            }
        }
    }
    panels
}

fn filled_in(expression: &str) -> String {
    let filled = expression
        .replace("$__rate_interval", "15s")
        .replace("$__range", "5m")
        .replace("$group", ".*")
        .replace("$topic", ".*")
        .replace("$plugin", ".*");
    assert!(
        !filled.contains('$'),
        "a variable that no dashboard has: {filled}"
    );
    filled
}
