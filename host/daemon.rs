//! The composition root: builds every part, wires them, and takes them down in order. No logic.

mod desk;
mod error;
mod gateways;
mod rules;
mod shown;
mod summary;
mod topics;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::error::DaemonError;
use self::gateways::{Gateways, to_its_end};
use self::shown::{health_of, show_producer, show_rules, show_schema_registry, show_versions};
pub use self::summary::{GroupSummary, Summary};
pub use self::topics::matched_group;
use self::topics::{Following, Prepared};
use crate::admin::AdminServer;
use crate::config::{self, Config};
use crate::ingest::{GrpcGateway, HttpGateway};
use crate::kafka::consumer::topics_refresh;
use crate::kafka::publisher::Publisher;
use crate::pipeline::{Group, GroupParts, GroupStatus, Trial, Version, Versions};
use crate::registry::Registry;
use crate::reload::{Reloader, Watcher};
use crate::sandbox::{Compiler, LoadedPlugin, Sandbox, SandboxSettings};
use crate::schema::confluent::{Encoders, SchemaRegistry};
use crate::schema::{Preparation, Rules};
use crate::telemetry::metrics::Metrics;

/// Threads for gateways and health checks; nothing of the data path runs on them. Two, so that a slow
/// scrape does not hold up an acknowledgement.
const SERVER_THREADS: usize = 2;

