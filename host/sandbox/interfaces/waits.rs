//! `wasi:io/poll` with waits that end at the call's deadline, because an epoch never wakes a blocked host
//! call. Everything else that could block is denied.

use std::time::Instant;

use tokio::runtime::{Builder, Runtime};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::io::poll::{Host as _, HostPollable as _};

use super::super::fault::{FaultKind, Violation, WAITING_DEADLINE};
use super::super::host_state::HostState;

/// The version that this wasmtime links; a guest's older 0.2 finds it by its compatible track.
const POLL: &str = "wasi:io/poll@0.2.12";

thread_local! {
    /// Timers for the waits of this lane's guests; made at the first wait, which few plugins ever do.
    static TIMERS: Option<Runtime> = Builder::new_current_thread().enable_time().build().ok();
}

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut poll = linker.instance(POLL)?;
    poll.func_wrap(
        "poll",
        |mut store: StoreContextMut<'_, HostState>, (list,): (Vec<Resource<DynPollable>>,)| {
            store.data_mut().count_call()?;
            let deadline = store.data().deadline;
            let ready = until(deadline, store.data_mut().ctx().table.poll(list))??;
            Ok((ready,))
        },
    )?;
    poll.func_wrap(
        "[method]pollable.block",
        |mut store: StoreContextMut<'_, HostState>, (pollable,): (Resource<DynPollable>,)| {
            store.data_mut().count_call()?;
            let deadline = store.data().deadline;
            until(deadline, store.data_mut().ctx().table.block(pollable))??;
            Ok(())
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn until<T>(deadline: Instant, wait: impl Future<Output = T>) -> wasmtime::Result<T> {
    let violation = |message: &str| {
        Violation::of_limit(FaultKind::Deadline, WAITING_DEADLINE, "deadline", message)
    };
    TIMERS.with(|timers| {
        let timers = timers.as_ref().ok_or_else(|| {
            Violation::error(FaultKind::Host, "timer", "the host has no timer left")
        })?;
        timers
            .block_on(async { tokio::time::timeout_at(deadline.into(), wait).await })
            .map_err(|_elapsed| violation("waited past the deadline of the call"))
    })
}
