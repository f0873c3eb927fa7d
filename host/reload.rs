//! Replacing a plugin's version: the file is read, compiled, checked against the grants, linked and tried, and
//! only then published. What fails any step is refused with its reason, and the version that serves goes on. It
//! must not know Kafka, HTTP, or how lanes take a version up.

mod schemas;
mod watch;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

pub use self::watch::Watcher;
use crate::config;
use crate::pipeline::{Refusal, Version, Versions};
use crate::sandbox::{LoadError, LoadedPlugin, Sandbox, digest_of};
use crate::schema::Rules;
use crate::telemetry::metrics::Metrics;

/// Why a version does not serve, or a request could not be met.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum ReloadError {
    #[error("there is no plugin {plugin}; the configuration has: {known}")]
    Unknown { plugin: String, known: String },
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(
        "plugin {plugin}: the file changed while it was read; it is tried again when it is at rest, or \
         when you ask again"
    )]
    Changing { plugin: String },
    #[error(
        "plugin {plugin}: version {version} asks for {asks_for}, which version {serving} does not; if it may \
         have that, run `millrace plugin approve {plugin} --digest {digest}`"
    )]
    NotApproved {
        plugin: String,
        version: String,
        serving: String,
        asks_for: String,
        digest: String,
    },
    #[error("plugin {plugin}: no version with the digest {digest} waits to be approved")]
    NothingToApprove { plugin: String, digest: String },
    #[error("plugin {plugin}: no other version has served since the host started")]
    NoPrevious { plugin: String },
    #[error(
        "plugin {plugin}: no candidate is being tried; its configuration has neither `canary` nor `shadow`, or the trial is over"
    )]
    NoTrial { plugin: String },
}

/// What came of a look at a plugin's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// The version in the file serves already.
    Unchanged,
    /// It serves from the next batch of every lane on.
    Swapped,
}

/// What is known of one plugin.
#[derive(Debug)]
pub struct PluginState {
    /// What serves, what did before, and what is tried.
    pub versions: Arc<Versions>,
    /// The version that waits to be approved, with the grants that it asks for and the one that serves does
    /// not use.
    pub waiting: Option<(Arc<LoadedPlugin>, Vec<String>)>,
}

/// Replaces the versions of all plugins.
#[derive(Debug)]
pub struct Reloader {
    sandbox: Arc<Sandbox>,
    metrics: Metrics,
    cared_for: RwLock<Arc<CaredFor>>,
}

/// What is looked after, until the configuration changes.
#[derive(Debug, Default)]
struct CaredFor {
    plugins: BTreeMap<String, Arc<Plugin>>,
    /// The candidates for the next versions of some of them.
    candidates: BTreeMap<String, Arc<Plugin>>,
    rules: Vec<Arc<Rules>>,
}

#[derive(Debug)]
struct Plugin {
    config: config::Plugin,
    versions: Arc<Versions>,
    is_candidate: bool,
    /// Of the file that the host started with. Another version may serve before anybody looks at the file.
    first_digest: String,
    /// Held during a change, which may compile, so that two of them do not overtake each other.
    changing: Mutex<()>,
    /// The version that waits to be approved.
    waiting: Mutex<Option<Arc<LoadedPlugin>>>,
}

impl Plugin {
    fn new(config: config::Plugin, versions: Arc<Versions>, is_candidate: bool) -> Self {
        let first_digest = versions.published().current.digest.clone();
        Self {
            config,
            versions,
            is_candidate,
            first_digest,
            changing: Mutex::default(),
            waiting: Mutex::default(),
        }
    }

    /// Whether its file is the one that the host started with.
    fn is_as_at_the_start(&self) -> bool {
        let digest = digest(&self.config.path, self.config.limits.component_bytes);
        digest.as_ref() == Some(&self.first_digest)
    }

    /// Waits until no other change is under way.
    fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Arc<LoadedPlugin>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> PluginState {
        let waiting = self.waiting().clone();
        PluginState {
            versions: Arc::clone(&self.versions),
            waiting: waiting.map(|loaded| {
                let asks_for = self.versions.published().current.lacks(&loaded.grants);
                (loaded, asks_for)
            }),
        }
    }

