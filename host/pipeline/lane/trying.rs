//! Trying a candidate for the plugin's next version on the events of a lane: it handles a share of the order
//! groups, or it watches and what it does is compared and dropped. It must not know when a trial is over.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::batch::Batch;
use super::super::messages::Settlement;
use super::super::trial::{Found, Round, Trial};
use super::super::versions::Versions;
use super::callee::Called;
use super::compare::{self, Seen, Sums, Written};
use super::{Lane, encoding};
use crate::delivery::restarts::Restarts;
use crate::delivery::trial::Share;
use crate::sandbox::{BatchAnswer, Fault};
use crate::telemetry::metrics::{LaneMetrics, VersionEvents};

/// After a fault of a shadow, its events run one by one for so long at most. The rest of the batch is not
/// compared: a candidate that hangs must not hold up what serves.
const SHADOW_ALONE_MAX: Duration = Duration::from_millis(200);

/// The candidate, as a lane calls it.
#[derive(Debug)]
pub(super) struct Trying {
    versions: Arc<Versions>,
    round: Arc<Round>,
    called: Called,
    /// Its count while the version that serves is called, and the other way round.
    events: VersionEvents,
    restarts: Restarts,
}

impl Trying {
    /// The candidate of these versions, where there is one.
    pub(super) fn of(versions: &Arc<Versions>, metrics: &LaneMetrics) -> Option<Self> {
        let trial = versions.trial()?;
        let round = trial.round();
        Some(Self {
            versions: Arc::clone(versions),
            called: Called::new(Arc::clone(trial.candidate())),
            events: metrics.version_events(round.version.labels()),
            round,
            restarts: Restarts::default(),
        })
    }

    fn trial(&self) -> Option<&Trial> {
        self.versions.trial()
    }

    fn is_on(&self) -> bool {
        self.round.end().is_none()
    }

    /// The share that the candidate handles; none where it only watches, or the trial is over.
    fn share(&self) -> Option<Share> {
        self.trial().filter(|_| self.is_on()).and_then(Trial::share)
    }

    fn found(&self, found: Found) {
        if let Some(trial) = self.trial() {
            trial.take_up(&self.round, found, &self.versions);
        }
    }
}

impl Lane {
    /// Runs the events that are ready and judges them.
    pub(super) fn handle_ready(&mut self, batch: &Batch, settlement: &mut Settlement) {
        let share = self.trying.as_ref().and_then(Trying::share);
        match (share, self.trying.take()) {
            (Some(share), Some(mut trying)) => {
                self.handle_by_two(batch, share, &mut trying, settlement);
                self.trying = Some(trying);
            }
            (_, trying) => {
                self.trying = trying;
                self.handle_by_one(batch, settlement);
            }
        }
    }

    /// Looks between two batches whether there is another candidate.
    pub(super) fn take_up_candidate(&mut self) {
        let Some(trying) = &mut self.trying else {
            return;
        };
        if trying.called.is_behind() && trying.called.take_up().is_some() {
            trying.restarts = Restarts::default();
        }
        if let Some(trial) = trying.versions.trial()
            && !Arc::ptr_eq(&trying.round.version, trying.called.version())
        {
            trying.round = trial.round();
            let version = trying.called.version();
            trying.events = self.metrics.version_events(version.labels());
        }
        if !trying.is_on() {
            // Its memory is of no use any more.
            trying.called.instance = None;
        }
    }

    /// Each version runs the groups that are its own. A group is whole in one of the two batches, so its order
    /// and its state are those of a single batch.
    fn handle_by_two(
        &mut self,
        batch: &Batch,
        share: Share,
        trying: &mut Trying,
        settlement: &mut Settlement,
    ) {
        let mut parts = [(); 2].map(|()| self.empty_like(batch));
        for (index, meta) in batch.events.iter().enumerate() {
            let part = usize::from(share.takes(meta.group));
            parts[part].push_from(batch, index);
        }
        let [for_serving, for_candidate] = parts;
        let mut found = Found::default();
        if !for_serving.is_empty() {
            let before = self.record;
            self.handle_by_one(&for_serving, settlement);
            found.serving = self.record.since(before);
        }
        // An outage that began meanwhile holds the others back too.
        if self.outage_is_on() {
            self.park_part(&for_candidate, 0..for_candidate.len(), settlement);
        } else if !for_candidate.is_empty() {
            let before = self.record;
            self.change_places(trying);
            self.handle_by_one(&for_candidate, settlement);
            self.change_places(trying);
            found.candidate = self.record.since(before);
            found.ailing = trying.restarts.ailing();
        }
        trying.found(found);
    }

