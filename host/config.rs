//! What the operator configured, validated and ready to use.
//!
//! Stages: `tree` is the document as written, with the place of every value; `overrides`, `common_names` and
//! `interpolate` complete it; [`read`] turns it into the types of this file and reports every error at
//! once. `keys` is the table of all settings that `explain` and `json_schema` tell of. This is the only reader of configuration files and of the environment. It must not know
//! Kafka, wasmtime or threads.

mod common_names;
mod explain;
pub(crate) mod finding;
mod gateways;
mod interpolate;
mod json_schema;
mod kafka;
pub(crate) mod keys;
mod manifest;
mod otlp;
mod overrides;
pub mod places;
mod plugin;
mod producing;
pub mod read;
mod remote;
mod routes;
mod schema_registry;
mod secret;
mod topic_pattern;
pub(crate) mod tree;
pub mod units;
mod validation;
mod web;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use explain::{Came, Explained, Setting, Unused, Value};
pub use finding::{ConfigError, Finding};
pub use gateways::{
    Admin, CloudEventsIngest, CloudEventsMode, Connections, GrpcIngest, HttpIngest, Ingest,
    IngestClient, ServerTls, TopicRight,
};
pub use json_schema::json_schema;
pub use kafka::{
    Kafka, KafkaTls, PasswordMechanism, Sasl, TlsIdentity, TlsVerify, TokenEndpoint, TokenSource,
};
pub use manifest::{Language, OwnBuild, PluginManifest, plugin_name_problem};
pub use otlp::{Collector, OtlpProtocol, Sampler, SpanQueue, Tracing};
pub use places::{log_level, process_environment};
pub use plugin::{Grants, Journal, Limits, Plugin, Recycle, Reload, Trial, Try};
pub use producing::{Acks, Compression, Partitioning, Producing};
pub use read::{add_grant, connection, explain, load, load_explained, manifest, parse, suggest};
pub use remote::{OciReference, Origin, Remote, WebReference, is_loopback};
pub use routes::{Decode, PatternRoute, Route, Routes, redriven_topic};
pub use schema_registry::{Encode, RegistryLogin, SchemaFormat, SchemaRegistry, WantedSchema};
pub use secret::{Digested, Secret, Secrets, is_secret_name};
pub use topic_pattern::TopicPattern;
pub use validation::{EventTypes, TopicRules, TypeSchemas, TypeSource, Validation};
pub use web::{Network, WebHost, WebTarget};

/// The whole configuration of one host.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// How to reach Kafka.
    pub kafka: Kafka,
    /// Plugins by the name that routes use.
    pub plugins: BTreeMap<String, Plugin>,
    /// Rules that events have to keep, by the name that routes and gateways use.
    pub validation: BTreeMap<String, Validation>,
    /// Where schemas are registered that records are written by; none where nothing is asked.
    pub schema_registry: Option<SchemaRegistry>,
    /// Consumer groups, in the order written; ids are unique.
    pub groups: Vec<Group>,
    /// Topics that are checked at the start, and made where they may be.
    pub topics: BTreeMap<String, TopicPlan>,
    /// How records are tied to each other.
    pub correlation: Correlation,
    /// Gateways for publishers.
    pub ingest: Ingest,
    /// Where metrics and health are served.
    pub admin: Admin,
    /// How long a shutdown or a revoked partition may take to finish what is in flight.
    /// Below the session timeout, because the group gives the partition away after that.
    pub drain_timeout: Duration,
    /// Folder of compiled components; none compiles at every start.
    pub compile_cache: Option<PathBuf>,
    /// How plugins are fetched that are no files here.
    pub registry: Registry,
    /// Where spans go; none where nothing is traced.
    pub tracing: Option<Tracing>,
}

impl Config {
    /// Lanes over all groups; each has an instance of its plugin.
    #[must_use]
    pub fn lanes(&self) -> usize {
        let lanes = self.groups.iter();
        lanes
            .map(|group| group.plugins().len() * group.concurrency)
            .sum()
    }
}

/// The most lanes that one host may have over all groups. An instance takes 4 GiB of the address space, and
/// a processor gives 128 TiB of it.
pub const LANES_MAX: usize = 8_000;

/// What a topic should be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicPlan {
    /// How many partitions; none accepts any, and makes one.
    pub partitions: Option<u16>,
    /// How many replicas of each; none leaves it to the broker.
    pub replication: Option<u16>,
    /// Settings of the topic, such as `retention.ms`.
    pub settings: BTreeMap<String, String>,
    /// Whether the host makes the topic where it is missing.
    pub create: bool,
}

/// How records are tied to each other: what is carried on, and what is made where nothing is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correlation {
    /// The name of the header with the correlation id.
    pub header: String,
    /// Whether an event that comes through a gateway without a trace context or a correlation id gets them.
    pub make_at_ingest: bool,
    /// Whether an output of an event without a correlation id gets one.
    pub make_for_outputs: bool,
}

impl Default for Correlation {
    fn default() -> Self {
        Self {
            header: "correlation-id".to_owned(),
            make_at_ingest: true,
            make_for_outputs: true,
        }
    }
}

/// One Kafka consumer group.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// `group.id`.
    pub id: String,
    /// What becomes of the events of a topic; every plugin named exists.
    pub routes: Routes,
    /// Routes of topics that match and have none of their own. Where two match a topic, one of them is narrower, or
    /// they are the same.
    pub patterns: Vec<PatternRoute>,
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
    /// How they are named, with `{topic}` and `{group}` in the place of those; none where there are none.
    pub topic_name: Option<String>,
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

/// How plugins are fetched that are no files here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registry {
    /// Folder of fetched components; none where neither the configuration nor the environment names one.
    pub cache: Option<PathBuf>,
    /// User names and passwords of registries, as docker's `config.json` has them; the file may be missing.
    pub credentials: Option<PathBuf>,
}

impl Registry {
    /// What holds where no configuration says otherwise.
    pub fn of_environment(env: impl Iterator<Item = (String, String)>) -> Self {
        places::default_registry(&env.collect())
    }
}
