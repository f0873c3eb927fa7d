//! `wasmcloud:messaging@0.2.0`: messages as records, and `consumer`.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower};

use super::super::super::host_state::HostState;
use super::{Arrived, REPLY_TO, header};

const CONSUMER: &str = "wasmcloud:messaging/consumer@0.2.0";

/// What `request` answers. The function stands in the same interface as `publish`, so it cannot be left out.
const NO_REQUESTS: &str =
    "this host does not wait for answers: a topic of Kafka does not answer; use `publish`";

/// The interface's `broker-message`.
#[derive(Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(in crate::sandbox) struct BrokerMessage {
    subject: String,
    body: Vec<u8>,
    #[component(name = "reply-to")]
    reply_to: Option<String>,
}

impl BrokerMessage {
    /// An event as the handler gets it. Where to reply stands in a header; the others cannot be shown.
    pub(in crate::sandbox) fn of(event: &Arrived<'_>) -> Self {
        Self {
            subject: event.topic.to_owned(),
            body: event.data(),
            reply_to: event.text(REPLY_TO),
        }
    }
}

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    type Store<'a> = StoreContextMut<'a, HostState>;
    let mut consumer = linker.instance(CONSUMER)?;
    consumer.func_wrap(
        "publish",
        |mut store: Store<'_>, (message,): (BrokerMessage,)| {
            let state = store.data_mut();
            state.count_call()?;
            let reply_to = message.reply_to.map(|topic| header(REPLY_TO, topic));
            let headers = reply_to.into_iter().collect();
            let sent = super::send(state, message.subject, message.body, headers)?;
            Ok((sent.map_err(str::to_owned),))
        },
    )?;
    consumer.func_wrap(
        "request",
        |mut store: Store<'_>, (_subject, _body, _timeout_ms): (String, Vec<u8>, u32)| {
            store.data_mut().count_call()?;
            Ok((Err::<BrokerMessage, _>(NO_REQUESTS.to_owned()),))
        },
    )
}
