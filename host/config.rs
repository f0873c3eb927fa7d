//! What the operator configured, validated and ready to use.
//!
//! Stages: `tree` is the document as written, with the place of every value; `overrides` and
//! `interpolate` complete it; [`read`] turns it into the types of this file and reports every error at
//! once. This is the only reader of configuration files and of the environment. It must not know
//! Kafka, wasmtime or threads.

mod finding;
mod interpolate;
mod overrides;
pub mod places;
pub mod read;
mod tree;
pub mod units;
mod web;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use finding::{ConfigError, Finding};
pub use places::process_environment;
pub use read::{load, parse};
pub use web::{Network, WebHost, WebTarget};

/// The whole configuration of one host.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// How to reach Kafka.
    pub kafka: Kafka,
    /// Plugins by the name that routes use.
    pub plugins: BTreeMap<String, Plugin>,
    /// Consumer groups, in the order written; ids are unique.
    pub groups: Vec<Group>,
    /// Gateways for publishers.
    pub ingest: Ingest,
    /// Where metrics and health are served.
    pub admin: Admin,
    /// How long a shutdown or a revoked partition may take to finish what is in flight.
    /// Below the session timeout, because the group gives the partition away after that.
    pub drain_timeout: Duration,
    /// Folder of compiled components; none compiles at every start.
    pub compile_cache: Option<PathBuf>,
}

impl Config {
    /// Lanes over all groups; each has an instance of its plugin.
    #[must_use]
    pub fn lanes(&self) -> usize {
        let plugins = |group: &Group| {
            let plugins: BTreeSet<&String> = group.routes.values().collect();
            plugins.len()
        };
        let lanes = self.groups.iter();
        lanes.map(|group| plugins(group) * group.concurrency).sum()
    }
}

/// The most lanes that one host may have over all groups. An instance takes 4 GiB of the address space, and
/// a processor gives 128 TiB of it.
pub const LANES_MAX: usize = 8_000;

/// Connection to the Kafka cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Kafka {
    /// `bootstrap.servers`.
    pub brokers: String,
    /// librdkafka properties passed through, without those the delivery promise depends on.
    pub properties: BTreeMap<String, String>,
    /// Largest record the producers send, in bytes; `message.max.bytes` of librdkafka.
    pub message_max_bytes: usize,
}

/// One sandboxed component and what it is allowed.
#[derive(Debug, Clone, PartialEq)]
pub struct Plugin {
    /// The component file, relative to the configuration file.
    pub path: PathBuf,
    /// What the component may import and where it may write.
    pub grants: Grants,
    /// How often `on-tick` is called for each assigned partition, where the plugin exports it.
    pub tick: Duration,
    /// The plugin's own settings, served by `wasi:config/store`.
    pub settings: BTreeMap<String, String>,
    /// The journal file; present exactly when the journal is granted.
    pub journal: Option<Journal>,
    /// What the plugin's state may take in each topic-partition, keys included, in bytes.
    pub state_quota_bytes: u64,
    /// Limits of each instance.
    pub limits: Limits,
    /// When an instance that is well makes room for a new one.
    pub recycle: Recycle,
    /// How other versions of it come to serve.
    pub reload: Reload,
    /// A candidate for its next version, tried on its events.
    pub trial: Option<Trial>,
    /// Whether this is a shadow: what it may ask others is linked, and refused.
    pub only_watches: bool,
}

impl Plugin {
    /// What the candidate for its next version is loaded by: the same with another file. It does not serve, so
    /// what it asks for is approved when it is to.
    #[must_use]
    pub fn candidate(&self) -> Option<Self> {
        let trial = self.trial.as_ref()?;
        let reload = Reload {
            approve_grants: false,
            ..self.reload
        };
        Some(Self {
            path: trial.path.clone(),
            trial: None,
            only_watches: trial.how == Try::Shadow,
            reload,
            ..self.clone()
        })
    }
}

/// How a candidate for the next version of a plugin is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// The component file of the candidate. It has the plugin's own grants, limits and settings.
    pub path: PathBuf,
    /// On what.
    pub how: Try,
    /// It serves by itself after so many events in a row on which nothing spoke against it; none waits for an
    /// operator.
    pub promote_after: Option<u64>,
}

/// On what a candidate is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Try {
    /// It handles a share of the order groups.
    Canary {
        /// How many of a million.
        share_of_a_million: u32,
    },
    /// It handles every event a second time, and what it does is compared and dropped.
    Shadow,
}

/// How other versions of a plugin come to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reload {
    /// Whether a change of the component file is taken up.
    pub watch: bool,
    /// Whether a version that uses grants which the one that serves does not use waits until it is approved.
    pub approve_grants: bool,
}

impl Default for Reload {
    fn default() -> Self {
        Self {
            watch: true,
            approve_grants: false,
        }
    }
}

