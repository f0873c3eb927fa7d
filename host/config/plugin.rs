//! What the operator configured for one plugin: its file, its grants, its limits, and how it is replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::{Network, Origin, Secrets, WebTarget, is_secret_name};

/// How often `on-tick` is called where nothing is said.
pub(super) const TICK_DEFAULT: Duration = Duration::from_secs(10);

/// As much as the store keeps in memory: a plugin that needs more should say so.
pub(super) const STATE_QUOTA_DEFAULT_BYTES: u64 = 64 << 20;

/// One sandboxed component and what it is allowed.
#[derive(Debug, Clone, PartialEq)]
pub struct Plugin {
    /// The component file, relative to the configuration file. Empty until it is fetched, where it is not here.
    pub path: PathBuf,
    /// Where the file comes from, and what it must hold.
    pub origin: Origin,
    /// What the component may import and where it may write.
    pub grants: Grants,
    /// How often `on-tick` is called for each assigned partition, where the plugin exports it.
    pub tick: Duration,
    /// The plugin's own settings, served by `wasi:config/store`.
    pub settings: BTreeMap<String, String>,
    /// What in the settings came from a file, or from a variable whose name says that nobody may read it.
    pub secret_parts: BTreeSet<String>,
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
    /// Whether a dead letter carries what the host answered, so that `dlq repro` can answer the same. Each event is
    /// then a call of its own.
    pub transcripts: bool,
    /// Whether this is a shadow: what it may ask others is linked, and refused.
    pub only_watches: bool,
}

impl Plugin {
    /// A component of which nothing is configured: no grants, and the default limits.
    #[must_use]
    pub fn of_component(path: PathBuf) -> Self {
        Self {
            path,
            origin: Origin::default(),
            grants: Grants::default(),
            tick: TICK_DEFAULT,
            settings: BTreeMap::new(),
            secret_parts: BTreeSet::new(),
            journal: None,
            state_quota_bytes: STATE_QUOTA_DEFAULT_BYTES,
            limits: Limits::default(),
            recycle: Recycle::default(),
            reload: Reload::default(),
            trial: None,
            transcripts: false,
            only_watches: false,
        }
    }

    /// What nobody may read of its settings, by their names and by where their values came from.
    #[must_use]
    pub fn secrets(&self) -> Secrets {
        let named = self
            .settings
            .iter()
            .filter(|(name, _)| is_secret_name(name));
        let parts = self.secret_parts.iter();
        Secrets::new(
            named
                .map(|(_, value)| value)
                .chain(parts)
                .map(String::as_str),
        )
    }

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
            origin: trial.origin.clone(),
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
    /// Where the file comes from, and what it must hold.
    pub origin: Origin,
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