/// A running host.
#[derive(Debug)]
pub struct Daemon {
    groups: Vec<Group>,
    /// Of every plugin.
    versions: Vec<Arc<Versions>>,
    /// All sets of rules.
    rules: Vec<Arc<Rules>>,
    schema_registry: Option<Arc<SchemaRegistry>>,
    metrics: Metrics,
    admin_address: SocketAddr,
    grpc_address: Option<SocketAddr>,
    http_address: Option<SocketAddr>,
    publisher: Option<Arc<Publisher>>,
    stop_servers: watch::Sender<bool>,
    servers: Vec<JoinHandle<()>>,
    runtime: Runtime,
    drain_timeout: Duration,
    watcher: Watcher,
    /// Where topics may come and grow.
    following: Option<Following>,
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
        let admin = AdminServer::bind(&config.admin)?;
        let rules = rules::load(config)?;
        let (gateways, publisher) = Gateways::bind(config, &rules)?;
        let config = &Registry::new(&config.registry, false).provide(config)?;
        let sandbox = Sandbox::start(SandboxSettings::new(config, compiler))?;
        let sandbox = Arc::new(sandbox);
        let plugins = load_plugins(&sandbox, config, &metrics)?;
        let (schema_registry, encoders) = rules::schema_registry(config)?;
        let prepared = if config.groups.is_empty() && config.topics.is_empty() {
            None
        } else {
            Some(topics::prepare(config, topics::TIMEOUT)?)
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
            rules: rules.values().cloned().collect(),
            schema_registry,
            metrics: metrics.clone(),
            admin_address: admin.address(),
            grpc_address: gateways.grpc.as_ref().map(GrpcGateway::address),
            http_address: gateways.http.as_ref().map(HttpGateway::address),
            publisher,
            stop_servers,
            servers: Vec::new(),
            runtime,
            drain_timeout: config.drain_timeout,
            watcher: Watcher::start(Arc::clone(&reloader), rules.values().cloned().collect())
                .map_err(|error| DaemonError::Host(error.to_string()))?,
            following: None,
            _sandbox: sandbox,
        };
        if let Some(prepared) = prepared
            && let Err(error) = daemon.start_groups(config, prepared, &plugins, (rules, encoders))
        {
            drop(daemon.stop());
            return Err(error);
        }
        daemon.serve(admin, gateways, reloader, stopped);
        Ok(daemon)
    }

    fn start_groups(
        &mut self,
        config: &Config,
        prepared: Prepared,
        plugins: &Plugins,
        (rules, encoders): (rules::AllRules, Encoders),
    ) -> Result<(), DaemonError> {
        let registry = self.schema_registry.clone();
        let prepare =
            move |group: &config::Group| rules::preparations(group, &rules, registry.as_ref());
        for group in &prepared.groups {
            let parts = (
                plugins,
                &prepared.partitions,
                prepare(group),
                encoders.clone(),
            );
            let group = start_group(config, group, parts, &self.metrics)?;
            self.groups.push(group);
        }
        if let Some(interval) = topics_refresh(&config.kafka).filter(|_| !self.groups.is_empty()) {
            let sources = self.groups.iter().map(Group::sources).collect();
            let following =
                Following::start(prepared, config, sources, Box::new(prepare), interval);
            self.following = Some(following.map_err(|error| DaemonError::Host(error.to_string()))?);
        }
        Ok(())
    }

    fn serve(
        &mut self,
        admin: AdminServer,
        gateways: Gateways,
        reloader: Arc<Reloader>,
        stopped: watch::Receiver<bool>,
    ) {
        let until_stopped = |mut stopped: watch::Receiver<bool>| async move {
            // A sender that is gone means the same.
            let _stopped = stopped.wait_for(|stop| *stop).await;
        };
        let counts = gateways.counts();
        let (metrics, versions) = (self.metrics.clone(), self.versions.clone());
        let (rules, registry) = (self.rules.clone(), self.schema_registry.clone());
        let publisher = self.publisher.clone();
        let render = move || {
            for versions in &versions {
                show_versions(&metrics, versions);
            }
            if let Some(figures) = publisher.as_ref().and_then(|publisher| publisher.figures()) {
                show_producer(&metrics, &figures);
            }
            rules.iter().for_each(|rules| show_rules(&metrics, rules));
            if let Some(registry) = &registry {
                show_schema_registry(&metrics, registry);
            }
            for (gateway, counts) in &counts {
                for (status, events) in counts.snapshot() {
                    metrics.ingest(gateway, &status, events);
                }
            }
            metrics
                .render()
                .unwrap_or_else(|error| format!("# {error}\n"))
        };
        let statuses = self.statuses();
        let schema_registry = self.schema_registry.clone();
        let health = move || {
            let groups = statuses.iter();
            let groups = groups.map(|(group, status)| health_of(group, status));
            let registry = schema_registry.iter();
            groups
                .chain(registry.map(|registry| rules::health(registry)))
                .collect()
        };
        let admin = admin.serve(
            health,
            render,
            Arc::new(desk::Desk(reloader)),
            stopped.clone(),
        );
        self.servers.push(self.runtime.spawn(admin));
        let (drain_timeout, stopped_too) = (self.drain_timeout, stopped.clone());
        if let Some(grpc) = gateways.grpc {
            let served = grpc.serve(until_stopped(stopped_too), drain_timeout);
            self.servers.push(self.runtime.spawn(to_its_end(served)));
        }
        if let Some(http) = gateways.http {
            let served = http.serve(until_stopped(stopped), drain_timeout);
            self.servers.push(self.runtime.spawn(to_its_end(served)));
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

    /// Where the HTTP gateway listens; none when it is not configured.
    #[must_use]
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
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
        // No version is replaced any more by what finishes up, and no topic is added to it.
        drop(self.watcher);
        drop(self.following);
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

fn runtime() -> Result<Runtime, DaemonError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SERVER_THREADS)
        .thread_name("serve")
        .enable_all()
        .build()
        .map_err(|error| DaemonError::Host(error.to_string()))
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
    (plugins, output_partitions, preparations, encoders): (
        &Plugins,
        &BTreeMap<String, usize>,
        BTreeMap<String, Preparation>,
        Encoders,
    ),
    metrics: &Metrics,
) -> Result<Group, DaemonError> {
    let used = group.plugins();
    let parts = GroupParts {
        group,
        kafka: &config.kafka,
        plugins: plugins
            .iter()
            .filter(|(name, _)| used.contains(name.as_str()))
            .map(|(name, plugin)| (name.clone(), plugin.clone()))
            .collect(),
        output_partitions: output_partitions.clone(),
        correlation: &config.correlation,
        preparations,
        encoders,
        drain_timeout: config.drain_timeout,
        metrics,
    };
    Group::start(&parts).map_err(|source| DaemonError::Group {
        group: group.id.clone(),
        source,
    })
}
