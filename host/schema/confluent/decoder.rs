//! What a route uses to show records that were written through the registry.

use std::sync::Arc;

use super::board::Found;
use super::{SchemaRegistry, lately, wire};
use crate::config::SchemaFormat;
use crate::schema::{Decoded, Decoder, Event, Flaw, View};

/// Shows values as JSON, by the schemas that they were written by.
#[derive(Debug)]
pub(crate) struct RegisteredDecoder {
    registry: Arc<SchemaRegistry>,
    /// The only format that is taken; none takes each as it is registered.
    format: Option<SchemaFormat>,
}

impl RegisteredDecoder {
    pub(crate) fn new(registry: Arc<SchemaRegistry>, format: Option<SchemaFormat>) -> Self {
        Self { registry, format }
    }

    fn value(&self, value: &[u8]) -> Result<Vec<u8>, Decoded> {
        let (id, data) = wire::split(value).map_err(Decoded::Invalid)?;
        let shared = &self.registry.shared;
        let codec = lately::codec(shared.serial, id, || {
            let now = shared.now();
            let (found, news) = shared.board().look_up(id, now);
            if news {
                shared.wake.notify_one();
            }
            match found {
                Found::Here(codec) => Ok(codec),
                Found::NotNow { after_ms } => Err(Decoded::NotNow { after_ms }),
                Found::Unusable(why) => {
                    let message = format!("schema {id} cannot be used: {why}");
                    Err(Decoded::Invalid(Flaw::undecodable("schema", message)))
                }
            }
        })?;
        if let Some(wanted) = self.format.filter(|wanted| *wanted != codec.format()) {
            let found = codec.format();
            let message = format!(
                "it was written by schema {id}, which is {found}, and its route reads {wanted}"
            );
            return Err(Decoded::Invalid(Flaw::undecodable("format", message)));
        }
        codec.decode(id, data).map_err(Decoded::Invalid)
    }
}

impl Decoder for RegisteredDecoder {
    fn decode(&self, event: &Event<'_>) -> Decoded {
        let Some(value) = event.value else {
            return Decoded::AsIs;
        };
        match self.value(value) {
            Ok(value) => Decoded::View(View {
                value: Some(value),
                headers: Vec::new(),
            }),
            Err(other) => other,
        }
    }
}
