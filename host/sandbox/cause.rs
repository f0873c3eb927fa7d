//! Tells from an error of wasmtime, and from the limits, what ended a call.
//!
//! It must not know how calls are made.

use wasmtime::component::ResourceTableError;
use wasmtime::{Store, Trap};

use super::fault::{Fault, FaultKind, Violation, frames};
use super::host_state::{HostState, RESOURCES_MAX};
use super::load::LoadedPlugin;

/// Tells from an error of wasmtime, and from the limits, why a call ended.
pub(super) fn of_call(
    store: &Store<HostState>,
    plugin: &LoadedPlugin,
    error: &wasmtime::Error,
) -> Fault {
    if let Some(Violation(fault)) = error.downcast_ref::<Violation>() {
        return fault.clone();
    }
    let limits = &plugin.limits;
    if matches!(error.downcast_ref::<Trap>(), Some(Trap::Interrupt)) {
        let message = format!(
            "ran past the deadline of {} ms (limits.deadline)",
            limits.deadline.as_millis()
        );
        return Fault::new(FaultKind::Deadline, "deadline", message);
    }
    if store.data().limits.memory_refused && error.downcast_ref::<Trap>().is_some() {
        return memory_fault(plugin);
    }
    let text = format!("{:#}", error.root_cause());
    let table_is_full = matches!(
        error.downcast_ref::<ResourceTableError>(),
        Some(ResourceTableError::Full)
    );
    if table_is_full || text.contains("handle limit exceeded") {
        let message = format!(
            "holds more than {RESOURCES_MAX} handles of the host's resources at once; drop them"
        );
        return Fault::new(FaultKind::Fuel, "handles", message);
    }
    if text.contains("fuel") {
        let message = format!(
            "passed too many bytes to or from the host (limits.event_hostcall, \
             limits.batch_hostcall): {text}"
        );
        return Fault::new(FaultKind::Fuel, "hostcall-fuel", message);
    }
    let code = error
        .downcast_ref::<Trap>()
        .map_or_else(|| "trap".to_owned(), |t| format!("{t:?}"));
    let mut fault = Fault::new(FaultKind::Trap, &code, text);
    fault.frames = frames(error);
    fault
}

/// The same for an instance that could not be made: there a refused memory is no trap.
pub(super) fn of_start(
    store: &Store<HostState>,
    plugin: &LoadedPlugin,
    error: &wasmtime::Error,
) -> Fault {
    if store.data().limits.memory_refused {
        return memory_fault(plugin);
    }
    of_call(store, plugin, error)
}

fn memory_fault(plugin: &LoadedPlugin) -> Fault {
    let message = format!(
        "needs more memory than {} bytes (limits.memory)",
        plugin.limits.memory_bytes
    );
    Fault::new(FaultKind::Memory, "memory", message)
}