    /// Lets a version serve.
    fn publish(&self, loaded: &Arc<LoadedPlugin>) {
        let before = self.versions.published().current;
        self.versions.publish(Arc::new(Version::new(loaded)));
        tracing::info!(plugin = %loaded.name, version = %loaded.version, digest = %loaded.digest,
            before = %before.name, candidate = self.is_candidate, "another version is taken up");
    }
}

impl Reloader {
    /// Looks after nothing yet.
    #[must_use]
    pub fn new(sandbox: Arc<Sandbox>, metrics: Metrics) -> Self {
        Self {
            sandbox,
            metrics,
            cared_for: RwLock::default(),
        }
    }

    /// Looks after these plugins and rules from now on. What is known of those that are looked after already stays.
    pub fn look_after(
        &self,
        plugins: impl Iterator<Item = (config::Plugin, Arc<Versions>)>,
        rules: Vec<Arc<Rules>>,
    ) {
        let before = self.cared_for();
        let known = |plugins: &BTreeMap<String, Arc<Plugin>>, versions: &Arc<Versions>| {
            let known = plugins.get(versions.plugin());
            known
                .filter(|plugin| Arc::ptr_eq(&plugin.versions, versions))
                .cloned()
        };
        let mut now = CaredFor {
            rules,
            ..CaredFor::default()
        };
        for (config, versions) in plugins {
            let name = versions.plugin();
            if let (Some(config), Some(trial)) = (config.candidate(), versions.trial()) {
                let its = trial.candidate();
                let candidate = known(&before.candidates, its)
                    .unwrap_or_else(|| Arc::new(Plugin::new(config, Arc::clone(its), true)));
                now.candidates.insert(name.to_owned(), candidate);
            }
            let plugin = known(&before.plugins, &versions)
                .unwrap_or_else(|| Arc::new(Plugin::new(config, Arc::clone(&versions), false)));
            now.plugins.insert(name.to_owned(), plugin);
        }
        let mut cared_for = self
            .cared_for
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *cared_for = Arc::new(now);
    }

    fn cared_for(&self) -> Arc<CaredFor> {
        let cared_for = self.cared_for.read();
        Arc::clone(&cared_for.unwrap_or_else(PoisonError::into_inner))
    }

    /// The versions of every plugin.
    #[must_use]
    pub fn versions(&self) -> Vec<Arc<Versions>> {
        let cared_for = self.cared_for();
        let plugins = cared_for.plugins.values();
        plugins.map(|plugin| Arc::clone(&plugin.versions)).collect()
    }

    /// Every set of rules.
    #[must_use]
    pub fn rules(&self) -> Vec<Arc<Rules>> {
        self.cared_for().rules.clone()
    }

    /// Every plugin by name, and what is known of it.
    #[must_use]
    pub fn states(&self) -> Vec<(String, PluginState)> {
        let cared_for = self.cared_for();
        let plugins = cared_for.plugins.iter();
        plugins
            .map(|(name, plugin)| (name.clone(), plugin.state()))
            .collect()
    }

    /// What is known of a plugin.
    ///
    /// # Errors
    /// There is no such plugin.
    pub fn state(&self, name: &str) -> Result<PluginState, ReloadError> {
        Ok(self.plugin(name)?.state())
    }

    /// Tries the version in the plugin's file, and lets it serve.
    ///
    /// # Errors
    /// It does not serve, and why. The version that does goes on.
    pub fn reload(&self, name: &str) -> Result<Reloaded, ReloadError> {
        let plugin = self.plugin(name)?;
        self.try_version(name, &plugin)
    }

    fn try_version(&self, name: &str, plugin: &Plugin) -> Result<Reloaded, ReloadError> {
        let _changing = plugin.change();
        let digest = digest(&plugin.config.path, plugin.config.limits.component_bytes);
        let tried = self.try_file(name, plugin, digest.as_deref());
        if let Err(error) = &tried
            && !matches!(error, ReloadError::Changing { .. })
        {
            tracing::warn!(plugin = name, reason = %error, digest,
                "a version is refused; the one that serves goes on");
            self.metrics.version_refused(name);
            plugin.versions.refuse(Refusal {
                digest,
                reason: error.to_string(),
                at: SystemTime::now(),
            });
        }
        tried
    }