/// What a plugin may use. Nothing by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    /// `wasi:logging/logging`.
    pub logging: bool,
    /// `wasi:config/store`.
    pub config: bool,
    /// `millrace:plugin/metrics`.
    pub metrics: bool,
    /// `millrace:plugin/state`.
    pub state: bool,
    /// `millrace:plugin/tally`.
    pub tally: bool,
    /// `millrace:plugin/journal`.
    pub journal: bool,
    /// Topics that outputs may go to (`output:NAME`).
    pub output_topics: Vec<String>,
    /// Where `wasi:http/outgoing-handler` may send requests (`https:HOST`, `http:HOST`).
    pub web: Vec<WebTarget>,
    /// Addresses that are not public and that these hosts may have (`network:ADDRESS/BITS`).
    pub networks: Vec<Network>,
}

impl Grants {
    /// Whether this word is among them; topics of outputs are no word.
    #[must_use]
    pub fn has(&self, word: &str) -> bool {
        match word {
            "metrics" => self.metrics,
            "tally" => self.tally,
            "journal" => self.journal,
            "state" => self.state,
            "logging" => self.logging,
            "config" => self.config,
            "https:HOST" => !self.web.is_empty(),
            _ => false,
        }
    }
}

/// An append-only file that the host owns on behalf of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// The file, relative to the configuration file.
    pub path: PathBuf,
    /// Rotate when the file has reached this size.
    pub rotate_bytes: u64,
    /// Rotate when its first lines are this old; none does not.
    pub rotate_age: Option<Duration>,
    /// How many rotated files stay, at least 1; none keeps all.
    pub keep: Option<u64>,
}

/// Limits of one plugin and of each of its instances; the defaults are those of the sandbox checklist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory, summed over all memories of the instance.
    pub memory_bytes: usize,
    /// One call: an event, or a batch whose events then run again singly.
    pub deadline: Duration,
    /// Fuel of one event, about one unit an instruction; none switches metering off.
    pub fuel: Option<u64>,
    /// Core instances that one instance is made of.
    pub instances: u32,
    /// Linear memories of one instance.
    pub memories: u32,
    /// Tables of one instance.
    pub tables: u32,
    /// Table elements, summed over all tables of the instance.
    pub table_elements: usize,
    /// Handles of host resources that one instance may hold.
    pub resources: usize,
    /// Bytes that one event's call may pass to and from the host.
    pub event_hostcall_bytes: usize,
    /// Bytes that one batch's call may pass to and from the host.
    pub batch_hostcall_bytes: usize,
    /// Outputs of one event, by count.
    pub outputs: usize,
    /// Outputs of one event, in bytes.
    pub output_bytes: usize,
    /// Calls of host functions that one event may make.
    pub host_calls: u32,
    /// A log line, in bytes; the rest of a longer one is cut off.
    pub log_line_bytes: usize,
    /// Log lines a second of all instances together; further ones are dropped and counted.
    pub log_lines: u32,
    /// Size of the component file.
    pub component_bytes: u64,
    /// Time for compiling the component.
    pub compile_time: Duration,
    /// Series of the plugin's own metrics, over all of its instances.
    pub series: usize,
    /// Named sums that one topic-partition may have until a tick takes them.
    pub tallies: usize,
    /// HTTP requests that one event may make.
    pub http_requests: u32,
    /// One HTTP request, from the name of the host to the last byte of the answer. What is left of the
    /// call's deadline bounds it too.
    pub http_timeout: Duration,
    /// The body of one HTTP request.
    pub http_request_bytes: u64,
    /// The body of the answer to one HTTP request.
    pub http_response_bytes: u64,
}

impl Limits {
    /// The most core instances that a plugin can be given: what the engine's pool allows one instance.
    pub const INSTANCES_MAX: u32 = 100;
    /// The most memories; each takes 4 GiB of the pool's address space.
    pub const MEMORIES_MAX: u32 = 16;
    /// The most tables.
    pub const TABLES_MAX: u32 = 100;
    /// The most table elements; each table takes this many in the pool's address space.
    pub const TABLE_ELEMENTS_MAX: usize = 100_000;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            deadline: Duration::from_secs(1),
            fuel: None,
            instances: 20,
            memories: 4,
            tables: 20,
            table_elements: 20_000,
            resources: 1_000,
            event_hostcall_bytes: 4 << 20,
            batch_hostcall_bytes: 16 << 20,
            outputs: 1_000,
            output_bytes: 4 << 20,
            host_calls: 10_000,
            log_line_bytes: 1 << 10,
            log_lines: 100,
            component_bytes: 32 << 20,
            compile_time: Duration::from_mins(1),
            series: 1_000,
            // A tick gets all of them at once, and each takes up to about 3 KiB until then: 60 MiB, which no
            // plugin's own memory limit covers.
            tallies: 20_000,
            http_requests: 10,
            http_timeout: Duration::from_secs(30),
            http_request_bytes: 1 << 20,
            http_response_bytes: 4 << 20,
        }
    }
}

/// When an instance that is well makes room for a new one, between two calls. Never by default: an instance
/// keeps what it has cached, and the limit of memory bounds what it can leak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recycle {
    /// After this many events.
    pub events: Option<u64>,
    /// Once its linear memory is larger than this.
    pub memory_bytes: Option<usize>,
}

