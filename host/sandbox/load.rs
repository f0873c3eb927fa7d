//! From a component file to something that can be instantiated: size, kind, grants, exports, link. How it is
//! compiled is the engine's.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker, types};

use super::engine::{Sandbox, Source, Ticker};
use super::facts::ComponentFacts;
use super::fault::shown;
use super::host_state::HostState;
use super::instance::Instance;
use super::interfaces;
use super::load_error::LoadError;
use super::stdio::PluginLog;
use crate::config;

/// The exports that the host looks for.
const BATCH_HANDLER: &str = "millrace:plugin/batch-event-handler@0.1.0";
const EVENT_HANDLER: &str = "millrace:plugin/event-handler@0.1.0";
const WASI_MESSAGING: &str = "wasi:messaging/incoming-handler@0.2.0-draft";
const WASMCLOUD_MESSAGING: &str = "wasmcloud:messaging/handler@0.2.0";
const TIMER: &str = "millrace:plugin/timer@0.1.0";
const LIFECYCLE: &str = "millrace:plugin/lifecycle@0.1.0";

/// What the host can call, by what is exported: the worlds of the contract, then handlers made for other hosts. The
/// one first that it prefers.
pub(super) const WORLDS: [(&str, &str); 4] = [
    (BATCH_HANDLER, "batch-handler"),
    (EVENT_HANDLER, "handler"),
    (WASI_MESSAGING, WASI_MESSAGING),
    (WASMCLOUD_MESSAGING, WASMCLOUD_MESSAGING),
];

/// What a component may export besides.
pub(super) const OPTIONS: [(&str, &str); 2] = [(LIFECYCLE, "lifecycle"), (TIMER, "timer")];

/// Digits of the digest that stand for the version of a component that does not say its own.
const VERSION_DIGITS: usize = 12;

/// A component that has been checked, compiled and linked.
pub struct LoadedPlugin {
    /// The name in the configuration.
    pub name: String,
    /// SHA-256 of the component file, in hexadecimal.
    pub digest: String,
    /// What its author calls this version, or else the first digits of the digest.
    pub version: String,
    /// The grants that it makes use of, sorted.
    pub grants: Vec<String>,
    /// The limits of each instance.
    pub limits: config::Limits,
    /// When an instance that is well makes room for a new one.
    pub recycle: config::Recycle,
    /// Topics that outputs may go to.
    pub output_topics: Vec<String>,
    /// Whether `on-tick` is exported.
    pub has_timer: bool,
    /// Whether state is granted and imported.
    pub uses_state: bool,
    /// What its state may take in each topic-partition, in bytes.
    pub state_quota_bytes: u64,
    /// Whether its dead letters carry what the host answered.
    pub transcripts: bool,
    pub(super) handler: Handler,
    pub(super) on_tick: Option<ComponentExportIndex>,
    pub(super) init: Option<ComponentExportIndex>,
    pub(super) pre: InstancePre<HostState>,
    pub(super) settings: Arc<Vec<(String, String)>>,
    /// What nobody may read of the settings.
    pub(super) secrets: config::Secrets,
    /// What HTTP requests may do; none where no host is granted.
    pub(super) web: Option<Arc<interfaces::WebAccess>>,
    pub(super) log: Arc<PluginLog>,
    _ticker: Arc<Ticker>,
}

/// Which of the two base worlds the component implements, or which of another host's.
#[derive(Clone, Copy)]
pub(super) enum Handler {
    Batch(ComponentExportIndex),
    Single(ComponentExportIndex),
    WasiMessaging(ComponentExportIndex),
    WasmcloudMessaging(ComponentExportIndex),
}

impl Handler {
    /// The first that a component exports.
    fn find(export: impl Fn(&str, &str) -> Option<ComponentExportIndex>) -> Option<Self> {
        let foreign = || {
            export(WASI_MESSAGING, "handle")
                .map(Self::WasiMessaging)
                .or_else(|| {
                    export(WASMCLOUD_MESSAGING, "handle-message").map(Self::WasmcloudMessaging)
                })
        };
        export(BATCH_HANDLER, "handle-batch")
            .map(Self::Batch)
            .or_else(|| export(EVENT_HANDLER, "handle").map(Self::Single))
            .or_else(foreign)
    }

    /// Whether it was written for another host.
    fn is_foreign(self) -> bool {
        matches!(self, Self::WasiMessaging(_) | Self::WasmcloudMessaging(_))
    }

    /// The contract that it is checked against.
    pub(super) fn contract(self) -> &'static str {
        match self {
            Self::Batch(_) | Self::Single(_) => "millrace:plugin@0.1.0",
            Self::WasiMessaging(_) => "wasi:messaging@0.2.0-draft as of December 2024",
            Self::WasmcloudMessaging(_) => "wasmcloud:messaging@0.2.0",
        }
    }
}

