//! The composition root: builds every part, wires them, and takes them down in order. No logic.

mod desk;
mod summary;
mod topics;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::summary::{GroupSummary, Summary};
use crate::admin::{AdminError, AdminServer, Health};
use crate::config::{self, Config};
use crate::ingest::grpc::{GatewayError, GrpcGateway};
use crate::kafka::KafkaError;
use crate::kafka::publisher::Publisher;
use crate::pipeline::{Group, GroupParts, GroupStatus, StartError, Trial, Version, Versions};
use crate::reload::{Reloader, Watcher};
use crate::sandbox::{Compiler, LoadError, LoadedPlugin, Sandbox, SandboxSettings};
use crate::telemetry::metrics::Metrics;

/// Threads for gateways and health checks; nothing of the data path runs on them. Two, so that a slow
/// scrape does not hold up an acknowledgement.
const SERVER_THREADS: usize = 2;

/// Why the daemon cannot start. Nothing has been consumed then.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages of the sources say everything")]
pub enum DaemonError {
    #[error(transparent)]
    Plugin(#[from] LoadError),
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error(
        "group {group}: topic {topic} does not exist; create it with `millrace topics create {topic} --partitions N`"
    )]
    NoTopic { group: String, topic: String },
    #[error(
        "group {group}: topic {topic} does not exist, and the cluster did not create it: {reason}; let somebody who may create it run `{command}`"
    )]
    NotCreated {
        group: String,
        topic: String,
        reason: String,
        command: String,
    },
    #[error(
        "group {group}: the cluster does not show topic {topic} to the host: {reason}; permit the host to use it, and where it does not exist, let somebody who may create it run `{command}`"
    )]
    NotShown {
        group: String,
        topic: String,
        reason: String,
        command: String,
    },
    #[error(
        "group {group}: retry topic {topic} has {found} partitions and its source {source_topic} has {wanted}, but an event keeps the number of its partition; give the retry topic {wanted} partitions, or name another one as `retry.topic`"
    )]
    RetryPartitions {
        group: String,
        topic: String,
        found: usize,
        source_topic: String,
        wanted: usize,
    },
    #[error("group {group}: {source}")]
    Group { group: String, source: StartError },
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error("the host cannot start: {0}")]
    Host(String),
}

/// A running host.
#[derive(Debug)]
pub struct Daemon {
    groups: Vec<Group>,
    /// Of every plugin.
    versions: Vec<Arc<Versions>>,
    metrics: Metrics,
    admin_address: SocketAddr,
    grpc_address: Option<SocketAddr>,
    publisher: Option<Arc<Publisher>>,
    stop_servers: watch::Sender<bool>,
    servers: Vec<JoinHandle<()>>,
    runtime: Runtime,
    drain_timeout: Duration,
    watcher: Watcher,
    // Dropped last: lanes need its epochs to the end.
    _sandbox: Arc<Sandbox>,
}

impl Daemon {
    /// Starts everything that is configured. Ports are bound and plugins loaded before any group is
    /// joined, so that what cannot work fails before anything is consumed.
    ///
    /// `compiler` is who compiles the plugins; only a child of the host's own executable holds to their limits.
    ///
    /// # Errors
    /// Says what is wrong and what to do.
    pub fn start(config: &Config, compiler: Compiler) -> Result<Self, DaemonError> {
        let runtime = runtime()?;
        let metrics = Metrics::new().map_err(|error| DaemonError::Host(error.to_string()))?;
        let admin = AdminServer::bind(config.admin.listen)?;
        let publisher = config
            .ingest
            .grpc
            .as_ref()
            .map(|_| Publisher::new(&config.kafka));
        let publisher = publisher.transpose()?.map(Arc::new);
        let gateway = match (&config.ingest.grpc, &publisher) {
            (Some(grpc), Some(publisher)) => Some(GrpcGateway::bind(grpc, Arc::clone(publisher))?),
            _ => None,
        };
        let sandbox = Sandbox::start(SandboxSettings::new(config, compiler))?;
        let sandbox = Arc::new(sandbox);
        let plugins = load_plugins(&sandbox, config, &metrics)?;
        let output_partitions = if config.groups.is_empty() {
            BTreeMap::new()
        } else {
            topics::prepare(config, topics::TIMEOUT)?
        };
        let reloader = plugins
            .values()
            .map(|(versions, plugin)| (plugin.clone(), Arc::clone(versions)));
        let reloader = Reloader::new(Arc::clone(&sandbox), reloader, metrics.clone());
        let reloader = Arc::new(reloader);
        let (stop_servers, stopped) = watch::channel(false);
        let mut daemon = Self {
            groups: Vec::new(),
            versions: plugins
                .values()
                .map(|(versions, _)| Arc::clone(versions))
                .collect(),
            metrics: metrics.clone(),
            admin_address: admin.address(),
            grpc_address: gateway.as_ref().map(GrpcGateway::address),
            publisher,
            stop_servers,
            servers: Vec::new(),
            runtime,
            drain_timeout: config.drain_timeout,
            watcher: Watcher::start(Arc::clone(&reloader))
                .map_err(|error| DaemonError::Host(error.to_string()))?,
            _sandbox: sandbox,
        };
        for group in &config.groups {
            match start_group(config, group, (&plugins, &output_partitions), &metrics) {
                Ok(group) => daemon.groups.push(group),
                Err(error) => {
                    drop(daemon.stop());
                    return Err(error);
                }
            }
        }
        daemon.serve(admin, gateway, reloader, stopped);
        Ok(daemon)
    }