    /// Tries the file, which has this digest where it can be read.
    fn try_file(
        &self,
        name: &str,
        plugin: &Plugin,
        digest: Option<&str>,
    ) -> Result<Reloaded, ReloadError> {
        let serving = plugin.versions.published().current;
        if digest == Some(&serving.digest) {
            *plugin.waiting() = None;
            return Ok(Reloaded::Unchanged);
        }
        // What its `init` refuses is known before any lane hears of it.
        let loaded = LoadedPlugin::prepare(&self.sandbox, name, &plugin.config)?;
        if digest != Some(&loaded.digest) {
            let plugin = name.to_owned();
            return Err(ReloadError::Changing { plugin });
        }
        let asks_for = serving.lacks(&loaded.grants);
        if plugin.config.reload.approve_grants && !asks_for.is_empty() {
            *plugin.waiting() = Some(Arc::clone(&loaded));
            return Err(ReloadError::NotApproved {
                plugin: name.to_owned(),
                version: loaded.version.clone(),
                serving: serving.name.clone(),
                asks_for: format!("`{}`", asks_for.join("`, `")),
                digest: loaded.digest.clone(),
            });
        }
        *plugin.waiting() = None;
        plugin.publish(&loaded);
        Ok(Reloaded::Swapped)
    }

    /// Lets the version before serve again. What serves is kept, so a second step returns to it.
    ///
    /// # Errors
    /// There is none.
    pub fn step_back(&self, name: &str) -> Result<(), ReloadError> {
        let plugin = self.plugin(name)?;
        let _changing = plugin.change();
        if !plugin.versions.step_back() {
            let plugin = name.to_owned();
            return Err(ReloadError::NoPrevious { plugin });
        }
        let serving = plugin.versions.published().current;
        tracing::info!(plugin = name, version = %serving.name, digest = %serving.digest,
            "the version before serves again");
        Ok(())
    }

    /// Lets the version serve that waits because it asks for more than the one that serves.
    ///
    /// # Errors
    /// No version with this digest waits.
    pub fn approve(&self, name: &str, digest: &str) -> Result<(), ReloadError> {
        let plugin = self.plugin(name)?;
        let _changing = plugin.change();
        let approved = plugin.waiting().take_if(|loaded| loaded.digest == digest);
        match approved {
            Some(loaded) => {
                plugin.publish(&loaded);
                Ok(())
            }
            None => Err(ReloadError::NothingToApprove {
                plugin: name.to_owned(),
                digest: digest.to_owned(),
            }),
        }
    }

    /// Lets the candidate serve that is being tried. That is its approval too, where it asks for more.
    ///
    /// # Errors
    /// None is being tried.
    pub fn promote(&self, name: &str) -> Result<(), ReloadError> {
        let plugin = self.plugin(name)?;
        let _changing = plugin.change();
        let versions = &plugin.versions;
        let promoted = versions
            .trial()
            .is_some_and(|trial| trial.promote(&trial.round(), versions));
        promoted.then_some(()).ok_or_else(|| ReloadError::NoTrial {
            plugin: name.to_owned(),
        })
    }

    /// Ends the trial of a candidate.
    ///
    /// # Errors
    /// None is being tried.
    pub fn dismiss(&self, name: &str) -> Result<(), ReloadError> {
        let plugin = self.plugin(name)?;
        let dismissed = plugin.versions.trial().is_some_and(|trial| {
            let reason = "an operator dismissed it".to_owned();
            trial.step_back(&trial.round(), reason)
        });
        dismissed.then_some(()).ok_or_else(|| ReloadError::NoTrial {
            plugin: name.to_owned(),
        })
    }

    fn plugin(&self, name: &str) -> Result<Arc<Plugin>, ReloadError> {
        let plugins = &self.cared_for().plugins;
        let plugin = plugins.get(name).cloned();
        plugin.ok_or_else(|| ReloadError::Unknown {
            plugin: name.to_owned(),
            known: plugins.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }
}

/// The digest of a file that may be a component; none where loading it will say what is wrong.
fn digest(path: &Path, bytes_max: u64) -> Option<String> {
    let bytes = std::fs::metadata(path).ok()?.len();
    (bytes <= bytes_max)
        .then(|| std::fs::read(path).ok())
        .flatten()
        .map(|bytes| digest_of(&bytes))
}
