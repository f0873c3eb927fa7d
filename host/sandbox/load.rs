//! From a component file to something that can be instantiated: size, kind, grants, exports, link.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker, types};

use super::engine::Sandbox;
use super::host_state::HostState;
use super::interfaces;
use crate::config;

/// The exports that the host looks for.
const BATCH_HANDLER: &str = "millrace:plugin/batch-event-handler@0.1.0";
const EVENT_HANDLER: &str = "millrace:plugin/event-handler@0.1.0";
const TIMER: &str = "millrace:plugin/timer@0.1.0";
const LIFECYCLE: &str = "millrace:plugin/lifecycle@0.1.0";

/// Why a plugin cannot be used. The operator or the plugin's author must act; retrying does not help.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum LoadError {
    #[error("the WebAssembly engine does not start: {message}")]
    Engine { message: String },
    #[error("plugin {plugin}: cannot read {}: {source}", path.display())]
    Read {
        plugin: String,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("plugin {plugin}: {} is empty; build it again", path.display())]
    Empty { plugin: String, path: PathBuf },
    #[error(
        "plugin {plugin}: {} has {bytes} bytes, more than the limit of {limit} \
         (limits.component_size); build it smaller or raise the limit", path.display()
    )]
    TooLarge {
        plugin: String,
        path: PathBuf,
        bytes: u64,
        limit: u64,
    },
    #[error(
        "plugin {plugin}: {} is a core module, not a component; build it for wasm32-wasip2, or turn it \
         into a component with `wasm-tools component new`", path.display()
    )]
    CoreModule { plugin: String, path: PathBuf },
    #[error(
        "plugin {plugin}: {} is compiled machine code, which is never loaded; give the .wasm component \
         it was made from", path.display()
    )]
    Compiled { plugin: String, path: PathBuf },
    #[error("plugin {plugin}: {} is not a valid component: {message}", path.display())]
    Invalid {
        plugin: String,
        path: PathBuf,
        message: String,
    },
    #[error(
        "plugin {plugin}: imports {import}, which is not granted; add `{grant}` to plugins.{plugin}.grants \
         if it may have it"
    )]
    NotGranted {
        plugin: String,
        import: String,
        grant: String,
    },
    #[error("plugin {plugin}: imports {import}, which this host does not have")]
    UnknownImport { plugin: String, import: String },
    #[error(
        "plugin {plugin}: exports neither {BATCH_HANDLER} nor {EVENT_HANDLER}; implement one of the worlds \
         `batch-handler` and `handler` of millrace:plugin@0.1.0"
    )]
    NoHandler { plugin: String },
    #[error("plugin {plugin}: does not fit the contract millrace:plugin@0.1.0: {message}")]
    Mismatch { plugin: String, message: String },
    #[error("plugin {plugin}: cannot make HTTP requests: {message}")]
    Web { plugin: String, message: String },
    #[error("plugin {plugin}: its init refused to start: {message}")]
    Init { plugin: String, message: String },
}

/// A component that has been checked, compiled and linked.
pub struct LoadedPlugin {
    /// The name in the configuration.
    pub name: String,
    /// SHA-256 of the component file, in hexadecimal.
    pub digest: String,
    /// The limits of each instance.
    pub limits: config::Limits,
    /// Topics that outputs may go to.
    pub output_topics: Vec<String>,
    /// Whether `on-tick` is exported.
    pub has_timer: bool,
    /// Whether state is granted and imported.
    pub uses_state: bool,
    /// What its state may take in each topic-partition, in bytes.
    pub state_quota_bytes: u64,
    pub(super) handler: Handler,
    pub(super) on_tick: Option<ComponentExportIndex>,
    pub(super) init: Option<ComponentExportIndex>,
    pub(super) pre: InstancePre<HostState>,
    pub(super) settings: Arc<Vec<(String, String)>>,
    /// What HTTP requests may do; none where no host is granted.
    pub(super) web: Option<Arc<interfaces::WebAccess>>,
}

