//! `millrace run` as a child process: started from a configuration text, watched over HTTP, ended in
//! every way a process can end. It knows the binary, never the host's modules.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use serde_json::Value;

use super::metrics::Metrics;
use super::{config_schema, process, wait};

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_millrace");

/// Plugins may have to be compiled first, on a machine that compiles other plugins too.
const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// Above any drain time-out that a test configures.
const EXIT_TIMEOUT: Duration = Duration::from_secs(60);

/// What a host is started with: a folder of its own and a configuration in it. The same setup can be
/// started again after its host has ended, and finds its stores and journals there.
#[derive(Debug)]
pub(crate) struct Setup {
    folder: PathBuf,
    admin: SocketAddr,
    binary: &'static str,
    args: Vec<String>,
    env: Vec<(String, String)>,
    ignored_signal: Option<&'static str>,
}

impl Setup {
    /// Writes `config` to a new folder, with sections for the brokers and the admin address added
    /// where it has none. Relative paths in it begin at that folder.
    pub(crate) fn new(brokers: &str, config: &str) -> Self {
        let folder = process::folder("host");
        let admin = SocketAddr::from(([127, 0, 0, 1], process::free_port()));
        let setup = Self {
            folder,
            admin,
            binary: BINARY,
            args: Vec::new(),
            env: Vec::new(),
            ignored_signal: None,
        };
        let has = |section: &str| config.lines().any(|line| line.starts_with(section));
        let mut text = config.to_owned();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        if !has("kafka:") {
            text.push_str(&format!("kafka: {{ brokers: \"{brokers}\" }}\n"));
        }
        if !has("admin:") {
            text.push_str(&format!("admin: {{ listen: \"{admin}\" }}\n"));
        }
        setup.write_config(&text);
        setup
    }

    /// Another binary than the one that is delivered.
    pub(crate) fn binary(mut self, binary: &'static str) -> Self {
        self.binary = binary;
        self
    }

    /// One more argument of `millrace run`.
    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// One more environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The host starts with this signal ignored.
    pub(crate) fn ignoring(mut self, signal: &'static str) -> Self {
        self.ignored_signal = Some(signal);
        self
    }

    /// Where the configuration stands, and what is relative to it.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the admin server will listen, unless the configuration says otherwise.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The configuration file.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.folder.join("millrace.yaml")
    }

    /// Puts another text in the place of the configuration.
    pub(crate) fn write_config(&self, text: &str) {
        fs::write(self.config_file(), text).expect("the folder can be written");
    }

    /// Starts the host and waits until it is ready.
    ///
    /// # Panics
    /// When it ends instead, or is not ready in time, with the end of its log.
    #[track_caller]
    pub(crate) fn start(&self) -> Host {
        let mut host = self.spawn();
        host.wait_until_ready();
        // Editors must not mark what a host takes.
        let text = fs::read_to_string(self.config_file()).expect("the configuration is there");
        config_schema::expect_accepted("the configuration of a host that runs", &text);
        host
    }

    /// Starts the host without waiting for anything.
    pub(crate) fn spawn(&self) -> Host {
        let output = |name: &str| {
            let file = self.folder.join(format!("{name}.log"));
            (
                File::create(&file).expect("the folder can be written"),
                file,
            )
        };
        let (stdout, stdout_file) = output("stdout");
        let (stderr, stderr_file) = output("stderr");
        let mut command = match self.ignored_signal {
            None => process::tethered(self.binary),
            Some(signal) => {
                let mut command = process::tethered("env");
                command
                    .arg(format!("--ignore-signal={signal}"))
                    .arg(self.binary);
                command
            }
        };
        command
            .args(["run", "--output", "json", "-c"])
            .arg(self.config_file())
            .args(&self.args)
            .current_dir(&self.folder)
            // A store without a configured place must not land in the home of whoever runs the tests.
            .env("XDG_STATE_HOME", self.folder.join("state"))
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdout(stdout)
            .stderr(stderr);
        let child = process::spawn(command).expect("the binary can be started");
        Host {
            child,
            admin: self.admin,
            stdout_file,
            stderr_file,
        }
    }

    /// Starts a host that is expected to end by itself, as with a bad configuration.
    #[track_caller]
    pub(crate) fn run_to_exit(&self) -> Exit {
        self.spawn().wait()
    }
}

/// Runs another subcommand to its end, as a person would type it.
#[track_caller]
pub(crate) fn command(args: &[&str]) -> Exit {
    command_with(args, &[])
}

/// The same, with further environment variables.
#[track_caller]
pub(crate) fn command_with(args: &[&str], env: &[(&str, &str)]) -> Exit {
    let folder = process::folder("command");
    let (stdout_file, stderr_file) = (folder.join("stdout.log"), folder.join("stderr.log"));
    let mut command = process::tethered(BINARY);
    command
        .args(args)
        .envs(env.iter().copied())
        .current_dir(&folder)
        .stdout(File::create(&stdout_file).expect("the folder can be written"))
        .stderr(File::create(&stderr_file).expect("the folder can be written"));
    let mut child = process::spawn(command).expect("the binary can be started");
    let what = format!("millrace {}", args.join(" "));
    let status = process::wait_for_exit(&mut child, &what, EXIT_TIMEOUT);
    Exit::new(status, &stdout_file, &stderr_file)
}

