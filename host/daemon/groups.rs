//! The groups of a host: those that run are started and drained here, and what became of the events of those that were
//! drained is kept. It must not know why a group starts or leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::pausing::Paused;
use super::rules;
use super::topics::{Broker, Following};
use super::{DaemonError, GroupSummary, Ready, Shown};
use crate::config;
use crate::kafka::consumer::topics_refresh;
use crate::pipeline::{Group, GroupParts, GroupStatus, Totals};
use crate::schema::confluent::{Encoders, SchemaRegistry};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::Traces;

/// What all groups share, whatever their configuration.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) schema_registry: Option<Arc<SchemaRegistry>>,
    pub(super) encoders: Encoders,
    pub(super) metrics: Metrics,
    pub(super) traces: Option<Traces>,
    pub(super) shown: Arc<Shown>,
    pub(super) paused: Arc<Paused>,
}

/// The groups of one host.
#[derive(Debug)]
pub(super) struct Groups {
    common: Common,
    running: Vec<Group>,
    /// Where topics may come and grow.
    following: Option<Following>,
    /// What became of the events of groups that were drained, by id.
    before: BTreeMap<String, Past>,
}

/// What is known of a group that has left.
#[derive(Debug, Default)]
struct Past {
    worked_ms: Option<(u64, u64)>,
    totals: Totals,
}

impl Groups {
    pub(super) fn new(common: Common) -> Self {
        Self {
            common,
            running: Vec::new(),
            following: None,
            before: BTreeMap::new(),
        }
    }

    /// Starts the groups of a configuration that do not run, and looks after the topics of all by asking `broker`. The
    /// others go on as they are.
    ///
    /// # Errors
    /// One does not start. Those before it run.
    pub(super) fn start(
        &mut self,
        ready: &Ready,
        broker: &mut Option<Broker>,
    ) -> Result<(), DaemonError> {
        for group in &ready.groups {
            if !self.running.iter().any(|it| it.id() == group.id) {
                let group = self.start_one(ready, group)?;
                self.running.push(group);
                self.show();
            }
        }
        let place = |group: &Group| ready.groups.iter().position(|it| it.id == group.id());
        self.running.sort_by_key(place);
        self.show();
        let interval = topics_refresh(&ready.config.kafka).filter(|_| !self.running.is_empty());
        if let Some(interval) = interval
            && let Some(broker) = broker.take()
        {
            let groups = self.running.iter();
            let groups = groups
                .map(|group| (group.sources(), group.pauses()))
                .collect();
            let (rules, registry) = (ready.rules.clone(), self.common.schema_registry.clone());
            let prepare =
                move |group: &config::Group| rules::preparations(group, &rules, registry.as_ref());
            let known = (&ready.config, &ready.partitions);
            let following = Following::start(broker, known, groups, Box::new(prepare), interval);
            self.following = Some(following.map_err(|error| DaemonError::Host(error.to_string()))?);
        }
        Ok(())
    }

    fn start_one(&self, ready: &Ready, group: &config::Group) -> Result<Group, DaemonError> {
        let used = group.plugins();
        let registry = self.common.schema_registry.as_ref();
        let parts = GroupParts {
            group,
            kafka: &ready.config.kafka,
            plugins: ready
                .plugins
                .iter()
                .filter(|(name, _)| used.contains(name.as_str()))
                .map(|(name, plugin)| (name.clone(), plugin.clone()))
                .collect(),
            output_partitions: ready.partitions.clone(),
            correlation: &ready.config.correlation,
            preparations: rules::preparations(group, &ready.rules, registry),
            encoders: self.common.encoders.clone(),
            pauses: self.common.paused.of(group),
            drain_timeout: ready.config.drain_timeout,
            metrics: &self.common.metrics,
            aside: None,
            traces: self.common.traces.clone(),
        };
        Group::start(&parts).map_err(|source| DaemonError::Group {
            group: group.id.clone(),
            source,
        })
    }

    /// Lets all groups but these finish what is in flight and leave.
    pub(super) fn drain_all_but(&mut self, stay: &BTreeSet<String>) {
        // No topic is added to what finishes up.
        self.following = None;
        let running = std::mem::take(&mut self.running);
        let (stay, leave): (Vec<_>, Vec<_>) = running
            .into_iter()
            .partition(|group| stay.contains(group.id()));
        self.running = stay;
        leave.iter().for_each(Group::stop);
        for group in leave {
            let (id, status, sources) = (group.id().to_owned(), group.status(), group.sources());
            let totals = group.join();
            let plugins = sources.plugins().iter().map(String::as_str);
            self.common.metrics.group_is_gone(&id, plugins);
            self.before
                .entry(id)
                .or_default()
                .add(status.worked_ms(), totals);
        }
    }

    /// Lets all groups finish and leave, and says what became of their events.
    pub(super) fn end(&mut self) -> Vec<GroupSummary> {
        let mut order: Vec<String> = self.running.iter().map(|it| it.id().to_owned()).collect();
        self.drain_all_but(&BTreeSet::new());
        let before = std::mem::take(&mut self.before);
        order.extend(
            before
                .keys()
                .filter(|id| !order.contains(id))
                .cloned()
                .collect::<Vec<_>>(),
        );
        let ended = order.into_iter().filter_map(|id| {
            let past = before.get(&id)?;
            Some(GroupSummary::new(id, past.worked_ms, &past.totals))
        });
        ended.collect()
    }

    /// The groups that run.
    pub(super) fn running(&self) -> &[Group] {
        &self.running
    }

    /// By id, what may be known of those that run.
    pub(super) fn statuses(&self) -> Vec<(String, Arc<GroupStatus>)> {
        let running = self.running.iter();
        running
            .map(|group| (group.id().to_owned(), group.status()))
            .collect()
    }

    fn show(&self) {
        self.common.shown.groups(self.statuses());
    }
}

impl Past {
    fn add(&mut self, worked_ms: Option<(u64, u64)>, totals: Totals) {
        self.worked_ms = match (self.worked_ms, worked_ms) {
            (Some((first, _)), Some((_, last))) => Some((first, last)),
            (before, now) => now.or(before),
        };
        for (place, ledger) in totals {
            self.totals.entry(place).or_default().add(&ledger);
        }
    }
}
