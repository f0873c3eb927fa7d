//! Child processes and temporary folders that do not outlive the tests, whatever ends them: a panic, a
//! failed assertion, Ctrl-C or kill -9.
//!
//! Destructors are not enough, because statics are never dropped and a killed process runs none. So
//! every child asks the kernel to be killed with its parent, and one shell per test process waits for
//! the end of its standard input, which is the end of that process, and then removes the folder.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use super::wait;

/// A command that is killed together with the test process.
pub(crate) fn tethered(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program)
        // One for all hosts, so that each plugin is compiled once; not that of the person who tests.
        .env(
            "XDG_CACHE_HOME",
            concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"),
        )
        .stdin(Stdio::null());
    command
}

/// Starts a [`tethered`] command.
///
/// The kernel ties a child to the thread that made it, not to the process, and the thread of a test
/// ends with the test. So one thread that never ends starts them all.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, SyncSender<io::Result<Child>>);
    static NURSERY: LazyLock<SyncSender<Order>> = LazyLock::new(|| {
        // One order at a time is enough: whoever sends waits for the answer.
        let (orders, inbox) = sync_channel::<Order>(1);
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                answer.send(command.spawn()).ok();
            }
        });
        orders
    });
    let (answer, child) = sync_channel(1);
    NURSERY
        .send((command, answer))
        .expect("the nursery thread never ends");
    child
        .recv()
        .expect("the nursery thread answers every order")
}

/// Sends a signal by name (`TERM`, `STOP`, `CONT`) to a child that has not been waited for yet, so
/// its process id cannot belong to anyone else.
pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("sh")
        .args(["-c", r#"kill -s "$0" "$1""#, name, &child.id().to_string()])
        .status()
        .expect("sh runs");
    assert!(
        status.success(),
        "signal {name} could not be sent to process {}",
        child.id()
    );
}

/// Waits for the child to end by itself; kills it and panics when it does not.
#[track_caller]
pub(crate) fn wait_for_exit(child: &mut Child, what: &str, timeout: Duration) -> ExitStatus {
    wait::eventually_some(&format!("the end of {what}"), timeout, || {
        match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("it was still running".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    })
}

/// A new empty folder, removed when the test process ends. `MILLRACE_TEST_KEEP=1` keeps it.
pub(crate) fn folder(name: &str) -> PathBuf {
    static ROOT: LazyLock<Root> = LazyLock::new(Root::new);
    tempfile::Builder::new()
        .prefix(&format!("{name}-"))
        .tempdir_in(&ROOT.path)
        .expect("a temporary folder can be made")
        .keep()
}

/// The folder of this process, and the shell that removes it when the process has ended.
struct Root {
    path: PathBuf,
    _sweeper: Option<Child>,
}

impl Root {
    fn new() -> Self {
        let path = tempfile::Builder::new()
            .prefix("millrace-test-")
            .tempdir()
            .expect("a temporary folder can be made")
            .keep();
        let keep = setting("MILLRACE_TEST_KEEP").is_some();
        let sweeper = (!keep).then(|| sweeper(&path).expect("sh runs"));
        Self {
            path,
            _sweeper: sweeper,
        }
    }
}

/// Removal is tried again for up to 5 s, because a child that was killed a moment ago may still write.
fn sweeper(path: &Path) -> io::Result<Child> {
    const SCRIPT: &str = r#"
        trap '' INT TERM HUP
        cat >/dev/null
        tries=0
        until rm -rf -- "$0" || [ "$tries" -ge 50 ]; do tries=$((tries + 1)); sleep 0.1; done
    "#;
    Command::new("sh")
        .args(["-c", SCRIPT])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

/// A loopback port that nothing uses now, and that this process gives out once.
///
/// It lies below the range from which the kernel takes ports for outgoing connections. A port from
/// that range can be taken while a stopped broker is to come back on it, even by a client that
/// connects to itself there.
pub(crate) fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    // With 12 000 ports to choose from, 1 000 tries fail only where something is very wrong.
    for _ in 0..1_000 {
        let port = fastrand::u16(20_000..32_000);
        if !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            given.insert(port);
            return port;
        }
    }
    panic!("no free port between 20000 and 32000 on 127.0.0.1");
}

/// An environment variable that is set and not empty.
#[expect(
    clippy::disallowed_methods,
    reason = "the host's configuration does not reach the tests"
)]
pub(crate) fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Where `make setup` puts what it fetches; the Makefile computes the same place.
pub(crate) fn cache() -> PathBuf {
    let cache = setting("XDG_CACHE_HOME").map_or_else(
        || Path::new(&setting("HOME").expect("HOME is set")).join(".cache"),
        PathBuf::from,
    );
    cache.join("millrace")
}

/// Java, killed together with the test process.
pub(crate) fn java() -> Command {
    tethered(setting("JAVA_HOME").map_or_else(
        || PathBuf::from("java"),
        |home| Path::new(&home).join("bin/java"),
    ))
}

/// The last lines of a text file, for a message about what went wrong.
pub(crate) fn tail(file: &Path, lines: usize) -> String {
    let text = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
