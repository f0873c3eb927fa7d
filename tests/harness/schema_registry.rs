//! A real schema registry (Apicurio, by Confluent's API) as a child process on free loopback ports, one of them
//! encrypted, and what it says over HTTP. It must not know what the tests do with it.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::{Value, json};

use super::certificates::Authority;
use super::{http, process, wait};

/// It was up in 4 s on two idle cores; a busy machine gets time.
const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// Where Confluent's API is.
const BASE: &str = "/apis/ccompat/v7";

/// A running registry. It keeps everything in memory.
#[derive(Debug)]
pub(crate) struct SchemaRegistry {
    java: Child,
    folder: PathBuf,
    port: u16,
    tls_port: u16,
}

/// The registry that all tests share, started at the first call. Tests keep apart by their own subjects and schemas.
pub(crate) fn shared() -> &'static SchemaRegistry {
    static SHARED: LazyLock<SchemaRegistry> = LazyLock::new(SchemaRegistry::start);
    &SHARED
}

impl SchemaRegistry {
    /// Starts one that is nobody else's.
    #[track_caller]
    pub(crate) fn start() -> Self {
        let folder = process::folder("schema-registry");
        let (port, tls_port) = (process::free_port(), process::free_port());
        let authority = Authority::new();
        authority.server(Ipv4Addr::LOCALHOST.into()).write(&folder);
        authority.write(&folder.join("ca.crt"));
        let log = fs::File::create(folder.join("log")).expect("the folder can be written");
        let mut java = process::java();
        java.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        for (name, value) in [
            ("host", "127.0.0.1".to_owned()),
            ("port", port.to_string()),
            ("ssl-port", tls_port.to_string()),
            ("ssl.certificate.files", path(&folder.join("tls.crt"))),
            ("ssl.certificate.key-files", path(&folder.join("tls.key"))),
            ("access-log.enabled", "true".to_owned()),
            ("access-log.pattern", "%m %U %s".to_owned()),
        ] {
            java.arg(format!("-Dquarkus.http.{name}={value}"));
        }
        java.arg("-jar").arg(jar());
        java.stdout(log.try_clone().expect("the log is a file"))
            .stderr(log);
        let registry = Self {
            java: process::spawn(java).expect("Java runs"),
            folder,
            port,
            tls_port,
        };
        wait::eventually_some(
            "a schema registry that answers",
            READY_TIMEOUT,
            || match registry.exchange("GET", "/subjects", "") {
                Ok((200, _)) => Ok(()),
                other => Err(format!("{other:?}; its log:\n{}", registry.log_tail())),
            },
        );
        registry
    }

    /// The port without encryption.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `schema_registry.url`.
    pub(crate) fn url(&self) -> String {
        url(self.port)
    }

    /// The same over an encrypted connection.
    pub(crate) fn tls_url(&self) -> String {
        format!("https://127.0.0.1:{}{BASE}", self.tls_port)
    }

    /// Who has signed the certificate of its encrypted port.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// Registers a schema, and says its number. References are (name, subject, version).
    #[track_caller]
    pub(crate) fn register(
        &self,
        subject: &str,
        format: &str,
        schema: &str,
        references: &[(&str, &str, u32)],
    ) -> u32 {
        let references = references.iter().map(|(name, subject, version)| {
            json!({ "name": name, "subject": subject, "version": version })
        });
        let references: Vec<Value> = references.collect();
        let body = json!({ "schemaType": format, "schema": schema, "references": references });
        let path = format!("/subjects/{subject}/versions");
        let (status, answer) = self
            .exchange("POST", &path, &body.to_string())
            .expect("the registry answers");
        assert_eq!(status, 200, "{path}: {answer}");
        let answer: Value = serde_json::from_str(&answer).expect("it is JSON");
        answer["id"].as_u64().expect("it says an id") as u32
    }

    /// The newest version of a subject; none where there is none.
    #[track_caller]
    pub(crate) fn latest(&self, subject: &str) -> Option<Value> {
        let path = format!("/subjects/{subject}/versions/latest");
        let (status, answer) = self
            .exchange("GET", &path, "")
            .expect("the registry answers");
        (status == 200).then(|| serde_json::from_str(&answer).expect("it is JSON"))
    }

    /// How often it was asked for this path since it started, by its own log.
    pub(crate) fn asked(&self, path: &str) -> usize {
        let log = fs::read_to_string(self.folder.join("log")).expect("the log can be read");
        let asked = format!("GET {BASE}{path} ");
        log.lines().filter(|line| line.contains(&asked)).count()
    }

    fn log_tail(&self) -> String {
        process::tail(&self.folder.join("log"), 20)
    }

    fn exchange(&self, method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
        let request = format!(
            "{method} {BASE}{path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\
             Content-Type: application/vnd.schemaregistry.v1+json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        http::exchange(self.port, &request)
    }
}

impl Drop for SchemaRegistry {
    fn drop(&mut self) {
        // Nothing can be done about a failure here, and the kernel ends it with the tests.
        self.java.kill().ok();
        self.java.wait().ok();
    }
}

/// `schema_registry.url` of what listens on this port, such as a proxy.
pub(crate) fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}{BASE}")
}

/// What a program in Python prints, which may use other people's codecs.
#[track_caller]
pub(crate) fn python(program: &str, args: &[&str]) -> String {
    let mut python = folder().into_os_string();
    python.push("-python/bin/python");
    let mut command = process::tethered(python);
    command.arg("-c").arg(program).args(args);
    let output = command.output().expect("Python runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    String::from_utf8(output.stdout).expect("it prints text")
}

fn jar() -> PathBuf {
    folder().join(format!("apicurio-registry-app-{}-runner.jar", version()))
}

fn version() -> &'static str {
    let pom = include_str!("../schema-registry/pom.xml");
    pom.split_once("<apicurio.version>")
        .and_then(|(_, rest)| rest.split_once("</apicurio.version>"))
        .map(|(version, _)| version)
        .expect("tests/schema-registry/pom.xml names apicurio.version")
}

/// Where `make setup-schema-registry` puts everything; the Makefile computes the same place.
fn folder() -> PathBuf {
    let folder = process::cache().join(format!("apicurio-{}", version()));
    assert!(
        folder.join("complete").exists(),
        "the schema registry is not in {}: run `make setup-schema-registry`",
        folder.display(),
    );
    folder
}

fn path(path: &Path) -> String {
    path.display().to_string()
}
