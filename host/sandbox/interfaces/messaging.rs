//! Components that were written for other hosts: what `wasi:messaging` and `wasmcloud:messaging` mean here. A
//! message that they send is an output of the event that they handle, buffered and granted like any other.

mod wasi;
mod wasmcloud;

use wasmtime::component::Linker;

pub(in crate::sandbox) use self::wasi::{Error as WasiError, Message};
pub(in crate::sandbox) use self::wasmcloud::BrokerMessage;
use super::super::fault::{FaultKind, Violation};
use super::super::host_state::HostState;
use super::super::packed::{Header, Output};
use crate::config::Limits;

/// The header that `content-type` of a message is; CloudEvents name it so too.
const CONTENT_TYPE: &str = "content-type";

/// The header that `reply-to` of a wasmCloud message is.
const REPLY_TO: &str = "reply-to";

/// An entry of a list of two texts, besides the texts, in bytes.
const ENTRY_OVERHEAD_BYTES: usize = 64;

/// Says whether a component needs this module to be linked.
pub(in crate::sandbox) fn is_messaging(import: &str) -> bool {
    import.starts_with("wasi:messaging/") || import.starts_with("wasmcloud:messaging/")
}

pub(in crate::sandbox) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    wasi::link(linker)?;
    wasmcloud::link(linker)
}

/// An event as these interfaces can show it: they know neither partition, offset, time nor attempt.
pub(in crate::sandbox) struct Arrived<'a> {
    pub(in crate::sandbox) topic: &'a str,
    pub(in crate::sandbox) key: Option<&'a [u8]>,
    pub(in crate::sandbox) value: Option<&'a [u8]>,
    pub(in crate::sandbox) headers: &'a [Header],
}

impl Arrived<'_> {
    /// The headers that are text. One that is not is left out: a text that nobody wrote would be worse. A null
    /// value is an empty text.
    fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().filter_map(|(name, value)| {
            let name = std::str::from_utf8(name).ok()?;
            let value = std::str::from_utf8(value.as_deref().unwrap_or_default()).ok()?;
            Some((name, value))
        })
    }

    /// The first header of a name, whose case does not matter.
    fn text(&self, wanted: &str) -> Option<String> {
        let mut texts = self.texts();
        let found = texts.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.to_owned())
    }

    /// These interfaces have no tombstones; one is a message without data.
    fn data(&self) -> Vec<u8> {
        self.value.unwrap_or_default().to_vec()
    }
}

/// What the host keeps for such a component.
pub(in crate::sandbox) struct Messaging {
    /// The event that is being handled; none outside of one.
    running: Option<Running>,
    /// Resources that the guest holds. A message lies in the host's memory as long as the guest holds it, past
    /// the event too.
    held: usize,
    held_max: usize,
    held_bytes: usize,
    held_bytes_max: usize,
}

struct Running {
    key: Option<Vec<u8>>,
    sent: Vec<Output>,
}

impl Messaging {
    pub(in crate::sandbox) fn new(limits: &Limits) -> Self {
        Self {
            running: None,
            held: 0,
            held_max: limits.resources,
            held_bytes: 0,
            held_bytes_max: limits.event_hostcall_bytes,
        }
    }

    /// Readies it for an event.
    pub(in crate::sandbox) fn begin_event(&mut self, key: Option<&[u8]>) {
        self.running = Some(Running {
            key: key.map(<[u8]>::to_vec),
            sent: Vec::new(),
        });
    }

    /// What the event sent, in its order.
    pub(in crate::sandbox) fn end_event(&mut self) -> Vec<Output> {
        self.running
            .take()
            .map(|event| event.sent)
            .unwrap_or_default()
    }

    /// Whether so much is held that an instance which forgets to give back is better made anew before it meets
    /// its limits: a quarter of either, because a batch calls many times before anybody looks.
    pub(in crate::sandbox) fn forgets(&self) -> bool {
        self.held > self.held_max / 4 || self.held_bytes > self.held_bytes_max / 4
    }

    /// Counts what the host keeps for the guest.
    fn keep(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.held_bytes += bytes;
        if self.held_bytes <= self.held_bytes_max {
            return Ok(());
        }
        let message = format!("holds messages of more than {} bytes", self.held_bytes_max);
        Err(Violation::of_limit(
            FaultKind::Fuel,
            "message-bytes",
            "event_hostcall",
            message,
        ))
    }
}

/// Why nothing can be sent in `init` and `on-tick`: an output belongs to an event.
const NO_EVENT: &str = "a message can be sent while an event is handled, and none is";

/// Buffers an output of the running event. Neither interface has a key, so it has that of the event: what was in
/// order stays in order. Whether its topic is granted is checked with all outputs of the event.
fn send(
    state: &mut HostState,
    topic: String,
    data: Vec<u8>,
    headers: Vec<Header>,
) -> wasmtime::Result<Result<(), &'static str>> {
    let Some(running) = &state.messaging.running else {
        return Ok(Err(NO_EVENT));
    };
    let key = running.key.clone();
    let bytes = |(name, value): &Header| {
        ENTRY_OVERHEAD_BYTES + name.len() + value.as_ref().map_or(0, Vec::len)
    };
    let headers_bytes: usize = headers.iter().map(bytes).sum();
    let key_bytes = key.as_ref().map_or(0, Vec::len);
    state.count_effect(topic.len() + key_bytes + data.len() + headers_bytes)?;
    let output = Output {
        topic,
        key,
        value: Some(data),
        headers,
        ..Output::default()
    };
    if let Some(running) = &mut state.messaging.running {
        running.sent.push(output);
    }
    Ok(Ok(()))
}

fn header(name: &str, value: String) -> Header {
    (name.as_bytes().to_vec(), Some(value.into_bytes()))
}
