//! What a component may import: which grant each interface needs, and how it is linked.

mod config_store;
mod journal;
pub(super) mod messaging;
mod metrics;
mod state;
mod tally;
mod waits;
mod web;

use wasmtime::component::{HasSelf, Linker};

pub use self::web::WebCounts;
pub(super) use self::web::{WebAccess, WebState};
use super::host_state::HostState;
use crate::config::Grants;

/// The bindings that wasmtime makes from the contract; private, so that nothing else depends on them.
mod generated {
    #![allow(
        missing_docs,
        reason = "generated from the WIT files, which document every item"
    )]
    wasmtime::component::bindgen!({
        path: "wit",
        world: "millrace:plugin/capabilities",
        imports: { default: trappable },
    });
}

/// Longest name of a tally, a metric, a label or a state entry, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// What a component needs to import an interface.
pub(super) enum Need {
    /// Linked for everyone.
    Nothing,
    /// This word among the plugin's grants.
    Grant(&'static str),
    /// The host does not have it.
    Unknown,
}

/// What an import by this name needs.
pub(super) fn needs(import: &str) -> Need {
    let interface = import.split('@').next().unwrap_or_default();
    match interface {
        "millrace:plugin/types" | "millrace:plugin/effects" => Need::Nothing,
        // What a message is sent to is granted by topic, as every output is.
        "wasi:messaging/types" | "wasi:messaging/producer" => Need::Nothing,
        "wasmcloud:messaging/types" | "wasmcloud:messaging/consumer" => Need::Nothing,
        "millrace:plugin/metrics" => Need::Grant("metrics"),
        "millrace:plugin/tally" => Need::Grant("tally"),
        "millrace:plugin/journal" => Need::Grant("journal"),
        "millrace:plugin/state" => Need::Grant("state"),
        "wasi:logging/logging" => Need::Grant("logging"),
        "wasi:config/store" => Need::Grant("config"),
        "wasi:http/types" | "wasi:http/outgoing-handler" => Need::Grant("https:HOST"),
        _ => {
            // Toolchains import these whatever a plugin's world says; everything in them is denied.
            let denied = ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/"];
            let denied_too = ["wasi:random/", "wasi:sockets/"];
            let known = denied
                .iter()
                .chain(&denied_too)
                .any(|p| interface.starts_with(p));
            if known { Need::Nothing } else { Need::Unknown }
        }
    }
}

/// Links WASI with everything denied, and each granted interface; what a component of another host's world may
/// have besides, where it is one.
pub(super) fn link(
    linker: &mut Linker<HostState>,
    grants: &Grants,
    is_foreign: bool,
) -> wasmtime::Result<()> {
    use generated::millrace::plugin as contract;
    type Own = HasSelf<HostState>;
    wasmtime_wasi::p2::add_to_linker_sync(linker)?;
    waits::link(linker)?;
    contract::effects::add_to_linker::<_, Own>(linker, |state| state)?;
    if grants.metrics {
        contract::metrics::add_to_linker::<_, Own>(linker, |state| state)?;
    }
    if grants.tally {
        contract::tally::add_to_linker::<_, Own>(linker, |state| state)?;
    }
    if grants.journal {
        contract::journal::add_to_linker::<_, Own>(linker, |state| state)?;
    }
    if grants.state {
        contract::state::add_to_linker::<_, Own>(linker, |state| state)?;
    }
    if grants.logging {
        generated::wasi::logging::logging::add_to_linker::<_, Own>(linker, |state| state)?;
    }
    if grants.config {
        config_store::link(linker)?;
    }
    if !grants.web.is_empty() {
        web::link(linker)?;
    }
    if is_foreign {
        messaging::link(linker)?;
    }
    Ok(())
}

impl generated::millrace::plugin::effects::Host for HostState {
    fn begin(&mut self, index: u32) -> wasmtime::Result<()> {
        self.count_call()?;
        self.check_index(index)?;
        self.event_index = index;
        Ok(())
    }

    fn discard(&mut self, index: u32) -> wasmtime::Result<()> {
        self.count_call()?;
        self.effects.retain(|event_index| event_index != index);
        Ok(())
    }
}

impl generated::wasi::logging::logging::Host for HostState {
    fn log(
        &mut self,
        level: generated::wasi::logging::logging::Level,
        context: String,
        message: String,
    ) -> wasmtime::Result<()> {
        use generated::wasi::logging::logging::Level;
        self.count_call()?;
        let level = match level {
            Level::Trace | Level::Debug => tracing::Level::DEBUG,
            Level::Info => tracing::Level::INFO,
            Level::Warn => tracing::Level::WARN,
            Level::Error | Level::Critical => tracing::Level::ERROR,
        };
        let separator = if context.is_empty() { "" } else { ": " };
        let line = format!("{context}{separator}{message}");
        if let Some(tape) = &self.tape {
            tape.log(&line);
        }
        self.log.line(level, &line);
        Ok(())
    }
}