    /// The candidate is called where the version that serves was, and the other way round.
    fn change_places(&mut self, trying: &mut Trying) {
        std::mem::swap(&mut self.called, &mut trying.called);
        std::mem::swap(&mut self.restarts, &mut trying.restarts);
        self.metrics.change_version(&mut trying.events);
    }

    /// Lets a shadow do what the version that serves has just done, and compares. Called before anything that
    /// the batch did is applied, so both read the same state.
    pub(super) fn shadow(&mut self, batch: &Batch, served: Result<&BatchAnswer, &Fault>) {
        let Some(mut trying) = self.trying.take() else {
            return;
        };
        if trying.is_on() && trying.trial().is_some_and(|trial| trial.share().is_none()) {
            let mut found = Found::default();
            self.watch(batch, served, &mut trying, &mut found);
            trying.found(found);
        }
        self.trying = Some(trying);
    }

    fn watch(
        &mut self,
        batch: &Batch,
        served: Result<&BatchAnswer, &Fault>,
        trying: &mut Trying,
        found: &mut Found,
    ) {
        let effects = self.called.instance.as_mut().map(|of| &*of.effects());
        let served = compare::seen(served, effects, batch.len());
        let (mut sums, mut tried_sums) = (Sums::default(), Sums::default());
        sums.add(effects, &served, batch, 0);
        let complete = match self.call_shadow(batch, trying, None) {
            Err(_) if batch.len() > 1 => {
                self.watch_one_by_one(batch, &served, trying, (&mut tried_sums, found))
            }
            tried => {
                let effects = trying.called.instance.as_mut().map(|of| &*of.effects());
                let tried = compare::seen(tried.as_ref(), effects, batch.len());
                tried_sums.add(effects, &tried, batch, 0);
                compare::compare(
                    (batch, &self.settings.routing.now.topics),
                    0,
                    (&served, &tried),
                    found,
                );
                true
            }
        };
        if complete {
            let of = (batch, &*self.settings.routing.now.topics);
            compare::compare_sums(of, &sums, &tried_sums, found);
        }
    }

    /// After a fault of the shadow: only the event that it cannot handle must differ. Says whether it had the time
    /// for all of them.
    fn watch_one_by_one(
        &mut self,
        batch: &Batch,
        served: &[Seen],
        trying: &mut Trying,
        (sums, found): (&mut Sums, &mut Found),
    ) -> bool {
        let until = self.clock.instant() + SHADOW_ALONE_MAX;
        let mut single = Batch::new(&self.settings.routing.now.table);
        let mut written = Written::default();
        for (index, served) in served.iter().enumerate() {
            if self.clock.instant() >= until {
                return false;
            }
            single.begin(&self.settings.routing.now.table);
            single.push_from(batch, index);
            let tried = self.call_shadow(&single, trying, Some(&written));
            let effects = trying.called.instance.as_mut().map(|of| &*of.effects());
            let tried = compare::seen(tried.as_ref(), effects, 1);
            written.extend(&tried);
            sums.add(effects, &tried, batch, index);
            let of = (batch, &*self.settings.routing.now.topics);
            compare::compare(of, index, (std::slice::from_ref(served), &tried), found);
        }
        true
    }

    /// Calls the shadow. What it does stays in its instance, and nobody applies it.
    fn call_shadow(
        &mut self,
        batch: &Batch,
        trying: &mut Trying,
        written: Option<&Written>,
    ) -> Result<BatchAnswer, Fault> {
        let topics = &self.settings.routing.now.topics;
        let uses_state = trying.called.version().uses_state;
        let source = self.state.as_ref().filter(|_| uses_state);
        let (bytes, slots) = batch.shown();
        let source = source.map(|state| state.source(slots, bytes, topics));
        let source = source.map(|source| match written {
            Some(written) => written.over(source),
            None => source,
        });
        self.note_busy();
        let instance = trying.called.instance();
        let answer = instance.and_then(|of| of.call(bytes, slots, topics, source));
        self.gauge.busy_since_ms.store(0, Ordering::Relaxed);
        let answer = answer.and_then(|mut answer| {
            let now_ms = self.clock.wall_ms();
            match encoding::made_ready(&self.settings, &mut answer.outputs, now_ms) {
                None => Ok(answer),
                Some(fault) => Err(fault),
            }
        });
        if answer.is_err() {
            trying.called.instance = None;
        }
        answer
    }
}
