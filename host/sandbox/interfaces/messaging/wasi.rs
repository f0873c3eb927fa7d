//! `wasi:messaging@0.2.0-draft`: messages and clients as resources, and `producer`. `request-reply` is not there:
//! a topic of Kafka does not answer.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource, ResourceType};

use super::super::super::host_state::HostState;
use super::super::super::packed::Header;
use super::{Arrived, CONTENT_TYPE, ENTRY_OVERHEAD_BYTES, header};

const TYPES: &str = "wasi:messaging/types@0.2.0-draft";
const PRODUCER: &str = "wasi:messaging/producer@0.2.0-draft";

type Metadata = Vec<(String, String)>;
type Store<'a> = StoreContextMut<'a, HostState>;
type Handle = Resource<Message>;

/// The interface's error. The host itself answers `other` only.
#[derive(Debug, ComponentType, Lift, Lower)]
#[component(variant)]
pub(in crate::sandbox) enum Error {
    #[component(name = "timeout")]
    Timeout,
    #[component(name = "connection")]
    Connection(String),
    #[component(name = "permission-denied")]
    PermissionDenied(String),
    #[component(name = "other")]
    Other(String),
}

/// The resource `message`.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Message {
    topic: Option<String>,
    content_type: Option<String>,
    data: Vec<u8>,
    metadata: Metadata,
}

/// The resource `client`. There is one connection, the host's, whatever name is asked for.
struct Client;

impl Message {
    /// An event as the handler gets it.
    pub(in crate::sandbox) fn of(event: &Arrived<'_>) -> Self {
        let metadata = event
            .texts()
            .filter(|(name, _)| !name.eq_ignore_ascii_case(CONTENT_TYPE))
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            topic: Some(event.topic.to_owned()),
            content_type: event.text(CONTENT_TYPE),
            data: event.data(),
            metadata: metadata.collect(),
        }
    }

    /// What it takes in the host's memory.
    fn bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let entries = self.metadata.iter();
        let entries = entries.map(|(name, value)| name.len() + value.len() + ENTRY_OVERHEAD_BYTES);
        text(&self.topic) + text(&self.content_type) + self.data.len() + entries.sum::<usize>()
    }

    fn headers(self) -> Vec<Header> {
        let kind = self.content_type.map(|kind| header(CONTENT_TYPE, kind));
        let has_kind = kind.is_some();
        let entries = self.metadata.into_iter();
        let entries =
            entries.filter(|(name, _)| !(has_kind && name.eq_ignore_ascii_case(CONTENT_TYPE)));
        kind.into_iter()
            .chain(entries.map(|(name, value)| header(&name, value)))
            .collect()
    }
}

impl HostState {
    /// Gives the guest a message.
    ///
    /// # Errors
    /// It holds more than it may.
    pub(in crate::sandbox) fn hand_over(&mut self, message: Message) -> wasmtime::Result<Handle> {
        self.messaging.keep(message.bytes())?;
        let handle = self.table().push(message)?;
        self.messaging.held += 1;
        Ok(handle)
    }

    fn take_back(&mut self, handle: Handle) -> wasmtime::Result<Message> {
        let message = self.table().delete(handle)?;
        self.messaging.held -= 1;
        self.messaging.held_bytes -= message.bytes();
        Ok(message)
    }

    fn change(
        &mut self,
        handle: &Handle,
        change: impl FnOnce(&mut Message),
    ) -> wasmtime::Result<()> {
        self.count_call()?;
        let message = self.table().get_mut(handle)?;
        let before = message.bytes();
        change(message);
        let after = message.bytes();
        self.messaging.held_bytes -= before;
        self.messaging.keep(after)
    }

    fn read<T>(
        &mut self,
        handle: &Handle,
        read: impl FnOnce(&Message) -> T,
    ) -> wasmtime::Result<(T,)> {
        self.count_call()?;
        Ok((read(self.table().get(handle)?),))
    }
}

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    link_client(linker)?;
    link_message(linker)?;
    link_changes(linker)?;
    linker.instance(PRODUCER)?.func_wrap(
        "send",
        |mut store: Store<'_>, (_client, topic, message): (Resource<Client>, String, Handle)| {
            let state = store.data_mut();
            state.count_call()?;
            let mut message = state.take_back(message)?;
            let data = std::mem::take(&mut message.data);
            let sent = super::send(state, topic, data, message.headers())?;
            Ok((sent.map_err(|why| Error::Other(why.to_owned())),))
        },
    )
}

