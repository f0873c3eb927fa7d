//! Data of one registered schema, whatever its format.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::client::Registered;
use crate::config::SchemaFormat;
use crate::schema::avro::AvroCodec;
use crate::schema::decode::VIEW_BYTES_MAX;
use crate::schema::flaw::Flaw;
use crate::schema::json::JsonCodec;
use crate::schema::protobuf::{ProtobufCodec, ProtobufMessage};
use crate::schema::unfit::Unfit;

/// A schema that is ready for use.
#[derive(Debug)]
pub(super) enum Codec {
    Avro(AvroCodec),
    Protobuf(ProtobufCodec),
    Json(JsonCodec),
}

impl Codec {
    /// # Errors
    /// The schema cannot be used by this host.
    pub(super) fn new(registered: &Registered) -> Result<Self, String> {
        let compiled = catch_unwind(AssertUnwindSafe(|| Self::new_or_panic(registered)));
        compiled
            .unwrap_or_else(|_| Err("the compiler of schemas failed; please report it".to_owned()))
    }

    fn new_or_panic(registered: &Registered) -> Result<Self, String> {
        let schema = &registered.schema;
        let references = registered.references.iter();
        let references = references.map(|(name, text)| (name.as_str(), text.as_str()));
        match registered.format {
            SchemaFormat::Avro => {
                AvroCodec::new(schema, references.map(|(_, text)| text)).map(Self::Avro)
            }
            SchemaFormat::Protobuf => ProtobufCodec::new(schema, references).map(Self::Protobuf),
            SchemaFormat::JsonSchema => JsonCodec::new(schema, references).map(Self::Json),
        }
    }

    pub(super) fn format(&self) -> SchemaFormat {
        match self {
            Self::Avro(_) => SchemaFormat::Avro,
            Self::Protobuf(_) => SchemaFormat::Protobuf,
            Self::Json(_) => SchemaFormat::JsonSchema,
        }
    }

    /// The JSON view of some data.
    pub(super) fn decode(&self, id: u32, data: &[u8]) -> Result<Vec<u8>, Flaw> {
        let decoded = catch_unwind(AssertUnwindSafe(|| self.decode_or_panic(data)));
        // A bug of a library costs the event that it meets, and not the lane.
        let decoded = decoded.unwrap_or_else(|_| {
            let message = "the decoder failed; please report this record and its schema";
            Err(Flaw::undecodable("panic", message.to_owned()))
        });
        decoded.map_err(|flaw| Flaw {
            message: format!("as {} of schema {id}: {}", self.format(), flaw.message),
            ..flaw
        })
    }

    fn decode_or_panic(&self, data: &[u8]) -> Result<Vec<u8>, Flaw> {
        let mut view = Vec::with_capacity(data.len() * 2);
        let decoded = match self {
            Self::Avro(codec) => codec.decode(data, VIEW_BYTES_MAX, &mut view),
            Self::Protobuf(codec) => codec.decode(data, VIEW_BYTES_MAX, &mut view),
            Self::Json(codec) => {
                codec.check(data)?;
                view.extend_from_slice(data);
                Ok(())
            }
        };
        let undecodable = |unfit: Unfit| Flaw::undecodable("data", unfit.to_string());
        decoded.map_err(undecodable).map(|()| view)
    }
}

/// A schema to write by, and which of its messages.
#[derive(Debug)]
pub(super) enum Writing {
    Avro,
    Protobuf(ProtobufMessage),
    Json,
}

impl Writing {
    /// # Errors
    /// The schema has no such message.
    pub(super) fn new(codec: &Codec, message: Option<&str>) -> Result<Self, String> {
        match codec {
            Codec::Avro(_) => Ok(Self::Avro),
            Codec::Protobuf(codec) => codec.message(message).map(Self::Protobuf),
            Codec::Json(_) => Ok(Self::Json),
        }
    }

    /// Appends the data that a JSON text comes to.
    pub(super) fn encode(
        &self,
        codec: &Codec,
        json: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Unfit> {
        let encoded = catch_unwind(AssertUnwindSafe(|| self.encode_or_panic(codec, json, out)));
        encoded.unwrap_or_else(|_| {
            let message = "the encoder failed; please report this output and its schema";
            Err(Unfit::new(message))
        })
    }

    /// The same, where a bug of a library is to be seen.
    pub(super) fn encode_or_panic(
        &self,
        codec: &Codec,
        json: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Unfit> {
        match (self, codec) {
            (Self::Protobuf(message), _) => message.encode(json, out),
            (_, Codec::Avro(codec)) => {
                let value = serde_json::from_slice(json);
                let value = value.map_err(|error| Unfit::new(format!("it is no JSON: {error}")))?;
                codec.encode(&value, out)
            }
            (_, Codec::Json(codec)) => {
                codec.fits(json)?;
                out.extend_from_slice(json);
                Ok(())
            }
            (_, Codec::Protobuf(_)) => Err(Unfit::new("no message of its schema was chosen")),
        }
    }
}