/// Which of the two base worlds the component implements.
#[derive(Clone, Copy)]
pub(super) enum Handler {
    Batch(ComponentExportIndex),
    Single(ComponentExportIndex),
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
        let component = compile(sandbox, name, &config.path, &bytes)?;
        check_imports(sandbox, name, &component, &config.grants)?;
        let export = |interface: &str, function: &str| {
            let (_, instance) = component.get_export(None, interface)?;
            component.get_export_index(Some(&instance), function)
        };
        let handler = export(BATCH_HANDLER, "handle-batch")
            .map(Handler::Batch)
            .or_else(|| export(EVENT_HANDLER, "handle").map(Handler::Single))
            .ok_or_else(|| LoadError::NoHandler {
                plugin: name.to_owned(),
            })?;
        let on_tick = export(TIMER, "on-tick");
        let mut linker = Linker::new(&sandbox.engine);
        let mismatch = |error: wasmtime::Error| LoadError::Mismatch {
            plugin: name.to_owned(),
            message: format!("{error:#}"),
        };
        interfaces::link(&mut linker, &config.grants).map_err(mismatch)?;
        let pre = linker.instantiate_pre(&component).map_err(mismatch)?;
        let web = interfaces::WebAccess::new(&config.grants).map_err(|message| LoadError::Web {
            plugin: name.to_owned(),
            message,
        })?;
        Ok(Self {
            name: name.to_owned(),
            digest: hex(&Sha256::digest(&bytes)),
            limits: config.limits.clone(),
            output_topics: config.grants.output_topics.clone(),
            has_timer: on_tick.is_some(),
            uses_state: imports(sandbox, &component)
                .any(|import| import == "millrace:plugin/state@0.1.0"),
            state_quota_bytes: config.state_quota_bytes,
            handler,
            on_tick,
            init: export(LIFECYCLE, "init"),
            pre,
            settings: Arc::new(config.settings.clone().into_iter().collect()),
            web,
        })
    }
}

fn read(plugin: &str, path: &Path, limit: u64) -> Result<Vec<u8>, LoadError> {
    let plugin = plugin.to_owned();
    let path = path.to_owned();
    let read = || {
        let size = std::fs::metadata(&path)?.len();
        Ok((
            size,
            if size > limit {
                Vec::new()
            } else {
                std::fs::read(&path)?
            },
        ))
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

fn compile(
    sandbox: &Sandbox,
    plugin: &str,
    path: &Path,
    bytes: &[u8],
) -> Result<Component, LoadError> {
    let (plugin, path) = (plugin.to_owned(), path.to_owned());
    if bytes.starts_with(b"\x7fELF") {
        return Err(LoadError::Compiled { plugin, path });
    }
    // The eight bytes are the magic number and the version; layer 0 in the version is a core module.
    if bytes.starts_with(b"\0asm\x01\0\0\0") {
        return Err(LoadError::CoreModule { plugin, path });
    }
    Component::from_binary(&sandbox.engine, bytes).map_err(|error| LoadError::Invalid {
        plugin,
        path,
        message: one_line(&format!("{error:#}")),
    })
}

fn imports(sandbox: &Sandbox, component: &Component) -> impl Iterator<Item = String> {
    let component_type = component.component_type();
    let names: Vec<String> = component_type
        .imports(&sandbox.engine)
        .map(|(name, item)| match item.ty {
            types::ComponentItem::ComponentInstance(_) => name.to_owned(),
            _ => format!("{name} (not an interface)"),
        })
        .collect();
    names.into_iter()
}

fn check_imports(
    sandbox: &Sandbox,
    plugin: &str,
    component: &Component,
    grants: &config::Grants,
) -> Result<(), LoadError> {
    for import in imports(sandbox, component) {
        let plugin = plugin.to_owned();
        match interfaces::needs(&import) {
            interfaces::Need::Nothing => {}
            interfaces::Need::Grant(grant) if interfaces::granted(grants, grant) => {}
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

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}
/// wasmtime spreads some messages over several lines.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
