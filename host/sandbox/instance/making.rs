//! Making an instance: its store, its limits, and its `init`.

use std::sync::Arc;

use wasmtime::Store;

use super::around::{arm_other, caught};
use super::{Instance, fault_of};
use crate::sandbox::fault::{Fault, FaultKind, shown};
use crate::sandbox::host_state::{HostState, WallClock};
use crate::sandbox::load::LoadedPlugin;
use crate::sandbox::load_error::LoadError;

impl Instance {
    /// Makes an instance and runs its `init`, where it has one.
    ///
    /// # Errors
    /// The instance does not fit its limits, its start traps, or its `init` refuses.
    pub fn new(plugin: &Arc<LoadedPlugin>) -> Result<Self, LoadError> {
        Self::with_clock(plugin, None)
    }

    /// Makes an instance that reads this clock, where there is one, instead of the machine's.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_clock(
        plugin: &Arc<LoadedPlugin>,
        clock: Option<Arc<dyn WallClock>>,
    ) -> Result<Self, LoadError> {
        Self::ready(plugin, clock, None)
    }

    /// Makes an instance whose wall clock and random numbers are the same each time.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn repeatable(
        plugin: &Arc<LoadedPlugin>,
        clock: Arc<dyn WallClock>,
        random_seed: u64,
    ) -> Result<Self, LoadError> {
        Self::ready(plugin, Some(clock), Some(random_seed))
    }

    fn ready(
        plugin: &Arc<LoadedPlugin>,
        clock: Option<Arc<dyn WallClock>>,
        random_seed: Option<u64>,
    ) -> Result<Self, LoadError> {
        let made = caught(|| Self::make(plugin, clock, random_seed)).and_then(|made| made);
        let mut made = made.map_err(|fault| {
            let fault = fault.of_plugin(&plugin.name);
            LoadError::Init {
                plugin: plugin.name.clone(),
                message: fault.message,
                limit: fault.limit,
            }
        })?;
        made.check_types()?;
        Ok(made)
    }

    fn make(
        plugin: &Arc<LoadedPlugin>,
        clock: Option<Arc<dyn WallClock>>,
        random_seed: Option<u64>,
    ) -> Result<Self, Fault> {
        let state = HostState::new(plugin, clock, random_seed);
        let mut store = Store::new(plugin.pre.engine(), state);
        store.limiter(|state| &mut state.limits);
        // Handles of the component's own resources lie in the host's memory too.
        store.set_max_component_handles(plugin.limits.resources);
        let made = arm_other(&mut store, plugin)
            .and_then(|()| plugin.pre.instantiate(&mut store))
            .map_err(|error| fault_of(&error, plugin, store.data()));
        let mut made = Self {
            plugin: Arc::clone(plugin),
            instance: made?,
            store,
            events: 0,
            memory_bytes_at_first: 0,
        };
        if let Some(export) = made.plugin.init {
            let answer = made
                .instance
                .get_func(&mut made.store, export)
                .ok_or_else(|| wasmtime::Error::msg("init is not a function"))
                .and_then(|init| init.typed::<(), (Result<(), String>,)>(&made.store))
                .and_then(|init| init.call(&mut made.store, ()));
            let (answer,) = answer.map_err(|error| made.fault(&error))?;
            answer.map_err(|message| Fault::new(FaultKind::Host, "init", shown(&message)))?;
        }
        made.memory_bytes_at_first = made.store.data().limits.memory_bytes();
        Ok(made)
    }
}