/// One Kafka consumer group.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// `group.id`.
    pub id: String,
    /// Topic to plugin name; every plugin named exists.
    pub routes: BTreeMap<String, String>,
    /// What keeps its order.
    pub ordering: Ordering,
    /// Lanes of each plugin of this group, at least 1 and at most 256.
    pub concurrency: usize,
    /// How repeated ids are recognised; none switches deduplication off.
    pub dedup: Option<Dedup>,
    /// What happens to an event whose plugin asks for a retry.
    pub retry: Retry,
    /// When the host stops asking a plugin that keeps failing; none switches the breaker off.
    pub breaker: Option<Breaker>,
    /// Where an event goes that was given up on.
    pub dead_letter: DeadLetter,
    /// Folder of the settle store.
    pub store: PathBuf,
    /// How often the store is synced and offsets are committed.
    pub commit_interval: Duration,
    /// Whether what is settled above the committed offset is written into the commit's metadata.
    pub commit_map: bool,
    /// Where a group without a committed offset begins.
    pub start_from: StartFrom,
}

/// What keeps its order within a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ordering {
    /// Everything of one partition.
    Partition,
    /// Everything of one key; a null key counts as its partition.
    Key,
    /// Nothing.
    Unordered,
}

/// Where a group without a committed offset begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartFrom {
    /// The oldest record the broker still has.
    Earliest,
    /// What arrives from now on.
    Latest,
}

/// How repeated ids are recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dedup {
    /// Where the id of an event is found.
    pub id: IdSource,
    /// Ids older than this, in record time, are forgotten.
    pub window: Duration,
    /// At most this many ids are remembered for each partition.
    pub max_events: usize,
    /// How long reading a partition again may take when it is assigned, before the group goes on with
    /// the part of the window that it has.
    pub rebuild_timeout: Duration,
}

/// Where the id of an event is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdSource {
    /// A header by name.
    Header(String),
    /// A JSON pointer (RFC 6901) into the value, split at its slashes and unescaped.
    Json(Vec<String>),
    /// CloudEvents `ce_id` together with `ce_source`.
    CloudEvents,
    /// The record's key.
    Key,
    /// The bytes of the value.
    ValueHash,
}

/// What happens to an event whose plugin asks for a retry.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// Attempts in all, the first one included; at least 1.
    pub attempts: u32,
    /// Delay before the second attempt.
    pub initial: Duration,
    /// Each further delay is this many times the one before.
    pub factor: f64,
    /// No delay is longer.
    pub max: Duration,
    /// Share of each delay that is random, 0 to 1.
    pub jitter: f64,
    /// Where an event waits for its next attempt.
    pub mode: RetryMode,
    /// Source topic to its retry topic. With [`RetryMode::Topic`] there is one for each source; with
    /// [`RetryMode::Park`] only where the operator named one, and events are then evicted to it.
    pub topics: BTreeMap<String, String>,
    /// How long a retry topic that the host creates keeps its records; at least `max_age`.
    pub retention: Duration,
    /// From an event's first failure to giving up, whatever attempts are left.
    pub max_age: Duration,
    /// The longest that an event may hold its key and the commit before it is evicted.
    pub max_park: Duration,
    /// Events held back behind parked keys, in each lane, before its partitions pause.
    pub park_events: usize,
    /// The same in bytes.
    pub park_bytes: usize,
}

/// Where an event waits for its next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryMode {
    /// In memory: its key waits, other keys flow, and the commit waits too.
    Park,
    /// In the group's own retry topic: nothing waits, and the order of its key is given up.
    Topic,
}

/// When failures mean that something outside fails, rather than single events.
#[derive(Debug, Clone, PartialEq)]
pub struct Breaker {
    /// Share of the keys that fail, from which on the cause is outside; 0.05 to 1.
    pub threshold: f64,
    /// Fewer keys than this say nothing.
    pub min_keys: usize,
    /// How far back keys are counted.
    pub window: Duration,
    /// Wait before the first probe.
    pub probe_initial: Duration,
    /// No wait between probes is longer.
    pub probe_max: Duration,
}

/// Where an event goes that was given up on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The topic; the group consumes it nowhere.
    pub topic: String,
    /// Whose headers are written beside the host's own.
    pub dialect: Dialect,
    /// Partitions of the topic where the host creates it; none means as many as the largest source has.
    pub partitions: Option<u16>,
    /// How long the topic keeps its records where the host creates it; none means for ever.
    pub retention: Option<Duration>,
}

/// The headers that another system puts on its dead letters, so that its tools can read ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Only the host's own.
    Millrace,
    /// `kafka_dlt-*` of Spring Kafka.
    Spring,
    /// `__connect.errors.*` of Kafka Connect.
    Connect,
    /// `__streams.errors.*` of Kafka Streams.
    Streams,
}

/// Gateways for publishers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ingest {
    /// The gRPC gateway; none when not configured.
    pub grpc: Option<GrpcIngest>,
}

/// The gRPC gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcIngest {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Largest event accepted: key, value and headers together.
    pub event_max_bytes: usize,
    /// Events that may wait for the broker at once, over all clients.
    pub in_flight_max: usize,
}

/// Where metrics and health are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Address to listen on.
    pub listen: SocketAddr,
}
