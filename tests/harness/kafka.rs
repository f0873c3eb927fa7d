//! A real Apache Kafka: one KRaft node from the jars of `tests/kafka/pom.xml`, on free loopback ports
//! and in a temporary folder. It must not know what the tests do with it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::LazyLock;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::{process, wait};

/// A node was up in 2 s on two idle cores; a busy machine gets time.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// How long the controller waits for a broker that says nothing. A killed broker is let in again only
/// after this, so private nodes make it short; the shared one keeps Kafka's default, because a starved
/// machine must not look like a dead broker.
const SHARED_SESSION_MS: u32 = 9_000;
const PRIVATE_SESSION_MS: u32 = 2_000;

/// The brokers that all tests share: those named by `MILLRACE_TEST_BROKERS`, or one node started at
/// the first call. Tests keep apart by their own topics and groups.
pub(crate) fn shared() -> &'static str {
    static SHARED: LazyLock<(Option<Node>, String)> = LazyLock::new(|| {
        if let Some(brokers) = process::setting("MILLRACE_TEST_BROKERS") {
            return (None, brokers);
        }
        let node = Node::start_with(Speed::QuickStart, SHARED_SESSION_MS, None);
        let brokers = node.brokers();
        (Some(node), brokers)
    });
    &SHARED.1
}

/// What the Java machine is tuned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speed {
    /// Light compilation: up sooner, and the two cores are left to what is under test.
    QuickStart,
    /// Full compilation, as an operator would run it: for measuring throughput.
    Throughput,
    /// The same with the memory and the collector that Kafka's own start script chooses, which keeps its pauses short: for
    /// measuring latency.
    Latency,
}

/// One private node. It is killed when dropped, and in any case when the process ends.
#[derive(Debug)]
pub(crate) struct Node {
    java: Option<Child>,
    speed: Speed,
    folder: PathBuf,
    port: u16,
    /// A second listener, and the port that it tells its clients to use instead of its own.
    behind: Option<(u16, u16)>,
}

/// A further door of a node. Its clients are told to come to `localhost`, which certificates can name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listener {
    /// In capital letters.
    pub(crate) name: &'static str,
    /// Kafka's name of how it is secured.
    pub(crate) protocol: &'static str,
    pub(crate) port: u16,
}

impl Node {
    /// Formats the storage of a new node and starts it; returns when it answers.
    ///
    /// # Panics
    /// When the jars are missing or the node does not come up, with the end of its log.
    pub(crate) fn start(speed: Speed) -> Self {
        Self::start_with(speed, PRIVATE_SESSION_MS, None)
    }

    /// The same with a second listener on `port`, whose clients are told to come to `advertised`: that
    /// of a proxy. [`Node::brokers`] still leads past it.
    pub(crate) fn start_behind(port: u16, advertised: u16) -> Self {
        Self::start_with(
            Speed::QuickStart,
            PRIVATE_SESSION_MS,
            Some((port, advertised)),
        )
    }

    /// The same with further listeners, the properties that secure them, and further arguments for the tool that
    /// formats its storage.
    pub(crate) fn start_secured(
        listeners: &[Listener],
        properties: &str,
        format_args: &[String],
    ) -> Self {
        let mut node = Self::new(Speed::QuickStart, None);
        let mut text = node.server_properties(PRIVATE_SESSION_MS);
        for Listener {
            name,
            protocol,
            port,
        } in listeners
        {
            for (line, more) in [
                ("\nlisteners=", format!("{name}://127.0.0.1:{port},")),
                (
                    "\nadvertised.listeners=",
                    format!("{name}://localhost:{port},"),
                ),
                (
                    "\nlistener.security.protocol.map=",
                    format!("{name}:{protocol},"),
                ),
            ] {
                text = text.replacen(line, &format!("{line}{more}"), 1);
            }
        }
        text.push_str(properties);
        fs::write(node.properties(), text).expect("the folder can be written");
        node.format(format_args);
        node.launch();
        node
    }

    fn start_with(speed: Speed, session_ms: u32, behind: Option<(u16, u16)>) -> Self {
        let mut node = Self::new(speed, behind);
        fs::write(node.properties(), node.server_properties(session_ms))
            .expect("the folder can be written");
        node.format(&[]);
        node.launch();
        node
    }

    fn new(speed: Speed, behind: Option<(u16, u16)>) -> Self {
        Self {
            java: None,
            speed,
            folder: process::folder("kafka"),
            port: process::free_port(),
            behind,
        }
    }

    /// `bootstrap.servers` of this node.
    pub(crate) fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// SIGKILL to the broker. What it acknowledged stays, in the page cache.
    pub(crate) fn kill9(&mut self) {
        if let Some(mut java) = self.java.take() {
            java.kill().expect("the node can be killed");
            java.wait().expect("the node can be waited for");
        }
    }

    /// An orderly shutdown, waited for.
    pub(crate) fn stop(&mut self) {
        if let Some(mut java) = self.java.take() {
            process::signal(&java, "TERM");
            process::wait_for_exit(&mut java, "the Kafka node", Duration::from_secs(30));
        }
    }

    /// Starts a stopped or killed node on the same port and data; returns when it answers.
    pub(crate) fn restart(&mut self) {
        self.kill9();
        self.launch();
    }

    /// Stops the process in its tracks, connections open, until [`Node::thaw`].
    pub(crate) fn freeze(&self) {
        process::signal(self.java.as_ref().expect("the node runs"), "STOP");
    }

    /// Lets a frozen node go on.
    pub(crate) fn thaw(&self) {
        process::signal(self.java.as_ref().expect("the node runs"), "CONT");
    }

