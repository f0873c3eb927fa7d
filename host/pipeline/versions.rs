//! The versions of a plugin: which one serves, and which one did before it. Whoever replaces a version publishes
//! it here; a lane looks between two batches, at the price of one atomic load. It must not know files,
//! compiling, or who asked for a change.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::lane::Callee;
use super::trial::Trial;
use crate::kafka::producer::SharedHeaders;
use crate::sandbox::LoadedPlugin;
use crate::telemetry::metrics::VersionLabels;

/// Hexadecimal digits of a digest that tell versions apart for people, as in the signature of a dead letter.
const DIGEST_DIGITS: usize = 12;

/// The header of an output that names its plugin and version, as in `orders@1.4.0`.
const HEADER_PLUGIN: &str = "millrace.plugin";

/// The header of an output with the first digits of the component's digest.
const HEADER_DIGEST: &str = "millrace.plugin.digest";

/// Common start of the headers that the host puts on outputs.
pub(crate) const OUTPUT_HEADERS_PREFIX: &[u8] = b"millrace.plugin";

/// One version of a plugin: everything that is made once for it.
#[derive(Debug)]
pub struct Version {
    /// The plugin's name in the configuration.
    pub plugin: String,
    /// What its author calls it, or else the first digits of its digest.
    pub name: String,
    /// SHA-256 of the component file, in hexadecimal.
    pub digest: String,
    /// The grants that it makes use of, sorted.
    pub grants: Vec<String>,
    pub(crate) uses_state: bool,
    pub(crate) has_timer: bool,
    /// Whether it may wait for answers from outside while it handles an event.
    pub(crate) asks_others: bool,
    /// Whether each event is a call of its own that tells what the host answered, for its dead letter.
    pub(crate) transcripts: bool,
    /// What every output of it carries.
    pub(crate) output_headers: SharedHeaders,
    pub(crate) callee: Box<dyn Callee>,
}

impl Version {
    /// The version that a loaded component is.
    #[must_use]
    pub fn new(loaded: &Arc<LoadedPlugin>) -> Self {
        let version = &loaded.version;
        Self {
            plugin: loaded.name.clone(),
            name: version.clone(),
            digest: loaded.digest.clone(),
            grants: loaded.grants.clone(),
            uses_state: loaded.uses_state,
            has_timer: loaded.has_timer,
            asks_others: loaded.asks_others(),
            transcripts: loaded.transcripts,
            output_headers: output_headers(&loaded.name, version, &loaded.digest),
            callee: Box::new(Arc::clone(loaded)),
        }
    }

    /// Which of these grants, of another version, it does not use.
    #[must_use]
    pub fn lacks(&self, grants: &[String]) -> Vec<String> {
        let more = grants.iter().filter(|grant| !self.grants.contains(grant));
        more.cloned().collect()
    }

    /// Its name and digest, as figures show them.
    #[must_use]
    pub fn labels(&self) -> VersionLabels<'_> {
        (&self.name, &self.digest)
    }
}

#[cfg(test)]
impl Version {
    /// A version of the simulation's.
    pub(crate) fn simulated(plugin: &str, has_timer: bool, callee: Box<dyn Callee>) -> Self {
        let digest = "00".repeat(32);
        Self {
            plugin: plugin.to_owned(),
            name: "0".to_owned(),
            output_headers: output_headers(plugin, "0", &digest),
            digest,
            grants: Vec::new(),
            uses_state: false,
            has_timer,
            asks_others: false,
            transcripts: false,
            callee,
        }
    }
}

/// The headers that say which version made an output.
fn output_headers(plugin: &str, version: &str, digest: &str) -> SharedHeaders {
    let digest = digest.get(..DIGEST_DIGITS).unwrap_or(digest);
    let header = |name: &str, value: &str| (name.into(), Some(value.into()));
    SharedHeaders::from([
        header(HEADER_PLUGIN, &format!("{plugin}@{version}")),
        header(HEADER_DIGEST, digest),
    ])
}

/// A version that does not serve, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The digest, where the file could be read.
    pub digest: Option<String>,
    /// Why, and what to do.
    pub reason: String,
    /// When.
    pub at: SystemTime,
}

