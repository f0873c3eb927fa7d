//! The composition root: builds every part, wires them, and takes them down in order. No logic.

mod change;
mod desk;
mod error;
mod gateways;
mod groups;
mod letters;
pub mod online;
mod pausing;
mod ready;
mod replaying;
mod rising;
mod rules;
mod shown;
mod summary;
mod tapping;
mod topics;
mod views;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::change::{ChangeError, Changes, Plan, Planner};
pub use self::error::DaemonError;
use self::gateways::{Gateways, to_its_end};
use self::groups::{Common, Groups};
use self::pausing::Paused;
use self::ready::{Plugins, Ready, load_plugins};
pub use self::replaying::Replaying;
use self::rising::Rises;
use self::rules::AllRules;
use self::shown::{Shown, show_producer, show_rules, show_schema_registry, show_versions};
pub use self::summary::{GroupSummary, Summary};
use self::topics::Broker;
pub use self::topics::matched_group;
use crate::admin::{AdminServer, Desks};
use crate::config::Config;
use crate::ingest::{GrpcGateway, HttpGateway};
use crate::kafka::publisher::Publisher;
use crate::pipeline::{Group, GroupStatus};
use crate::registry::Registry;
use crate::reload::{Reloader, Watcher};
use crate::sandbox::{Compiler, Sandbox, SandboxSettings};
use crate::schema::confluent::SchemaRegistry;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::{Exporting, Traces};

/// Threads for gateways and health checks; nothing of the data path runs on them. Two, so that a slow
/// scrape does not hold up an acknowledgement.
const SERVER_THREADS: usize = 2;

/// A running host.
#[derive(Debug)]
pub struct Daemon {
    groups: Groups,
    /// What the groups run with.
    ready: Arc<Ready>,
    reloader: Arc<Reloader>,
    schema_registry: Option<Arc<SchemaRegistry>>,
    shown: Arc<Shown>,
    paused: Arc<Paused>,
    metrics: Metrics,
    admin_address: SocketAddr,
    grpc_address: Option<SocketAddr>,
    http_address: Option<SocketAddr>,
    publisher: Option<Arc<Publisher>>,
    exporting: Option<Exporting>,
    stop_servers: watch::Sender<bool>,
    servers: Vec<JoinHandle<()>>,
    runtime: Runtime,
    drain_timeout: Duration,
    watcher: Watcher,
    // Dropped last: lanes need its epochs to the end.
    sandbox: Arc<Sandbox>,
}

impl Daemon {
    /// Starts everything that is configured. Ports are bound and plugins loaded before any group is
    /// joined, so that what cannot work fails before anything is consumed.
    ///
    /// `compiler` is who compiles the plugins; only a child of the host's own executable holds to their limits.
    ///
    /// # Errors
    /// Says what is wrong and what to do.
    pub fn start(written: &Config, compiler: Compiler) -> Result<Self, DaemonError> {
        let runtime = runtime()?;
        let metrics = Metrics::new().map_err(|error| DaemonError::Host(error.to_string()))?;
        let admin = AdminServer::bind(&written.admin)?;
        let rules = rules::load(written, &AllRules::new())?;
        let (traces, exporting) = start_tracing(written, &metrics, &runtime)?.unzip();
        let (gateways, publisher) = Gateways::bind(written, &rules, traces.as_ref())?;
        let config = Registry::new(&written.registry, false).provide(written)?;
        let sandbox = Arc::new(Sandbox::start(SandboxSettings::new(&config, compiler))?);
        let plugins = load_plugins(&sandbox, &config, &Plugins::new(), &metrics)?;
        let (schema_registry, encoders) = rules::schema_registry(&config)?;
        let prepared = topics::prepared(&config)?;
        let ready = Ready::new((written.clone(), config), plugins, rules, prepared.as_ref());
        let reloader = Arc::new(Reloader::new(Arc::clone(&sandbox), metrics.clone()));
        let shown = Arc::new(Shown::default());
        let paused = Arc::new(Paused::new(metrics.clone()));
        let (stop_servers, stopped) = watch::channel(false);
        let mut daemon = Self {
            groups: Groups::new(Common {
                schema_registry: schema_registry.clone(),
                encoders,
                metrics: metrics.clone(),
                traces,
                shown: Arc::clone(&shown),
                paused: Arc::clone(&paused),
            }),
            schema_registry,
            shown,
            paused,
            metrics,
            admin_address: admin.address(),
            grpc_address: gateways.grpc.as_ref().map(GrpcGateway::address),
            http_address: gateways.http.as_ref().map(HttpGateway::address),
            publisher,
            exporting,
            stop_servers,
            servers: Vec::new(),
            runtime,
            drain_timeout: ready.config.drain_timeout,
            ready: Arc::new(ready),
            watcher: Watcher::start(Arc::clone(&reloader))
                .map_err(|error| DaemonError::Host(error.to_string()))?,
            reloader,
            sandbox,
        };
        daemon.look_after_plugins();
        let mut broker = prepared.map(|prepared| prepared.broker);
        if let Err(error) = daemon.groups.start(&daemon.ready, &mut broker) {
            drop(daemon.stop());
            return Err(error);
        }
        daemon.metrics.configuration_taken();
        daemon.serve(admin, gateways, stopped);
        Ok(daemon)
    }

    /// From now on, those of the configuration that serves; and whoever looks sees its dead letters.
    fn look_after_plugins(&self) {
        let plugins = self.ready.plugins.values();
        let plugins = plugins.map(|(versions, plugin)| (plugin.clone(), Arc::clone(versions)));
        let rules = self.ready.rules.values().cloned().collect();
        self.reloader.look_after(plugins, rules);
        self.shown.serves(Arc::clone(&self.ready));
    }

