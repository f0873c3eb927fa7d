//! A real Jaeger as a child process on free loopback ports, which keeps what it is sent in memory, and what its own
//! interface says of a trace. It must not know what spans say.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use serde_json::Value;

use super::collector::Seen;
use super::toolchains::tool;
use super::{http, process, wait};

/// It was up in a second on two idle cores; a busy machine gets time.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// Above what a span waits for others, and a busy machine.
const TRACE_TIMEOUT: Duration = Duration::from_secs(30);

/// A running Jaeger, ended when it is dropped.
#[derive(Debug)]
pub(crate) struct Jaeger {
    child: Child,
    folder: PathBuf,
    grpc: u16,
    http: u16,
    query: SocketAddr,
}

impl Jaeger {
    #[track_caller]
    pub(crate) fn start() -> Self {
        let folder = process::folder("jaeger");
        let log = fs::File::create(folder.join("log")).expect("the folder can be written");
        let mut jaeger = process::tethered(tool("jaeger/jaeger", "setup-jaeger"));
        let [grpc, http, query] = [(); 3].map(|()| process::free_port());
        let unused = [(); 4].map(|()| process::free_port());
        for (name, port) in [
            ("collector.otlp.grpc", grpc),
            ("collector.otlp.http", http),
            ("query.http-server", query),
            ("query.grpc-server", unused[0]),
            ("collector.grpc-server", unused[1]),
            ("collector.http-server", unused[2]),
            ("admin.http", unused[3]),
        ] {
            jaeger.arg(format!("--{name}.host-port=127.0.0.1:{port}"));
        }
        jaeger
            // It would send spans of its own to where collectors are by default.
            .env("OTEL_TRACES_SAMPLER", "always_off")
            .stdout(log.try_clone().expect("the log is a file"))
            .stderr(log);
        let jaeger = Self {
            child: process::spawn(jaeger).expect("Jaeger runs"),
            folder,
            grpc,
            http,
            query: SocketAddr::from((Ipv4Addr::LOCALHOST, query)),
        };
        wait::eventually_some("a Jaeger that answers", READY_TIMEOUT, || {
            match jaeger.ask("/api/services") {
                Ok(_) => Ok(()),
                Err(error) => Err(format!(
                    "{error}; its log:\n{}",
                    process::tail(&jaeger.folder.join("log"), 20)
                )),
            }
        });
        jaeger
    }

    /// The value of `OTEL_EXPORTER_OTLP_ENDPOINT` for a protocol, as `OTEL_EXPORTER_OTLP_PROTOCOL` names it.
    pub(crate) fn endpoint(&self, protocol: &str) -> String {
        let port = match protocol {
            "grpc" => self.grpc,
            _ => self.http,
        };
        format!("http://127.0.0.1:{port}")
    }

    /// Waits for so many spans of a trace, and returns them as it shows them.
    #[track_caller]
    pub(crate) fn wait_for(&self, trace: &str, spans: usize) -> Vec<Seen> {
        wait::eventually_some("the spans of a trace", TRACE_TIMEOUT, || {
            let said = self.ask(&format!("/api/traces/{trace}"))?;
            let seen = seen(&said["data"][0]);
            if seen.len() >= spans {
                Ok(seen)
            } else {
                Err(format!("{said:#}"))
            }
        })
    }

    fn ask(&self, path: &str) -> Result<Value, String> {
        let answer = self.get(path).map_err(|error| error.to_string())?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        match head.split(' ').nth(1) {
            Some("200") => serde_json::from_str(body).map_err(|error| error.to_string()),
            _ => Err(answer),
        }
    }

    /// By HTTP/1.0, which knows no chunks.
    fn get(&self, path: &str) -> std::io::Result<String> {
        let mut stream = http::connect(self.query)?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.query);
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Jaeger {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The spans of a trace.
fn seen(trace: &Value) -> Vec<Seen> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let spans = trace["spans"].as_array().into_iter().flatten();
    let span = |span: &Value| {
        let process = &trace["processes"][text(&span["processID"])];
        let mut resource = tags(&process["tags"]);
        resource.insert("service.name".to_owned(), text(&process["serviceName"]));
        let attributes = tags(&span["tags"]);
        let said = |name: &str| attributes.get(name).map_or("", String::as_str);
        let parent = span["references"].as_array().into_iter().flatten();
        let parent = parent.last().map(|parent| text(&parent["spanID"]));
        Seen {
            name: text(&span["operationName"]),
            // The numbers that OTLP has for these words.
            kind: match said("span.kind") {
                "producer" => 4,
                "consumer" => 5,
                _ => 0,
            },
            trace: text(&span["traceID"]),
            id: text(&span["spanID"]),
            parent: parent.unwrap_or_default(),
            failed: said("otel.status_code") == "ERROR",
            attributes,
            resource,
        }
    };
    spans.map(span).collect()
}

fn tags(tags: &Value) -> BTreeMap<String, String> {
    let tags = tags.as_array().into_iter().flatten();
    let tag = |tag: &Value| {
        let value = match &tag["value"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        (tag["key"].as_str().unwrap_or_default().to_owned(), value)
    };
    tags.map(tag).collect()
}
