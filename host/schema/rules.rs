//! Rules by their name in the configuration: the set that serves, and the one that takes its place when the files have
//! changed. Who checks events looks for another set between two of them, at the price of one atomic load.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::load::{SchemaError, load};
use super::{Event, Flaw, RuleSet, Stage, View};
use crate::config::Validation;
use crate::delivery::dead_letter::Cause;
use crate::latest::{Latest, Seen};

/// Rules by name, shared by all who check events.
#[derive(Debug)]
pub struct Rules {
    name: String,
    validation: Validation,
    serving: Arc<Latest<RuleSet>>,
    /// Held while the files are read, so that two who find them changed do not overtake each other.
    reloading: Mutex<()>,
    /// Shared with the rules of this name before, so that what is counted only rises.
    counts: Arc<Counts>,
}

/// What has come of the rules since the host started.
#[derive(Debug, Default)]
struct Counts {
    /// By place and stage.
    refused: [[AtomicU64; Stage::ALL.len()]; Place::ALL.len()],
    reloaded: AtomicU64,
    reloads_refused: AtomicU64,
}

/// Where an event is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At a gateway: what is wrong is refused, and its sender is told.
    Ingest,
    /// In a group: what is wrong goes to the dead letters.
    Group,
}

impl Place {
    /// Every place.
    pub const ALL: [Self; 2] = [Self::Ingest, Self::Group];

    /// The word in metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Group => "group",
        }
    }
}

/// What came of reading the files again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// They are as they were.
    Unchanged,
    /// Every event from here on is checked by the new set.
    Taken,
}

impl Rules {
    /// Reads and compiles the schemas.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(name: &str, validation: &Validation) -> Result<Self, SchemaError> {
        Ok(Self {
            name: name.to_owned(),
            validation: validation.clone(),
            serving: Arc::new(Latest::new(load(name, validation)?)),
            reloading: Mutex::default(),
            counts: Arc::default(),
        })
    }

    /// The same, counting on from rules of this name that were configured otherwise.
    #[must_use]
    pub fn counting_on(self, before: &Self) -> Self {
        Self {
            counts: Arc::clone(&before.counts),
            ..self
        }
    }

    /// Their name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where their files are, and what is asked of events.
    #[must_use]
    pub fn validation(&self) -> &Validation {
        &self.validation
    }

    /// The set that serves.
    #[must_use]
    pub fn serving(&self) -> Arc<RuleSet> {
        self.serving.current()
    }

    /// Reads the files again, and lets what they say serve.
    ///
    /// # Errors
    /// Everything that is wrong with them. The set that serves goes on.
    pub fn reload(&self) -> Result<Reloaded, SchemaError> {
        let _reloading = self
            .reloading
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let set = load(&self.name, &self.validation).inspect_err(|_| {
            self.counts.reloads_refused.fetch_add(1, Ordering::Relaxed);
        })?;
        if set.digest == self.serving().digest {
            return Ok(Reloaded::Unchanged);
        }
        self.serving.change(|_| Some(set));
        self.counts.reloaded.fetch_add(1, Ordering::Relaxed);
        Ok(Reloaded::Taken)
    }

    /// Events refused so far at one place, by stage.
    pub fn refused(&self, place: Place) -> impl Iterator<Item = (Stage, u64)> {
        let counts = &self.counts.refused[place as usize];
        let stages = Stage::ALL.into_iter().zip(counts);
        stages.map(|(stage, count)| (stage, count.load(Ordering::Relaxed)))
    }

    /// How often another set was taken, and how often one was refused.
    #[must_use]
    pub fn reloads(&self) -> (u64, u64) {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (
            load(&self.counts.reloaded),
            load(&self.counts.reloads_refused),
        )
    }

    /// Checks one event, for those who hold no [`Checker`].
    ///
    /// # Errors
    /// What is wrong with it; that is counted.
    pub fn check(&self, place: Place, event: &Event<'_>) -> Result<(), Flaw> {
        let checked = self.serving().check(event, None);
        checked.inspect_err(|flaw| self.count(place, flaw))
    }

    fn count(&self, place: Place, flaw: &Flaw) {
        let mut stages = Stage::ALL.iter();
        let stage = stages.position(|stage| {
            stage.word() == flaw.code && matches!(flaw.cause, Cause::Schema | Cause::UnknownType)
        });
        if let Some(stage) = stage {
            self.counts.refused[place as usize][stage].fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Rules as one of those who check events holds them. Each thread has its own.
#[derive(Debug, Clone)]
pub struct Checker {
    rules: Arc<Rules>,
    place: Place,
    set: Seen<RuleSet>,
}

impl Checker {
    /// Checks events at this place.
    #[must_use]
    pub fn new(rules: Arc<Rules>, place: Place) -> Self {
        Self {
            set: rules.serving.seen(),
            rules,
            place,
        }
    }

    /// Takes up the set that serves now. One atomic load where it is the same.
    pub fn take_up(&mut self) {
        self.set.refresh();
    }

    /// Checks an event, of which `view` stands in the place of value and headers where there is one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, event: &Event<'_>, view: Option<&View>) -> Result<(), Flaw> {
        self.set.now.check(event, view)
    }

    /// Counts an event that is refused or given up for this.
    pub fn count(&self, flaw: &Flaw) {
        self.rules.count(self.place, flaw);
    }
}