    /// What makes another configuration ready for this host, on any thread.
    #[must_use]
    pub fn planner(&self) -> Planner {
        Planner {
            ready: Arc::clone(&self.ready),
            sandbox: Arc::clone(&self.sandbox),
            metrics: self.metrics.clone(),
        }
    }

    /// Takes another configuration up: groups that it concerns finish what is in flight and leave, for up to the
    /// drain time-out, and start again with it. The others are not disturbed.
    ///
    /// # Errors
    /// A group does not start with it. All then run as before, unless the error is [`DaemonError::NoWayBack`].
    pub fn take_up(&mut self, plan: Plan) -> Result<Changes, DaemonError> {
        let Plan {
            ready,
            mut broker,
            stay,
            changes,
        } = plan;
        self.groups.drain_all_but(&stay);
        if let Err(error) = self.groups.start(&ready, &mut broker) {
            self.go_back(&stay, &mut broker)
                .map_err(|before| DaemonError::NoWayBack {
                    new: error.to_string(),
                    before: Box::new(before),
                })?;
            return Err(error);
        }
        for gone in self.ready.plugins.keys() {
            if !ready.plugins.contains_key(gone) {
                self.metrics.plugin_is_gone(gone);
            }
        }
        self.paused.keep(&ready.config.groups);
        self.ready = Arc::new(ready);
        self.look_after_plugins();
        self.configuration_serves();
        Ok(changes)
    }

    /// Lets those groups run again that ran before.
    fn go_back(
        &mut self,
        stay: &BTreeSet<String>,
        broker: &mut Option<Broker>,
    ) -> Result<(), DaemonError> {
        self.groups.drain_all_but(stay);
        self.groups.start(&self.ready, broker)
    }

    /// The configuration that was read last is the one that serves.
    pub fn configuration_serves(&self) {
        self.shown.refused(None);
        self.metrics.configuration_taken();
    }

    /// What every setting of the configuration that serves is, and where it came from, for whoever asks.
    pub fn configuration_is_explained(&self, explained: serde_json::Value) {
        self.shown.explained(explained);
    }

    /// A configuration was not taken up, for this reason.
    pub fn configuration_refused(&self, reason: &str) {
        self.shown.refused(Some(reason.to_owned()));
        self.metrics.configuration_refused();
    }

    fn serve(&mut self, admin: AdminServer, gateways: Gateways, stopped: watch::Receiver<bool>) {
        let until_stopped = |mut stopped: watch::Receiver<bool>| async move {
            // A sender that is gone means the same.
            let _stopped = stopped.wait_for(|stop| *stop).await;
        };
        let counts = gateways.counts();
        let (metrics, registry) = (self.metrics.clone(), self.schema_registry.clone());
        let (publisher, serving) = (self.publisher.clone(), Arc::clone(&self.reloader));
        let render = move || {
            for versions in serving.versions() {
                show_versions(&metrics, &versions);
            }
            if let Some(figures) = publisher.as_ref().and_then(|publisher| publisher.figures()) {
                show_producer(&metrics, &figures);
            }
            for rules in serving.rules() {
                show_rules(&metrics, &rules);
            }
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
        let rises = Rises::new(Arc::clone(&self.shown), self.metrics.clone());
        let rises = Arc::new(rises);
        let watching = Arc::clone(&rises).watch(stopped.clone());
        self.servers.push(self.runtime.spawn(watching));
        let views = Arc::new(views::HostViews {
            rises,
            started: SystemTime::now(),
            shown: Arc::clone(&self.shown),
            schema_registry: self.schema_registry.clone(),
            metrics: self.metrics.clone(),
        });
        let (asked, reloader) = (Arc::clone(&views), Arc::clone(&self.reloader));
        let desks = Desks {
            plugins: Arc::new(desk::Desk(Arc::clone(&reloader))),
            pausing: Arc::clone(&self.paused) as Arc<_>,
            views,
            tapping: Arc::new(tapping::HostTaps::new(Arc::clone(&self.shown), reloader)),
            letters: Arc::new(letters::HostLetters::new(
                Arc::clone(&self.shown),
                self.ready.config.kafka.clone(),
                self.schema_registry.clone(),
            )),
        };
        let admin = admin.serve(move || asked.health(), render, desks, stopped.clone());
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
        self.groups.statuses()
    }

    /// Why the host cannot go on: no group works any more, or one has met a bug of the host. None while groups
    /// work, whatever has stopped others.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let status = |group: &Group| (group.id().to_owned(), group.status());
        let groups = self.groups.running();
        let stopped: Vec<_> = groups
            .iter()
            .map(status)
            .filter_map(|(id, status)| Some((id, status.failure()?, status.broken())))
            .collect();
        let broken = stopped.iter().find(|(.., broken)| *broken);
        let all = stopped.len() == groups.len();
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
    pub fn stop(mut self) -> Summary {
        // No version is replaced any more by what finishes up.
        drop(self.watcher);
        let groups = self.groups.end();
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
        // Last, when nothing makes spans any more.
        if let Some(exporting) = self.exporting {
            self.runtime.block_on(exporting.stop());
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

/// Sends spans to a collector, where the environment names one.
fn start_tracing(
    config: &Config,
    metrics: &Metrics,
    runtime: &Runtime,
) -> Result<Option<(Traces, Exporting)>, DaemonError> {
    let Some(settings) = &config.tracing else {
        return Ok(None);
    };
    let started = Traces::start(settings, metrics.spans(), runtime.handle())?;
    tracing::info!(protocol = ?settings.collector.protocol, sampler = ?settings.sampler, "spans are sent to a collector");
    Ok(Some(started))
}
