//! Why a plugin cannot be used, and what to do about it. It must not know how loading works.

use std::path::PathBuf;
use std::time::Duration;

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
    #[error(
        "plugin {plugin}: {} has the digest sha256:{found} and not sha256:{wanted}, so it was changed after it was \
         fetched, and is not used; start the host again to fetch it again", path.display()
    )]
    Digest {
        plugin: String,
        path: PathBuf,
        wanted: String,
        found: String,
    },
    #[error("plugin {plugin}: {} is empty; build it again", path.display())]
    Empty { plugin: String, path: PathBuf },
    #[error(
        "plugin {plugin}: {} has {bytes} bytes, more than the limit of {limit} \
         (plugins.{plugin}.limits.component_size); build it smaller or raise the limit", path.display()
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
        "plugin {plugin}: exports neither millrace:plugin/batch-event-handler@0.1.0 nor millrace:plugin/event-handler@0.1.0; implement one of the worlds \
         `batch-handler` and `handler` of millrace:plugin@0.1.0, or export wasi:messaging/incoming-handler@0.2.0-draft \
         or wasmcloud:messaging/handler@0.2.0"
    )]
    NoHandler { plugin: String },
    #[error(
        "plugin {plugin}: imports {import}, which only a plugin that exports \
         wasi:messaging/incoming-handler@0.2.0-draft or wasmcloud:messaging/handler@0.2.0 has; one of \
         millrace:plugin returns what it sends as outputs"
    )]
    ForeignImport { plugin: String, import: String },
    #[error("plugin {plugin}: does not fit the contract {contract}: {message}")]
    Mismatch {
        plugin: String,
        contract: &'static str,
        message: String,
    },
    #[error("plugin {plugin}: cannot make HTTP requests: {message}")]
    Web { plugin: String, message: String },
    #[error("plugin {plugin}: its init refused to start: {message}")]
    Init {
        plugin: String,
        message: String,
        limit: Option<&'static str>,
    },
    #[error(
        "plugin {plugin}: compiling {} took longer than {} ms and was ended \
         (plugins.{plugin}.limits.compile_time); build it smaller or raise the limit",
        path.display(), limit.as_millis()
    )]
    CompileTime {
        plugin: String,
        path: PathBuf,
        limit: Duration,
    },
    #[error(
        "plugin {plugin}: compiling {} failed: {message}; the process that compiles may take {memory_bytes} \
         bytes of memory", path.display()
    )]
    Compile {
        plugin: String,
        path: PathBuf,
        message: String,
        memory_bytes: u64,
    },
}

impl LoadError {
    /// The limit that was gone past, as `plugins.NAME.limits` names it; none where it was no limit.
    #[must_use]
    pub fn limit(&self) -> Option<&'static str> {
        match self {
            Self::TooLarge { .. } => Some("component_size"),
            Self::CompileTime { .. } => Some("compile_time"),
            Self::Init { limit, .. } => *limit,
            _ => None,
        }
    }
}
