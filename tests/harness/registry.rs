//! A real registry server (Debian's `docker-registry`) as a child process on a free loopback port, with a folder of its
//! own, and what it says over HTTP.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{http, process, wait};

/// It starts in well under a second, on a machine that may be compiling.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// The only one who may come in where a login is asked for.
pub(crate) const USER: &str = "millrace";
pub(crate) const PASSWORD: &str = "letmein";

/// The two as `htpasswd -B` writes them.
const HTPASSWD: &str = "millrace:$2y$05$k6u3GCYg8xpFCThzCkexqOf1Knd4kKg.6Auy2UVjb0mQO7gUlfEN6\n";

/// A running registry, ended when it is dropped.
#[derive(Debug)]
pub(crate) struct Registry {
    child: Child,
    folder: PathBuf,
    port: u16,
}

impl Registry {
    /// Lets everyone in.
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// Lets in who knows the password.
    #[track_caller]
    pub(crate) fn start_with_login() -> Self {
        Self::start_with("auth: { htpasswd: { realm: test, path: htpasswd } }\n")
    }

    #[track_caller]
    fn start_with(lines: &str) -> Self {
        let folder = process::folder("registry");
        let port = process::free_port();
        let config = format!(
            "version: 0.1\nlog: {{ level: warn }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\n\
             http: {{ addr: \"127.0.0.1:{port}\", secret: test }}\n{lines}",
            folder.join("blobs").display()
        );
        fs::write(folder.join("config.yml"), config).expect("the folder can be written");
        fs::write(folder.join("htpasswd"), HTPASSWD).expect("the folder can be written");
        let child = spawn(&folder);
        let registry = Self {
            child,
            folder,
            port,
        };
        registry.wait_until_ready();
        registry
    }

    /// As references have it.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends it. What it holds stays.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        process::signal(&self.child, "TERM");
        process::wait_for_exit(&mut self.child, "the registry", READY_TIMEOUT);
    }

    /// Starts it again where it was.
    #[track_caller]
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(&self.folder);
        self.wait_until_ready();
    }

    /// What it answers to a GET below `/v2/`, as JSON.
    #[track_caller]
    pub(crate) fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path).expect("the registry answers");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error} in: {body}"))
    }

    fn wait_until_ready(&self) {
        wait::eventually_some("a registry that answers", READY_TIMEOUT, || {
            match self.get("") {
                Ok((200 | 401, _)) => Ok(()),
                other => Err(format!(
                    "{other:?}; its log:\n{}",
                    process::tail(&self.folder.join("log"), 20)
                )),
            }
        });
    }

    fn get(&self, path: &str) -> std::io::Result<(u16, String)> {
        let manifest = "application/vnd.oci.image.manifest.v1+json";
        let request = format!(
            "GET /v2/{path} HTTP/1.0\r\nHost: {}\r\nAccept: {manifest}, */*\r\n\r\n",
            self.host()
        );
        http::exchange(self.port, &request)
    }
}

fn spawn(folder: &std::path::Path) -> Child {
    let log = fs::File::create(folder.join("log")).expect("the folder can be written");
    let mut command = process::tethered("docker-registry");
    command
        .args(["serve", "config.yml"])
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(log);
    process::spawn(command)
        .unwrap_or_else(|error| panic!("docker-registry: {error}; run `make setup-registry`"))
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Fails when it has ended already; and the kernel kills it in the end.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
