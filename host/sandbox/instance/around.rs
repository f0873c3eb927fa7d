//! What every call into a guest has around it: its limits before, and a panic of the host held in after. It must
//! not know what is called.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use wasmtime::Store;

use crate::sandbox::engine::EPOCH_TICK;
use crate::sandbox::fault::{Fault, FaultKind, hostcall_limit};
use crate::sandbox::host_state::HostState;
use crate::sandbox::load::LoadedPlugin;

/// Sets every limit of the next call.
pub(super) fn arm(
    store: &mut Store<HostState>,
    plugin: &LoadedPlugin,
    events: usize,
) -> wasmtime::Result<()> {
    let limits = &plugin.limits;
    if let Some(fuel) = limits.fuel {
        store.set_fuel(fuel.saturating_mul(events.max(1) as u64))?;
    }
    // One tick more, because the current one may be nearly over.
    let ticks = limits.deadline.as_millis() / EPOCH_TICK.as_millis() + 1;
    store.set_epoch_deadline(ticks as u64);
    let events = events.max(1) as u32;
    let (_, bytes) = hostcall_limit(limits, events);
    store.set_hostcall_fuel(bytes);
    let calls = limits.host_calls.saturating_mul(events);
    store
        .data_mut()
        .begin_call(Instant::now() + limits.deadline, events, calls, bytes);
    Ok(())
}

/// `init` and `on-tick` are not of one event: they read settings, or go over all sums of a partition. They
/// get the fuel of as many events as the largest batch has.
const FUEL_EVENTS_OF_OTHER_CALLS: u64 = 512;

/// Gives a call that is not of events its fuel; every other limit is that of one event.
pub(super) fn arm_other(
    store: &mut Store<HostState>,
    plugin: &LoadedPlugin,
) -> wasmtime::Result<()> {
    arm(store, plugin, 1)?;
    match plugin.limits.fuel {
        Some(fuel) => store.set_fuel(fuel.saturating_mul(FUEL_EVENTS_OF_OTHER_CALLS)),
        None => Ok(()),
    }
}

/// Runs what enters the guest. A panic of the host's own code in there costs this instance and no more: it
/// ends the call like a trap, and the instance is spent as after any other fault.
pub(super) fn caught<T>(call: impl FnOnce() -> T) -> Result<T, Fault> {
    // Whatever the panic left half done is in the store, which is never used again.
    std::panic::catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        let message = format!("the host panicked in this call; please report this: {text}");
        Fault::new(FaultKind::Trap, "host-panic", message)
    })
}