/// A running host. It is killed when dropped, and in any case when the process ends.
#[derive(Debug)]
pub(crate) struct Host {
    child: Child,
    admin: SocketAddr,
    stdout_file: PathBuf,
    stderr_file: PathBuf,
}

impl Host {
    /// Waits until `/readyz` says yes.
    #[track_caller]
    pub(crate) fn wait_until_ready(&mut self) {
        wait::eventually_some("a host that is ready", READY_TIMEOUT, || {
            // An early end is final: there is nothing to wait for.
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!(
                    "the host ended, {status}:\n{}",
                    process::tail(&self.stderr_file, 40)
                );
            }
            match get(self.admin, "/readyz") {
                Ok((200, _)) => Ok(()),
                Ok((status, body)) => Err(format!("/readyz said {status} {body}")),
                Err(error) => Err(format!(
                    "/readyz: {error}; its log:\n{}",
                    process::tail(&self.stderr_file, 20)
                )),
            }
        });
    }

    /// The process id, for what `/proc` knows about it.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The most memory it has ever held, in bytes.
    pub(crate) fn peak_memory_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("the host runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak
            .and_then(|line| line.trim().strip_suffix(" kB"))
            .expect("VmHWM is there");
        kib.parse::<u64>().expect("VmHWM is a number") * 1024
    }

    /// Status and body of one GET on the admin address.
    pub(crate) fn get(&self, path: &str) -> io::Result<(u16, String)> {
        get(self.admin, path)
    }

    /// Status and body of one POST on the admin address.
    pub(crate) fn post(&self, path: &str) -> io::Result<(u16, String)> {
        // A version may have to be compiled first.
        ask(self.admin, "POST", path, READY_TIMEOUT)
    }

    /// Where its admin server listens.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// One scrape of `/metrics`.
    ///
    /// # Panics
    /// When it is not served, or is not Prometheus' text format.
    #[track_caller]
    pub(crate) fn metrics(&self) -> Metrics {
        let (status, body) = self.get("/metrics").expect("the host serves /metrics");
        assert_eq!(status, 200, "/metrics said {body}");
        Metrics::parse(&body)
    }

    /// What it has logged so far, one object a line; lines that are not JSON come as strings.
    pub(crate) fn log(&self) -> Vec<Value> {
        log_lines(&fs::read_to_string(&self.stderr_file).unwrap_or_default())
    }

    /// Asks it to end, and waits until it has.
    #[track_caller]
    pub(crate) fn sigterm(self) -> Exit {
        process::signal(&self.child, "TERM");
        self.wait()
    }

    /// Asks it to end, and waits for nothing.
    pub(crate) fn ask_to_end(&self) {
        process::signal(&self.child, "TERM");
    }

    /// Asks it to read its configuration again, and waits for nothing.
    pub(crate) fn hangup(&self) {
        process::signal(&self.child, "HUP");
    }

    /// Ends it as a power cut would, for the process at least.
    pub(crate) fn kill9(mut self) -> Exit {
        self.child.kill().expect("the host can be killed");
        self.wait()
    }

    /// Stops it in its tracks until [`Host::thaw`]: what a long pause of the machine looks like.
    pub(crate) fn freeze(&self) {
        process::signal(&self.child, "STOP");
    }

    /// Lets a frozen host go on.
    pub(crate) fn thaw(&self) {
        process::signal(&self.child, "CONT");
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Exit {
        let status = process::wait_for_exit(&mut self.child, "millrace run", EXIT_TIMEOUT);
        Exit::new(status, &self.stdout_file, &self.stderr_file)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = process::tail(&self.stderr_file, 60);
            eprintln!("the end of the log of a host that the failed test had running:\n{log}");
        }
        // Fails when it has ended already; and the kernel kills it in the end.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// How a run of the binary ended, and all it said.
#[derive(Debug)]
pub(crate) struct Exit {
    /// The exit code, where it was not a signal that ended it.
    pub(crate) code: Option<i32>,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
    /// Its answer.
    pub(crate) stdout: String,
    /// Its log.
    pub(crate) stderr: String,
}

impl Exit {
    fn new(status: std::process::ExitStatus, stdout: &Path, stderr: &Path) -> Self {
        let text = |file| String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned();
        Self {
            code: status.code(),
            signal: status.signal(),
            stdout: text(stdout),
            stderr: text(stderr),
        }
    }

    /// Checks the exit code.
    ///
    /// # Panics
    /// When it is another, with all that was said.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout: {}\nstderr: {}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// The answer as JSON: of `run`, the consumption summary.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error} in: {}\nstderr: {}", self.stdout, self.stderr))
    }

    /// The log, one object a line; lines that are not JSON come as strings.
    pub(crate) fn log(&self) -> Vec<Value> {
        log_lines(&self.stderr)
    }
}

fn log_lines(text: &str) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| Value::from(line));
    text.lines().map(parse).collect()
}

fn get(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    // A host that is alive answers on loopback at once; a frozen one never.
    ask(address, "GET", path, Duration::from_secs(5))
}

/// A request in HTTP/1.0, whose answer ends with the connection and knows no chunks.
fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    timeout: Duration,
) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    // One write, so that a server that answers after its first read has read it all.
    let request =
        format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| io::Error::other(format!("not an HTTP answer: {answer}")))?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no status in: {head}")))?;
    Ok((status, body.to_owned()))
}
