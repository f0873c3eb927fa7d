//! A candidate for a plugin's next version, tried on the events of the version that serves: it handles a share of
//! them, or it only watches. What the lanes find is gathered here, and the trial ends here. It must not know how
//! a lane calls a version.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use super::versions::{Version, Versions};
use crate::config;
use crate::delivery::offsets::Offset;
use crate::delivery::trial::{Record, Share, is_worse};
use crate::telemetry::metrics::TrialMetrics;

/// Differences that are kept to be looked at, the latest. A sample has about a kilobyte.
const SAMPLES_MAX: usize = 100;

/// In what two versions may differ on an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Differs {
    /// One failed where the other did not, or failed otherwise.
    Outcome,
    /// The same outcome, and other outputs.
    Outputs,
    /// The same outcome and outputs, and other state.
    State,
    /// The same outcomes in a whole batch, and other sums; the offset is that of its first event.
    Sums,
}

impl Differs {
    /// All of them, in the order of their places.
    pub const ALL: [Self; 4] = [Self::Outcome, Self::Outputs, Self::State, Self::Sums];

    /// The word in metrics and answers.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Outcome => "outcome",
            Self::Outputs => "outputs",
            Self::State => "state",
            Self::Sums => "sums",
        }
    }
}

/// One event on which the candidate and the version that serves differ.
#[derive(Debug, Clone)]
pub struct Difference {
    /// In what.
    pub differs: Differs,
    /// The event's topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: Offset,
    /// What the version that serves did, shortened.
    pub serving: String,
    /// What the candidate did, shortened.
    pub candidate: String,
}

/// How a trial ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The candidate serves.
    Promoted,
    /// The candidate handles nothing any more, and why.
    SteppedBack(String),
}

/// The candidate of one plugin.
#[derive(Debug)]
pub struct Trial {
    settings: config::Trial,
    /// Whether a candidate that asks for more than the version that serves waits for an operator.
    approve_grants: bool,
    candidate: Arc<Versions>,
    round: Mutex<Arc<Round>>,
    metrics: TrialMetrics,
}

/// The trial of one version of the candidate's file.
#[derive(Debug)]
pub struct Round {
    /// The candidate.
    pub version: Arc<Version>,
    /// When it began.
    pub since: SystemTime,
    candidate: Counts,
    serving: Counts,
    /// By the place in [`Differs::ALL`].
    differences: [AtomicU64; 4],
    /// Events without a difference since the last one with one.
    same_in_a_row: AtomicU64,
    samples: Mutex<VecDeque<Difference>>,
    end: OnceLock<End>,
}

#[derive(Debug, Default)]
struct Counts {
    events: AtomicU64,
    failed: AtomicU64,
}

impl Counts {
    fn add(&self, record: Record) {
        self.events.fetch_add(record.events, Ordering::Relaxed);
        self.failed.fetch_add(record.failed, Ordering::Relaxed);
    }

    fn get(&self) -> Record {
        Record {
            events: self.events.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

impl Round {
    fn new(version: Arc<Version>) -> Self {
        Self {
            version,
            since: SystemTime::now(),
            candidate: Counts::default(),
            serving: Counts::default(),
            differences: Default::default(),
            same_in_a_row: AtomicU64::new(0),
            samples: Mutex::default(),
            end: OnceLock::new(),
        }
    }

    /// How it ended; none while it goes on.
    pub fn end(&self) -> Option<&End> {
        self.end.get()
    }

    /// What the candidate was given and failed, and the same of the version that serves.
    pub fn records(&self) -> (Record, Record) {
        (self.candidate.get(), self.serving.get())
    }

    /// Events on which the two differed in this.
    pub fn differences(&self, differs: Differs) -> u64 {
        self.differences[differs as usize].load(Ordering::Relaxed)
    }

    /// The latest differences, oldest first.
    pub fn samples(&self) -> Vec<Difference> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.iter().cloned().collect()
    }
}

/// What a lane found in one batch.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) candidate: Record,
    pub(crate) serving: Record,
    /// Whether the candidate's instances die one after the other, with no success between.
    pub(crate) ailing: bool,
    pub(crate) differences: Vec<Difference>,
}

impl Trial {
    /// Begins with the first version of the candidate's file.
    #[must_use]
    pub fn new(
        settings: config::Trial,
        approve_grants: bool,
        first: Version,
        metrics: TrialMetrics,
    ) -> Self {
        let candidate = Arc::new(Versions::new(first));
        let round = Round::new(candidate.published().current);
        metrics.running(true);
        Self {
            settings,
            approve_grants,
            candidate,
            round: Mutex::new(Arc::new(round)),
            metrics,
        }
    }