    fn serve(
        &mut self,
        admin: AdminServer,
        gateway: Option<GrpcGateway>,
        reloader: Arc<Reloader>,
        stopped: watch::Receiver<bool>,
    ) {
        let until_stopped = |mut stopped: watch::Receiver<bool>| async move {
            // A sender that is gone means the same.
            let _stopped = stopped.wait_for(|stop| *stop).await;
        };
        let counts = gateway.as_ref().map(GrpcGateway::counts);
        let (metrics, versions) = (self.metrics.clone(), self.versions.clone());
        let render = move || {
            for versions in &versions {
                show_versions(&metrics, versions);
            }
            for (status, events) in counts.iter().flat_map(|counts| counts.snapshot()) {
                metrics.ingest(&status, events);
            }
            metrics
                .render()
                .unwrap_or_else(|error| format!("# {error}\n"))
        };
        let statuses = self.statuses();
        let health = move || {
            statuses
                .iter()
                .map(|(group, status)| health_of(group, status))
                .collect()
        };
        let admin = admin.serve(
            health,
            render,
            Arc::new(desk::Desk(reloader)),
            until_stopped(stopped.clone()),
        );
        self.servers.push(self.runtime.spawn(admin));
        if let Some(gateway) = gateway {
            let drain_timeout = self.drain_timeout;
            self.servers.push(self.runtime.spawn(async move {
                if let Err(error) = gateway.serve(until_stopped(stopped), drain_timeout).await {
                    tracing::error!(%error, "the gateway ended badly");
                }
            }));
        }
    }

    /// Where metrics and health are served.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Where the gRPC gateway listens; none when it is not configured.
    #[must_use]
    pub fn grpc_address(&self) -> Option<SocketAddr> {
        self.grpc_address
    }

    /// Figures of the whole process.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The groups by id, and what may be known of them.
    #[must_use]
    pub fn statuses(&self) -> Vec<(String, Arc<GroupStatus>)> {
        self.groups
            .iter()
            .map(|group| (group.id().to_owned(), group.status()))
            .collect()
    }

    /// Why the host cannot go on: no group works any more, or one has met a bug of the host. None while groups
    /// work, whatever has stopped others.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let status = |group: &Group| (group.id().to_owned(), group.status());
        let stopped: Vec<_> = self
            .groups
            .iter()
            .map(status)
            .filter_map(|(id, status)| Some((id, status.failure()?, status.broken())))
            .collect();
        let broken = stopped.iter().find(|(.., broken)| *broken);
        let all = stopped.len() == self.groups.len();
        let (id, why, _) = broken.or_else(|| stopped.first().filter(|_| all))?;
        Some(format!("group {id}: {why}"))
    }

    /// Waits on the daemon's own runtime.
    pub fn wait<T>(&self, until: impl Future<Output = T>) -> T {
        self.runtime.block_on(until)
    }

    /// Takes everything down in order: publishers are turned away, groups finish what is in flight and
    /// leave, and health is served to the end.
    #[must_use]
    pub fn stop(self) -> Summary {
        // No version is replaced any more by what finishes up.
        drop(self.watcher);
        for group in &self.groups {
            group.stop();
        }
        let groups = self.groups.into_iter().map(|group| {
            let (id, status) = (group.id().to_owned(), group.status());
            GroupSummary::new(id, &status, &group.join())
        });
        let groups = groups.collect();
        // The only receivers are the servers, which end now.
        let _gone = self.stop_servers.send(true);
        self.runtime.block_on(async {
            for server in self.servers {
                if let Err(error) = server.await {
                    tracing::error!(%error, "a server ended badly");
                }
            }
        });
        if let Some(Err(error)) = self
            .publisher
            .map(|publisher| publisher.flush(self.drain_timeout))
        {
            tracing::error!(%error, "the gateway could not flush");
        }
        Summary { groups }
    }
}

