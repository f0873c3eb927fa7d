//! `wasi:io` with waits that end at the call's deadline, because an epoch never wakes a blocked host call.
//! Pollables and the streams of HTTP bodies wait; everything else that could block is denied.

use std::time::Instant;

use tokio::runtime::{Builder, Runtime};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::p2::bindings::io::poll::{Host as _, HostPollable as _};
use wasmtime_wasi::p2::bindings::io::streams::{
    Host as _, HostInputStream as _, HostOutputStream as _, StreamError,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, StreamResult};

use super::super::fault::{FaultKind, Violation, WAITING_DEADLINE};
use super::super::host_state::HostState;

/// The versions that this wasmtime links; a guest's older 0.2 finds them by their compatible track.
const POLL: &str = "wasi:io/poll@0.2.12";
const STREAMS: &str = "wasi:io/streams@0.2.12";

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
    link_reading(linker)?;
    link_writing(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

type Store<'a> = StoreContextMut<'a, HostState>;
type In = Resource<DynInputStream>;
type Out = Resource<DynOutputStream>;

fn link_reading(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut streams = linker.instance(STREAMS)?;
    streams.func_wrap(
        "[method]input-stream.blocking-read",
        |mut store: Store<'_>, (stream, len): (In, u64)| {
            let deadline = store.data().deadline;
            let table = store.data_mut().ctx().table;
            let done = until(deadline, table.blocking_read(stream, len))?;
            answer(&mut store, done)
        },
    )?;
    streams.func_wrap(
        "[method]input-stream.blocking-skip",
        |mut store: Store<'_>, (stream, len): (In, u64)| {
            let deadline = store.data().deadline;
            let table = store.data_mut().ctx().table;
            let done = until(deadline, table.blocking_skip(stream, len))?;
            answer(&mut store, done)
        },
    )
}

fn link_writing(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut streams = linker.instance(STREAMS)?;
    streams.func_wrap(
        "[method]output-stream.blocking-write-and-flush",
        |mut store: Store<'_>, (stream, bytes): (Out, Vec<u8>)| {
            let deadline = store.data().deadline;
            let table = store.data_mut().ctx().table;
            let done = until(deadline, table.blocking_write_and_flush(stream, bytes))?;
            answer(&mut store, done)
        },
    )?;
    streams.func_wrap(
        "[method]output-stream.blocking-write-zeroes-and-flush",
        |mut store: Store<'_>, (stream, len): (Out, u64)| {
            let deadline = store.data().deadline;
            let table = store.data_mut().ctx().table;
            let done = until(deadline, table.blocking_write_zeroes_and_flush(stream, len))?;
            answer(&mut store, done)
        },
    )?;
    streams.func_wrap(
        "[method]output-stream.blocking-flush",
        |mut store: Store<'_>, (stream,): (Out,)| {
            let deadline = store.data().deadline;
            let table = store.data_mut().ctx().table;
            let done = until(deadline, table.blocking_flush(stream))?;
            answer(&mut store, done)
        },
    )?;
    streams.func_wrap(
        "[method]output-stream.blocking-splice",
        |mut store: Store<'_>, (to, from, len): (Out, In, u64)| {
            let deadline = store.data().deadline;
            let table = store.data_mut().ctx().table;
            let done = until(deadline, table.blocking_splice(to, from, len))?;
            answer(&mut store, done)
        },
    )
}

/// What a stream did, as the guest reads it.
fn answer<T>(
    store: &mut Store<'_>,
    done: StreamResult<T>,
) -> wasmtime::Result<(Result<T, StreamError>,)> {
    match done {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => {
            let table = store.data_mut().ctx().table;
            Ok((Err(table.convert_stream_error(error)?),))
        }
    }
}

fn until<T>(deadline: Instant, wait: impl Future<Output = T>) -> wasmtime::Result<T> {
    let violation = |message: &str| {
        Violation::of_limit(FaultKind::Deadline, WAITING_DEADLINE, "deadline", message)
    };
    TIMERS.with(|timers| {
        let timers = timers.as_ref().ok_or_else(|| {
            Violation::error(FaultKind::Host, "timer", "the host has no timer left")
        })?;
        let waited =
            timers.block_on(async { tokio::time::timeout_at(deadline.into(), wait).await });
        match waited {
            // On a busy machine both may be over by the time that this thread runs again.
            Ok(done) if Instant::now() < deadline => Ok(done),
            _ => Err(violation("waited past the deadline of the call")),
        }
    })
}
