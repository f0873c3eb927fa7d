//! Making an instance: its store, its limits, and its `init`.

use std::sync::Arc;

use wasmtime::Store;

use super::around::{arm_other, caught};
use super::{Instance, fault_of};
use crate::sandbox::fault::{Fault, FaultKind, shown};
use crate::sandbox::host_state::{Answers, HostState, WallClock};
use crate::sandbox::load::LoadedPlugin;
use crate::sandbox::load_error::LoadError;
use crate::sandbox::tape::Tape;
use crate::sandbox::transcript::Transcript;

impl Instance {
    /// Makes an instance and runs its `init`, where it has one.
    ///
    /// # Errors
    /// The instance does not fit its limits, its start traps, or its `init` refuses.
    pub fn new(plugin: &Arc<LoadedPlugin>) -> Result<Self, LoadError> {
        Self::with(plugin, Answers::default())
    }

    /// Makes an instance whose calls can tell what the host answered: [`Self::transcript`].
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn recording(plugin: &Arc<LoadedPlugin>) -> Result<Self, LoadError> {
        Self::with(plugin, of_tape(Tape::recording()))
    }

    /// Makes an instance for one call that is told what this transcript says, and asks nothing else.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn replaying(
        plugin: &Arc<LoadedPlugin>,
        transcript: &Transcript,
    ) -> Result<Self, LoadError> {
        // `init` has its own questions, which the transcript of a call does not answer.
        let tape = Tape::replaying(transcript);
        let made = Self::with(plugin, of_tape(tape.clone()))?;
        tape.play();
        Ok(made)
    }

    /// Makes an instance that reads this clock, where there is one, instead of the machine's.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_clock(
        plugin: &Arc<LoadedPlugin>,
        clock: Option<Arc<dyn WallClock>>,
    ) -> Result<Self, LoadError> {
        Self::with(
            plugin,
            Answers {
                clock,
                ..Answers::default()
            },
        )
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
        let answers = Answers {
            clock: Some(clock),
            random_seed: Some(random_seed),
            ..Answers::default()
        };
        Self::with(plugin, answers)
    }

    fn with(plugin: &Arc<LoadedPlugin>, answers: Answers) -> Result<Self, LoadError> {
        let made = caught(|| Self::make(plugin, answers)).and_then(|made| made);
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

    fn make(plugin: &Arc<LoadedPlugin>, answers: Answers) -> Result<Self, Fault> {
        let mut store = Store::new(plugin.pre.engine(), HostState::new(plugin, answers));
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

fn of_tape(tape: Tape) -> Answers {
    Answers {
        tape: Some(tape),
        ..Answers::default()
    }
}