/// Ready means that the group has joined, has not stopped and can settle. A broker that is away later does not
/// change that: restarting the host would not bring it back. A full disk does: another host has room.
fn health_of(group: &str, status: &GroupStatus) -> Health {
    let (ready, state) = match (status.failure(), status.joined(), status.trouble()) {
        (Some(failure), _, _) => (false, format!("stopped: {failure}")),
        (None, false, _) => (false, "joining".to_owned()),
        (None, true, Some(trouble)) => (!status.unable(), format!("joined, waiting: {trouble}")),
        (None, true, None) => (true, "joined".to_owned()),
    };
    let state = status
        .notes()
        .into_iter()
        .fold(state, |state, note| format!("{state}; {note}"));
    Health {
        part: format!("group {group}"),
        state,
        ready,
    }
}

fn runtime() -> Result<Runtime, DaemonError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SERVER_THREADS)
        .thread_name("serve")
        .enable_all()
        .build()
        .map_err(|error| DaemonError::Host(error.to_string()))
}

fn show_versions(metrics: &Metrics, versions: &Versions) {
    let published = versions.published();
    let candidate = versions
        .trial()
        .map(|trial| Arc::clone(&trial.round().version));
    let others: Vec<_> = published.previous.into_iter().chain(candidate).collect();
    let others: Vec<_> = others.iter().map(|version| version.labels()).collect();
    metrics.plugin_serves(versions.plugin(), published.current.labels(), &others);
}

type Plugins = BTreeMap<String, (Arc<Versions>, config::Plugin)>;

/// Makes every plugin ready, as many at a time as there are cores. What is wrong is told of the first by name.
fn load_plugins(
    sandbox: &Sandbox,
    config: &Config,
    metrics: &Metrics,
) -> Result<Plugins, DaemonError> {
    let mut plugins = Plugins::new();
    for (name, loaded) in LoadedPlugin::prepare_all(sandbox, &config.plugins)? {
        let plugin = &config.plugins[&name];
        tracing::info!(plugin = %name, version = %loaded.version, digest = %loaded.digest, path = %plugin.path.display(), "plugin loaded");
        let trial = load_candidate(sandbox, &name, plugin, metrics)?;
        let versions = Versions::new(Version::new(&loaded)).with_trial(trial);
        plugins.insert(name, (Arc::new(versions), plugin.clone()));
    }
    Ok(plugins)
}

/// Loads the candidate for a plugin's next version, where one is configured.
fn load_candidate(
    sandbox: &Sandbox,
    name: &str,
    plugin: &config::Plugin,
    metrics: &Metrics,
) -> Result<Option<Trial>, DaemonError> {
    let (Some(candidate), Some(trial)) = (plugin.candidate(), &plugin.trial) else {
        return Ok(None);
    };
    let loaded = LoadedPlugin::prepare(sandbox, name, &candidate)?;
    tracing::info!(plugin = %name, digest = %loaded.digest, path = %candidate.path.display(),
        "candidate for the plugin's next version loaded");
    let (settings, approve) = (trial.clone(), plugin.reload.approve_grants);
    let first = Version::new(&loaded);
    Ok(Some(Trial::new(
        settings,
        approve,
        first,
        metrics.trial(name),
    )))
}

fn start_group(
    config: &Config,
    group: &config::Group,
    (plugins, output_partitions): (&Plugins, &BTreeMap<String, usize>),
    metrics: &Metrics,
) -> Result<Group, DaemonError> {
    let used = |name: &String| group.routes.values().any(|plugin| plugin == name);
    let parts = GroupParts {
        group,
        kafka: &config.kafka,
        plugins: plugins
            .iter()
            .filter(|(name, _)| used(name))
            .map(|(name, plugin)| (name.clone(), plugin.clone()))
            .collect(),
        output_partitions: output_partitions.clone(),
        drain_timeout: config.drain_timeout,
        metrics,
    };
    Group::start(&parts).map_err(|source| DaemonError::Group {
        group: group.id.clone(),
        source,
    })
}
