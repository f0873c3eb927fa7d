//! What one instance's host functions work on: limits, buffered effects, the current call.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::effects::{Effects, StateWrite};
use super::fault::{FaultKind, Violation};
use super::limits::InstanceLimits;
use super::load::LoadedPlugin;
use super::stdio::PluginLog;

/// Handles that a guest may hold at once. The default of a million is a way to exhaust the host.
const RESOURCES_MAX: usize = 1_000;

/// Largest answer of one call for random bytes.
const RANDOM_BYTES_MAX: u64 = 64 << 10;

/// Reads settled state on behalf of the event that is running.
pub trait StateSource: Send + Debug {
    /// The full key of a name: the plugin, the topic-partition and key of this event of the current
    /// batch, then the name.
    fn key(&self, event_index: u32, name: &str) -> Vec<u8>;

    /// The settled value under a full key, unless its time has run out.
    ///
    /// # Errors
    /// Says why it could not be read.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String>;
}

/// The data of a store.
pub(super) struct HostState {
    wasi: WasiCtx,
    table: ResourceTable,
    pub(super) limits: InstanceLimits,
    pub(super) log: PluginLog,
    pub(super) settings: Arc<Vec<(String, String)>>,
    pub(super) effects: Effects,
    /// What earlier events of a batch wrote, where each event is a call of its own.
    pub(super) earlier_state: Vec<StateWrite>,
    /// The event that effects belong to.
    pub(super) event_index: u32,
    /// Host calls left in this call.
    pub(super) calls_left: u32,
    calls_max: u32,
    /// Until when a blocking wait of the guest may last.
    pub(super) deadline: Instant,
    /// Sums that `take` may move; none outside of `on-tick`.
    pub(super) sums: Option<Sums>,
    /// Where state is read from; none where it is not granted.
    pub(super) state_source: Option<Box<dyn StateSource>>,
}

/// The settled sums that a tick may take.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) left: Vec<(String, i64)>,
    pub(super) taken: Vec<(String, i64)>,
}

impl HostState {
    pub(super) fn new(plugin: &LoadedPlugin) -> Self {
        let log = PluginLog::new(&plugin.name);
        let wasi = WasiCtx::builder()
            .stdout(log.clone())
            .stderr(log.clone())
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(RANDOM_BYTES_MAX)
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        Self {
            wasi,
            table,
            limits: InstanceLimits::new(plugin.limits.memory_bytes),
            log,
            settings: Arc::clone(&plugin.settings),
            effects: Effects::default(),
            earlier_state: Vec::new(),
            event_index: 0,
            calls_left: 0,
            calls_max: 0,
            deadline: Instant::now(),
            sums: None,
            state_source: None,
        }
    }

    /// Readies the state for a call.
    pub(super) fn begin_call(&mut self, deadline: Instant, calls_max: u32) {
        self.effects.clear();
        self.event_index = 0;
        (self.calls_left, self.calls_max) = (calls_max, calls_max);
        self.deadline = deadline;
    }

    /// Counts one host call.
    ///
    /// # Errors
    /// The call made more than it may.
    pub(super) fn count_call(&mut self) -> wasmtime::Result<()> {
        match self.calls_left.checked_sub(1) {
            Some(left) => {
                self.calls_left = left;
                Ok(())
            }
            None => Err(Violation::error(
                FaultKind::Fuel,
                "host-calls",
                format!(
                    "more than {} calls of host functions (limits.host_calls)",
                    self.calls_max
                ),
            )),
        }
    }

    /// What the running event reads: what its key wrote in this call, or else what has settled.
    ///
    /// # Errors
    /// The store cannot be read, which is the host's fault.
    pub(super) fn read_state(&self, name: &str) -> wasmtime::Result<Option<Vec<u8>>> {
        let Some(source) = self.state_source.as_ref() else {
            return Ok(None);
        };
        let key = source.key(self.event_index, name);
        let mut written = self
            .effects
            .state
            .iter()
            .rev()
            .chain(self.earlier_state.iter().rev());
        match written.find(|write| write.key == key) {
            Some(write) => Ok(write.value.clone()),
            None => source
                .get(&key)
                .map_err(|message| Violation::error(FaultKind::Host, "state", message)),
        }
    }

    /// Adds a change of state to the effects.
    pub(super) fn write_state(
        &mut self,
        name: &str,
        value: Option<Vec<u8>>,
        expires_ms: Option<u64>,
    ) {
        let Some(source) = self.state_source.as_ref() else {
            return;
        };
        let key = source.key(self.event_index, name);
        self.effects.state.push(StateWrite {
            event_index: self.event_index,
            key,
            value,
            expires_ms,
        });
    }
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}