    /// How the candidate is tried.
    #[must_use]
    pub fn settings(&self) -> &config::Trial {
        &self.settings
    }

    /// The share of the events that the candidate handles; none where it only watches.
    pub(crate) fn share(&self) -> Option<Share> {
        match self.settings.how {
            config::Try::Canary { share_of_a_million } => {
                Some(Share::of_a_million(share_of_a_million))
            }
            config::Try::Shadow => None,
        }
    }

    /// The versions of the candidate's file.
    #[must_use]
    pub fn candidate(&self) -> &Arc<Versions> {
        &self.candidate
    }

    /// What is going on, or what was last. Another version in the candidate's file begins anew.
    #[must_use]
    pub fn round(&self) -> Arc<Round> {
        let mut round = self.round.lock().unwrap_or_else(PoisonError::into_inner);
        let version = self.candidate.published().current;
        if !Arc::ptr_eq(&round.version, &version) {
            *round = Arc::new(Round::new(version));
            self.metrics.running(true);
        }
        Arc::clone(&round)
    }

    /// Takes up what a lane found, and ends the round where that is due.
    pub(crate) fn take_up(&self, round: &Round, found: Found, serving: &Versions) {
        if round.end().is_some() {
            return;
        }
        round.candidate.add(found.candidate);
        round.serving.add(found.serving);
        self.metrics.events(found.candidate, found.serving);
        if found.differences.is_empty() {
            round
                .same_in_a_row
                .fetch_add(found.candidate.events, Ordering::Relaxed);
        } else {
            round.same_in_a_row.store(0, Ordering::Relaxed);
            self.note_differences(round, found.differences);
        }
        let (candidate, of_serving) = round.records();
        if found.ailing {
            self.step_back(round, "nothing goes well in it".to_owned());
        } else if is_worse(candidate, of_serving) {
            let reason = format!(
                "{} of its {} events failed; of the version that serves, {} of {} did",
                candidate.failed, candidate.events, of_serving.failed, of_serving.events
            );
            self.step_back(round, reason);
        } else if self
            .settings
            .promote_after
            .is_some_and(|after| round.same_in_a_row.load(Ordering::Relaxed) >= after)
            && !self.waits_for_approval(round, serving)
        {
            self.promote(round, serving);
        }
    }

    fn note_differences(&self, round: &Round, differences: Vec<Difference>) {
        let mut samples = round.samples.lock().unwrap_or_else(PoisonError::into_inner);
        for difference in differences {
            round.differences[difference.differs as usize].fetch_add(1, Ordering::Relaxed);
            self.metrics.difference(difference.differs.word());
            if samples.len() == SAMPLES_MAX {
                samples.pop_front();
            }
            samples.push_back(difference);
        }
    }

    /// Whether an operator has to say that the candidate may have what it asks for.
    #[must_use]
    pub fn waits_for_approval(&self, round: &Round, serving: &Versions) -> bool {
        let serving = serving.published().current;
        self.approve_grants && !serving.lacks(&round.version.grants).is_empty()
    }

    /// Lets the candidate serve. False where the round had ended before.
    pub fn promote(&self, round: &Round, serving: &Versions) -> bool {
        if round.end.set(End::Promoted).is_err() {
            return false;
        }
        self.metrics.running(false);
        serving.publish(Arc::clone(&round.version));
        tracing::info!(plugin = serving.plugin(), version = %round.version.name, digest = %round.version.digest,
            "the candidate serves; write its file into `path` of the plugin, so that it does after a restart too");
        true
    }

    /// Ends the trial without the candidate. False where the round had ended before.
    pub fn step_back(&self, round: &Round, reason: String) -> bool {
        let plugin = self.candidate.plugin();
        let (version, digest) = (&round.version.name, &round.version.digest);
        let said = reason.clone();
        if round.end.set(End::SteppedBack(reason)).is_err() {
            return false;
        }
        self.metrics.running(false);
        tracing::warn!(plugin, %version, %digest, reason = %said,
            "the trial of a candidate is over; it is tried again when its file changes");
        true
    }
}