/// What serves at one moment.
#[derive(Debug, Clone)]
pub struct Published {
    /// The version that every batch that begins from here on is handled by.
    pub current: Arc<Version>,
    /// The version that served before it, and that a step back returns to.
    pub previous: Option<Arc<Version>>,
    /// Since when the current one serves.
    pub since: SystemTime,
    /// The last version that was refused.
    pub refused: Option<Refusal>,
}

/// The versions of one plugin, shared by every lane that calls it.
#[derive(Debug)]
pub struct Versions {
    plugin: String,
    /// Rises with every change of what serves.
    generation: AtomicU64,
    has_timer: AtomicBool,
    published: Mutex<Published>,
    /// A candidate for the next version, where one is configured.
    trial: Option<Trial>,
}

impl Versions {
    /// Begins with the version that serves first.
    #[must_use]
    pub fn new(first: Version) -> Self {
        Self {
            plugin: first.plugin.clone(),
            generation: AtomicU64::new(1),
            has_timer: AtomicBool::new(first.has_timer),
            published: Mutex::new(Published {
                current: Arc::new(first),
                previous: None,
                since: SystemTime::now(),
                refused: None,
            }),
            trial: None,
        }
    }

    /// The same with a candidate for the next version.
    #[must_use]
    pub fn with_trial(self, trial: Option<Trial>) -> Self {
        Self { trial, ..self }
    }

    /// The candidate for the next version, where one is configured.
    #[must_use]
    pub fn trial(&self) -> Option<&Trial> {
        self.trial.as_ref()
    }

    /// The plugin's name in the configuration.
    #[must_use]
    pub fn plugin(&self) -> &str {
        &self.plugin
    }

    /// What serves now.
    #[must_use]
    pub fn published(&self) -> Published {
        self.lock().clone()
    }

    /// Lets a version serve from the next batch of every lane on.
    pub fn publish(&self, version: Arc<Version>) {
        let mut published = self.lock();
        self.change(&mut published, |published| {
            let before = std::mem::replace(&mut published.current, version);
            published.previous = Some(before);
        });
    }

    /// Lets the version that served before serve again; the one that served is kept, so a second step
    /// returns to it. False where there is none.
    pub fn step_back(&self) -> bool {
        let mut published = self.lock();
        let Some(previous) = published.previous.take() else {
            return false;
        };
        self.change(&mut published, |published| {
            published.previous = Some(std::mem::replace(&mut published.current, previous));
        });
        true
    }

    /// Notes that a version does not serve.
    pub fn refuse(&self, refusal: Refusal) {
        self.lock().refused = Some(refusal);
    }

    /// Takes a version back that a lane could make no instance of, so that no lane serves with it for long:
    /// the one before serves again. Nothing where another change came first.
    pub(crate) fn withdraw(&self, version: &Arc<Version>, reason: &str) {
        let mut published = self.lock();
        if !Arc::ptr_eq(&published.current, version) {
            return;
        }
        let Some(previous) = published.previous.take() else {
            return;
        };
        self.change(&mut published, |published| {
            published.current = previous;
            published.refused = Some(Refusal {
                digest: Some(version.digest.clone()),
                reason: reason.to_owned(),
                at: SystemTime::now(),
            });
        });
    }

    /// The number of the last change.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The version to call, with the number of the change that let it serve.
    pub(crate) fn current(&self) -> (u64, Arc<Version>) {
        let published = self.lock();
        // Read under the lock, so that the two belong together.
        let generation = self.generation.load(Ordering::Relaxed);
        (generation, Arc::clone(&published.current))
    }

    /// Whether the version that serves exports `on-tick`.
    pub(crate) fn has_timer(&self) -> bool {
        self.has_timer.load(Ordering::Relaxed)
    }

    fn change(&self, published: &mut Published, change: impl FnOnce(&mut Published)) {
        change(published);
        published.since = SystemTime::now();
        self.has_timer
            .store(published.current.has_timer, Ordering::Relaxed);
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Published> {
        // What it holds is whole between any two statements.
        self.published
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