fn link_client(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut types = linker.instance(TYPES)?;
    types.resource(
        "client",
        ResourceType::host::<Client>(),
        |mut store, handle| {
            let state = store.data_mut();
            state.table().delete(Resource::<Client>::new_own(handle))?;
            state.messaging.held -= 1;
            Ok(())
        },
    )?;
    types.func_wrap(
        "[static]client.connect",
        |mut store: Store<'_>, (_name,): (String,)| {
            let state = store.data_mut();
            state.count_call()?;
            let client = state.table().push(Client)?;
            state.messaging.held += 1;
            Ok((Ok::<_, Error>(client),))
        },
    )?;
    types.func_wrap(
        "[method]client.disconnect",
        |mut store: Store<'_>, (_client,): (Resource<Client>,)| {
            store.data_mut().count_call()?;
            Ok((Ok::<(), Error>(()),))
        },
    )
}

fn link_message(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut types = linker.instance(TYPES)?;
    types.resource(
        "message",
        ResourceType::host::<Message>(),
        |mut store, handle| {
            let handle = Handle::new_own(handle);
            store.data_mut().take_back(handle).map(drop)
        },
    )?;
    types.func_wrap(
        "[constructor]message",
        |mut store: Store<'_>, (data,): (Vec<u8>,)| {
            let state = store.data_mut();
            state.count_call()?;
            let message = Message {
                data,
                ..Message::default()
            };
            Ok((state.hand_over(message)?,))
        },
    )?;
    types.func_wrap(
        "[method]message.topic",
        |mut store: Store<'_>, (message,): (Handle,)| {
            store.data_mut().read(&message, |it| it.topic.clone())
        },
    )?;
    types.func_wrap(
        "[method]message.content-type",
        |mut store: Store<'_>, (message,): (Handle,)| {
            let state = store.data_mut();
            state.read(&message, |it| it.content_type.clone())
        },
    )?;
    types.func_wrap(
        "[method]message.data",
        |mut store: Store<'_>, (message,): (Handle,)| {
            store.data_mut().read(&message, |it| it.data.clone())
        },
    )?;
    types.func_wrap(
        "[method]message.metadata",
        |mut store: Store<'_>, (message,): (Handle,)| {
            store.data_mut().read(&message, |it| {
                (!it.metadata.is_empty()).then(|| it.metadata.clone())
            })
        },
    )
}

fn link_changes(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut types = linker.instance(TYPES)?;
    types.func_wrap(
        "[method]message.set-content-type",
        |mut store: Store<'_>, (message, kind): (Handle, String)| {
            let state = store.data_mut();
            state.change(&message, |it| it.content_type = Some(kind))
        },
    )?;
    types.func_wrap(
        "[method]message.set-data",
        |mut store: Store<'_>, (message, data): (Handle, Vec<u8>)| {
            store.data_mut().change(&message, |it| it.data = data)
        },
    )?;
    types.func_wrap(
        "[method]message.set-metadata",
        |mut store: Store<'_>, (message, metadata): (Handle, Metadata)| {
            let state = store.data_mut();
            state.change(&message, |it| it.metadata = metadata)
        },
    )?;
    types.func_wrap(
        "[method]message.add-metadata",
        |mut store: Store<'_>, (message, name, value): (Handle, String, String)| {
            // The interface says that it replaces what is there under the name.
            store.data_mut().change(&message, |it| {
                it.metadata.retain(|(other, _)| *other != name);
                it.metadata.push((name, value));
            })
        },
    )?;
    types.func_wrap(
        "[method]message.remove-metadata",
        |mut store: Store<'_>, (message, name): (Handle, String)| {
            let state = store.data_mut();
            state.change(&message, |it| {
                it.metadata.retain(|(other, _)| *other != name);
            })
        },
    )
}
