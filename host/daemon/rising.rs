//! Looks every second at how many dead letters each group has, so that whoever comes later is told since when they rise.
//! It must not know who asks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::shown::Shown;
use crate::delivery::retry::Millis;
use crate::delivery::rise::{Rise, Rising};
use crate::since_1970;
use crate::telemetry::metrics::Metrics;

/// Between two looks: a few counters of each group are read, and nobody waits for it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The dead letters of each group, as they rise.
#[derive(Debug)]
pub(super) struct Rises {
    shown: Arc<Shown>,
    metrics: Metrics,
    groups: Mutex<BTreeMap<String, Rise>>,
}

impl Rises {
    pub(super) fn new(shown: Arc<Shown>, metrics: Metrics) -> Self {
        Self {
            shown,
            metrics,
            groups: Mutex::default(),
        }
    }

    /// Looks until the host stops.
    pub(super) async fn watch(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let mut every = interval(LOOK_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // A sender that is gone means the same.
                () = async { drop(stopped.wait_for(|stop| *stop).await) } => return,
                _ = every.tick() => self.look(now()),
            }
        }
    }

    fn look(&self, at: Millis) {
        let groups = self.shown.dead_letters();
        let mut rises = self.lock();
        rises.retain(|id, _| groups.iter().any(|group| group.id == *id));
        for group in &groups {
            let rise = rises.entry(group.id.clone()).or_default();
            let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
            for plugin in &group.plugins {
                for (cause, events) in self.metrics.dead_letters_of(&group.id, plugin) {
                    *counts.entry(cause).or_default() += events;
                }
            }
            rise.look(counts, at);
        }
    }

    /// What rises of a group now.
    pub(super) fn of(&self, group: &str) -> Option<Rising> {
        let rises = self.lock();
        rises.get(group)?.rising(now()).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Rise>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By the wall, because people are told when it began.
fn now() -> Millis {
    Millis(since_1970::now_ms())
}
