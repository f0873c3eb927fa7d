//! A real Prometheus (Debian's) as a child process: it scrapes what it is told to, evaluates the rules that are
//! delivered, and is asked as Grafana would ask it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{http, process, toolchains, wait};

/// It starts in a second, on a machine that may be compiling.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// How often it scrapes and evaluates: a test has no minute to wait.
const EVERY: &str = "1s";

/// A running server, ended when it is dropped.
#[derive(Debug)]
pub(crate) struct Prometheus {
    child: Child,
    folder: PathBuf,
    port: u16,
}

impl Prometheus {
    /// Starts one with the delivered configuration and rules, but for the address of the host and the intervals.
    #[track_caller]
    pub(crate) fn watching(host: SocketAddr) -> Self {
        let folder = process::folder("prometheus");
        let delivered = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus");
        let read = |file: &str| fs::read_to_string(delivered.join(file)).expect("it is delivered");
        let config = read("prometheus.yml");
        assert!(config.contains("millrace:9464") && config.contains(": 5s"));
        let config = config
            .replace("millrace:9464", &host.to_string())
            .replace(": 5s", &format!(": {EVERY}"));
        fs::write(folder.join("prometheus.yml"), config).expect("the folder can be written");
        fs::write(folder.join("rules.yml"), read("rules.yml")).expect("the folder can be written");
        let port = process::free_port();
        let log = fs::File::create(folder.join("log")).expect("the folder can be written");
        let mut command = process::tethered(program("prometheus"));
        command
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(&folder)
            .stdout(Stdio::null())
            .stderr(log);
        let child = process::spawn(command).expect("Prometheus can be started");
        let started = Self {
            child,
            folder,
            port,
        };
        wait::eventually_some(
            "a Prometheus that is ready",
            READY_TIMEOUT,
            || match started.get("/-/ready") {
                Ok((200, _)) => Ok(()),
                other => Err(format!("{other:?}; its log:\n{}", started.log())),
            },
        );
        started
    }

    /// What an expression comes to now: each series with its labels and its value.
    ///
    /// # Panics
    /// When it cannot be evaluated.
    #[track_caller]
    pub(crate) fn query(&self, expression: &str) -> Vec<(Value, f64)> {
        let path = format!("/api/v1/query?query={}", percent_encoded(expression));
        let (status, body) = self.get(&path).expect("Prometheus answers");
        assert_eq!(status, 200, "{expression}\n{body}");
        let answer: Value = serde_json::from_str(&body).expect("the answer is JSON");
        let series = answer["data"]["result"].as_array().expect("a vector");
        let sample = |series: &Value| {
            let value = series["value"][1].as_str()?.parse().ok()?;
            Some((series["metric"].clone(), value))
        };
        series.iter().filter_map(sample).collect()
    }

    /// The end of its log.
    pub(crate) fn log(&self) -> String {
        process::tail(&self.folder.join("log"), 20)
    }

    fn get(&self, path: &str) -> std::io::Result<(u16, String)> {
        let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
        http::exchange(self.port, &request)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Fails when it has ended already; and the kernel kills it in the end.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Debian's tool that checks rules and runs their tests.
pub(crate) fn promtool() -> Command {
    Command::new(program("promtool"))
}

fn program(name: &str) -> PathBuf {
    toolchains::tool(&format!("prometheus/usr/bin/{name}"), "setup-deploy")
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
