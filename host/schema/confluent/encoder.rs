//! What outputs are written by: for each topic that asks for it, the schema of its subject.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::codec::{Codec, Writing};
use super::{SchemaRegistry, wire};
use crate::config::{Encode, WantedSchema};
use crate::schema::unfit::Unfit;

/// Which schema outputs to a topic are written by.
#[derive(Debug)]
pub(super) struct Target(pub(super) Encode);

impl Target {
    /// Whether it can never become another schema.
    pub(super) fn is_pinned(&self) -> bool {
        !matches!(self.0.schema, WantedSchema::Latest(_))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.schema {
            WantedSchema::Latest(subject) | WantedSchema::Register { subject, .. } => {
                write!(f, "subject {subject}")
            }
            WantedSchema::Version(subject, version) => {
                write!(f, "version {version} of subject {subject}")
            }
            WantedSchema::Id(id) => write!(f, "schema {id}"),
        }
    }
}

/// A schema to write by.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(super) id: u32,
    codec: Arc<Codec>,
    writing: Writing,
}

impl Ready {
    /// # Errors
    /// The schema is not what the target asks for.
    pub(super) fn new(target: &Target, id: u32, codec: Arc<Codec>) -> Result<Self, String> {
        if let Some(wanted) = target.0.format.filter(|wanted| *wanted != codec.format()) {
            let found = codec.format();
            return Err(format!("schema {id} is {found}, and {wanted} is asked for"));
        }
        let writing = Writing::new(&codec, target.0.message.as_deref())?;
        Ok(Self { id, codec, writing })
    }

    /// A value as it stands in a record.
    ///
    /// # Errors
    /// The JSON text does not fit the schema.
    pub(crate) fn encode(&self, json: &[u8]) -> Result<Vec<u8>, Unfit> {
        let mut value = Vec::with_capacity(wire::HEAD_BYTES + json.len());
        value.extend_from_slice(&wire::head(self.id));
        self.writing.encode(&self.codec, json, &mut value)?;
        Ok(value)
    }
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "schema {} ({})", self.id, self.codec.format())
    }
}

/// The schema that outputs to one topic are written by.
#[derive(Debug, Clone)]
pub struct Encoder {
    registry: Arc<SchemaRegistry>,
    place: usize,
}

impl Encoder {
    /// Asks for the schema, from now on.
    pub(crate) fn new(registry: &Arc<SchemaRegistry>, encode: Encode) -> Self {
        let shared = &registry.shared;
        let now = shared.now();
        let place = shared.board().add_target(Arc::new(Target(encode)), now);
        shared.wake.notify_one();
        Self {
            registry: Arc::clone(registry),
            place,
        }
    }

    /// The schema as it is now.
    ///
    /// # Errors
    /// The registry has not told it. Says when to look again, in milliseconds.
    pub(crate) fn ready(&self) -> Result<Arc<Ready>, u64> {
        let shared = &self.registry.shared;
        let now = shared.now();
        let board = shared.board();
        board
            .ready(self.place)
            .ok_or_else(|| board.ready_after_ms(self.place, now))
    }
}

/// What outputs are written by, for each topic that asks for it.
pub type Encoders = BTreeMap<String, Encoder>;