    fn format(&self, args: &[String]) {
        let mut format = java(self.speed);
        format.args(["kafka.tools.StorageTool", "format", "--cluster-id"]);
        // Any 16 bytes will do as a cluster id; one node never meets another.
        format
            .args(["bWlsbHJhY2UtdGVzdHMtMQ", "--config"])
            .arg(self.properties())
            .args(args);
        self.logged(&mut format).expect("the log can be written");
        let status = process::spawn(format).and_then(|mut java| java.wait());
        let status = status.unwrap_or_else(|error| panic!("java cannot be started: {error}"));
        assert!(
            status.success(),
            "Kafka's storage could not be formatted:\n{}",
            self.log_tail()
        );
    }

    fn launch(&mut self) {
        let mut start = java(self.speed);
        start.arg("kafka.Kafka").arg(self.properties());
        self.logged(&mut start).expect("the log can be written");
        let java = process::spawn(start).expect("java was started before");
        let java = self.java.insert(java);
        let prober: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", format!("127.0.0.1:{}", self.port))
            // The first attempts fail while the node starts; by default the waits between grow to 10 s.
            .set("reconnect.backoff.ms", "20")
            .set("reconnect.backoff.max.ms", "100")
            .set("log_level", "0")
            .create()
            .expect("a consumer can be made");
        let log = self.folder.join("kafka.log");
        wait::eventually_some("a Kafka node that answers", START_TIMEOUT, || {
            // An early end is final: there is nothing to wait for.
            if let Ok(Some(status)) = java.try_wait() {
                panic!(
                    "the Kafka node ended, {status}:\n{}",
                    process::tail(&log, 40)
                );
            }
            let metadata = prober
                .fetch_metadata(None, Duration::from_millis(500))
                .map_err(|error| format!("{error}; its log:\n{}", process::tail(&log, 20)))?;
            if metadata.brokers().is_empty() {
                return Err("it knew no broker yet".to_owned());
            }
            Ok(())
        });
    }

    fn logged(&self, command: &mut Command) -> io::Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("kafka.log"))?;
        command.stdout(log.try_clone()?).stderr(log);
        Ok(())
    }

    fn log_tail(&self) -> String {
        process::tail(&self.folder.join("kafka.log"), 40)
    }

    fn properties(&self) -> PathBuf {
        self.folder.join("server.properties")
    }

    /// One process is broker and controller. Everything internal is as small as one node allows, and
    /// groups form at once: a test would wait 3 s for the first member otherwise.
    fn server_properties(&self, session_ms: u32) -> String {
        let port = self.port;
        let controller_port = process::free_port();
        let data = self.folder.join("data");
        let (listener, advertised) = match self.behind {
            Some((port, advertised)) => (
                format!(",BEHIND://127.0.0.1:{port}"),
                format!(",BEHIND://127.0.0.1:{advertised}"),
            ),
            None => (String::new(), String::new()),
        };
        format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller_port}\n\
             controller.listener.names=CONTROLLER\n\
             inter.broker.listener.name=PLAINTEXT\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}{listener}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}{advertised}\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,BEHIND:PLAINTEXT\n\
             log.dirs={data}\n\
             broker.session.timeout.ms={session_ms}\n\
             broker.heartbeat.interval.ms=500\n\
             auto.create.topics.enable=false\n\
             group.initial.rebalance.delay.ms=0\n\
             group.min.session.timeout.ms=1000\n\
             offsets.topic.num.partitions=4\n\
             offsets.topic.replication.factor=1\n\
             transaction.state.log.num.partitions=4\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             transaction.abort.timed.out.transaction.cleanup.interval.ms=1000\n\
             share.coordinator.state.topic.num.partitions=4\n\
             share.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\n",
            data = data.display(),
        )
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(java) = &mut self.java {
            // Nothing can be done about a failure here, and the kernel kills the node in the end.
            java.kill().ok();
            java.wait().ok();
        }
    }
}

/// Runs a Java program of one source file with Kafka's jars, and returns what it prints.
pub(crate) fn run_java(source: &Path, args: &[&str]) -> String {
    let mut run = java(Speed::QuickStart);
    run.arg(source)
        .args(args)
        .stdout(std::process::Stdio::piped());
    let child = process::spawn(run).expect("java can be started");
    let output = child.wait_with_output().expect("it ends");
    assert!(
        output.status.success(),
        "{} ended with {}",
        source.display(),
        output.status
    );
    String::from_utf8(output.stdout).expect("it prints text")
}

/// Java with Kafka's jars. Serial collection mostly, and 1 GiB: one node beside the tests on two cores.
fn java(speed: Speed) -> Command {
    let mut java = process::java();
    java.args(["-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]);
    java.args(match speed {
        Speed::QuickStart => ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"].as_slice(),
        Speed::Throughput => &["-XX:+UseSerialGC"],
        Speed::Latency => &[
            "-Xms1g",
            "-XX:+UseG1GC",
            "-XX:MaxGCPauseMillis=20",
            "-XX:InitiatingHeapOccupancyPercent=35",
        ],
    });
    java.arg("-cp").arg(jars().join("*"));
    java
}

/// Where `make setup-test` puts the jars; the Makefile computes the same place.
fn jars() -> PathBuf {
    let pom = include_str!("../kafka/pom.xml");
    let version = pom
        .split_once("<kafka.version>")
        .and_then(|(_, rest)| rest.split_once("</kafka.version>"))
        .map(|(version, _)| version)
        .expect("tests/kafka/pom.xml names kafka.version");
    let jars = process::cache().join(format!("kafka-{version}"));
    assert!(
        jars.join("complete").exists(),
        "Apache Kafka {version} is not in {}: run `make setup-test`, or name a running cluster in \
         MILLRACE_TEST_BROKERS",
        jars.display(),
    );
    jars
}