impl std::fmt::Debug for LoadedPlugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadedPlugin")
            .field("name", &self.name)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

impl LoadedPlugin {
    /// Makes a version of a plugin ready to run: loads it, and makes one instance, so that what its `init`
    /// refuses is known before any event. It takes as long as a compile may, so no lane calls it; any other
    /// thread may, several at a time.
    ///
    /// # Errors
    /// Says what is wrong with the file, its grants or its start, and what to do.
    pub fn prepare(
        sandbox: &Sandbox,
        name: &str,
        config: &config::Plugin,
    ) -> Result<Arc<Self>, LoadError> {
        let loaded = Arc::new(Self::load(sandbox, name, config)?);
        drop(Instance::new(&loaded)?);
        Ok(loaded)
    }

    /// Makes plugins ready, as many at a time as there are cores.
    ///
    /// # Errors
    /// Says what is wrong with the first of them, by name, that cannot be used.
    pub fn prepare_all(
        sandbox: &Sandbox,
        plugins: &BTreeMap<String, config::Plugin>,
    ) -> Result<BTreeMap<String, Arc<Self>>, LoadError> {
        let each = Self::prepare_each(sandbox, plugins).into_iter();
        each.map(|(name, loaded)| Ok((name, loaded?))).collect()
    }

    /// The same, with what is wrong with each that cannot be used. In the order of their names.
    pub fn prepare_each(
        sandbox: &Sandbox,
        plugins: &BTreeMap<String, config::Plugin>,
    ) -> Vec<(String, Result<Arc<Self>, LoadError>)> {
        let work = Mutex::new(plugins.iter());
        let prepare = || {
            let mut ready = Vec::new();
            loop {
                // Not held while a plugin is prepared.
                let next = work.lock().unwrap_or_else(PoisonError::into_inner).next();
                match next {
                    Some((name, config)) => {
                        ready.push((name, Self::prepare(sandbox, name, config)));
                    }
                    None => return ready,
                }
            }
        };
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut ready = thread::scope(|scope| {
            let others: Vec<_> = (1..cores.min(plugins.len()))
                .filter_map(|_| thread::Builder::new().spawn_scoped(scope, prepare).ok())
                .collect();
            // This thread is one of them, so it is done even where no other can be started.
            let mut ready = prepare();
            for other in others {
                match other.join() {
                    Ok(more) => ready.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            ready
        });
        ready.sort_by_key(|(name, _)| *name);
        let named = |(name, loaded): (&String, _)| (name.clone(), loaded);
        ready.into_iter().map(named).collect()
    }

    /// Whether it may make HTTP requests.
    #[must_use]
    pub fn asks_others(&self) -> bool {
        self.web.is_some()
    }

    /// Reads, checks, compiles and links a component. Nothing of it runs yet.
    ///
    /// # Errors
    /// Says what is wrong with the file or with its grants, and what to do.
    pub fn load(sandbox: &Sandbox, name: &str, config: &config::Plugin) -> Result<Self, LoadError> {
        let bytes = read(name, &config.path, config.limits.component_bytes)?;
        check_kind(name, &config.path, &bytes)?;
        let digest = digest_of(&bytes);
        check_pinned(name, config, &digest)?;
        let component = sandbox.component(&Source {
            plugin: name,
            path: &config.path,
            digest: &digest,
            bytes: &bytes,
            metered: config.limits.fuel.is_some(),
            compile_time: config.limits.compile_time,
        })?;
        let engine = component.engine();
        check_imports(engine, name, &component, &config.grants)?;
        let facts = ComponentFacts::read(&bytes).map_err(|message| LoadError::Invalid {
            plugin: name.to_owned(),
            path: config.path.clone(),
            message,
        })?;
        let export = |interface: &str, function: &str| {
            let (_, instance) = component.get_export(None, interface)?;
            component.get_export_index(Some(&instance), function)
        };
        let handler = Handler::find(export).ok_or_else(|| LoadError::NoHandler {
            plugin: name.to_owned(),
        })?;
        check_foreign(engine, name, &component, handler)?;
        let on_tick = export(TIMER, "on-tick");
        let mut linker = Linker::new(engine);
        let mismatch = |error: wasmtime::Error| LoadError::Mismatch {
            plugin: name.to_owned(),
            contract: handler.contract(),
            message: format!("{error:#}"),
        };
        let is_foreign = handler.is_foreign();
        interfaces::link(&mut linker, &config.grants, is_foreign).map_err(mismatch)?;
        let pre = linker.instantiate_pre(&component).map_err(mismatch)?;
        let web = interfaces::WebAccess::new(&config.grants).map_err(|message| LoadError::Web {
            plugin: name.to_owned(),
            message,
        })?;
        // A request has its effect whatever becomes of its event.
        let web = web.filter(|_| !config.only_watches);
        Ok(Self {
            name: name.to_owned(),
            version: facts
                .version
                .unwrap_or_else(|| digest[..VERSION_DIGITS].to_owned()),
            grants: facts.grants,
            digest,
            limits: config.limits.clone(),
            recycle: config.recycle,
            output_topics: config.grants.output_topics.clone(),
            has_timer: on_tick.is_some(),
            uses_state: imports(engine, &component)
                .any(|import| import == "millrace:plugin/state@0.1.0"),
            state_quota_bytes: config.state_quota_bytes,
            transcripts: config.transcripts,
            handler,
            on_tick,
            init: export(LIFECYCLE, "init"),
            pre,
            settings: Arc::new(config.settings.clone().into_iter().collect()),
            secrets: config.secrets(),
            web,
            log: Arc::new(PluginLog::new(name, &config.limits)),
            _ticker: sandbox.ticker(),
        })
    }
}

fn read(plugin: &str, path: &Path, limit: u64) -> Result<Vec<u8>, LoadError> {
    let plugin = plugin.to_owned();
    let path = path.to_owned();
    let read = || {
        let file = File::open(&path)?;
        let size = file.metadata()?.len();
        let mut bytes = Vec::new();
        // The file may grow meanwhile.
        file.take(limit + 1).read_to_end(&mut bytes)?;
        Ok((size.max(bytes.len() as u64), bytes))
    };
    match read() {
        Err(source) => Err(LoadError::Read {
            plugin,
            path,
            source,
        }),
        Ok((bytes, _)) if bytes > limit => Err(LoadError::TooLarge {
            plugin,
            path,
            bytes,
            limit,
        }),
        Ok((_, bytes)) if bytes.is_empty() => Err(LoadError::Empty { plugin, path }),
        Ok((_, bytes)) => Ok(bytes),
    }
}

/// What was fetched may have been changed since, on the disk.
fn check_pinned(plugin: &str, config: &config::Plugin, found: &str) -> Result<(), LoadError> {
    match &config.origin.digest {
        Some(wanted) if wanted != found => Err(LoadError::Digest {
            plugin: plugin.to_owned(),
            path: config.path.clone(),
            wanted: wanted.clone(),
            found: found.to_owned(),
        }),
        _ => Ok(()),
    }
}

fn check_kind(plugin: &str, path: &Path, bytes: &[u8]) -> Result<(), LoadError> {
    let (plugin, path) = (plugin.to_owned(), path.to_owned());
    if bytes.starts_with(b"\x7fELF") {
        return Err(LoadError::Compiled { plugin, path });
    }
    // The eight bytes are the magic number and the version; layer 0 in the version is a core module.
    if bytes.starts_with(b"\0asm\x01\0\0\0") {
        return Err(LoadError::CoreModule { plugin, path });
    }
    Ok(())
}

fn imports(engine: &Engine, component: &Component) -> impl Iterator<Item = String> {
    let component_type = component.component_type();
    let names: Vec<String> = component_type
        .imports(engine)
        .map(|(name, item)| match item.ty {
            types::ComponentItem::ComponentInstance(_) => name.to_owned(),
            _ => format!("{name} (not an interface)"),
        })
        .collect();
    names.into_iter()
}

fn check_imports(
    engine: &Engine,
    plugin: &str,
    component: &Component,
    grants: &config::Grants,
) -> Result<(), LoadError> {
    for import in imports(engine, component) {
        let plugin = plugin.to_owned();
        let need = interfaces::needs(&import);
        let import = shown(&import);
        match need {
            interfaces::Need::Nothing => {}
            interfaces::Need::Grant(grant) if grants.has(grant) => {}
            interfaces::Need::Grant(grant) => {
                return Err(LoadError::NotGranted {
                    plugin,
                    import,
                    grant: grant.to_owned(),
                });
            }
            interfaces::Need::Unknown => return Err(LoadError::UnknownImport { plugin, import }),
        }
    }
    Ok(())
}

/// What is sent by the interfaces of other hosts belongs to the event of one call, so only their handlers have them.
fn check_foreign(
    engine: &Engine,
    plugin: &str,
    component: &Component,
    handler: Handler,
) -> Result<(), LoadError> {
    let mut imports = imports(engine, component);
    let foreign = imports.find(|import| interfaces::messaging::is_messaging(import));
    match foreign {
        Some(import) if !handler.is_foreign() => Err(LoadError::ForeignImport {
            plugin: plugin.to_owned(),
            import,
        }),
        _ => Ok(()),
    }
}

/// SHA-256 of a component file, in hexadecimal.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}
