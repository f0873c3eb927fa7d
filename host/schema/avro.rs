//! Avro: data in its binary form, as a JSON view and back, by the schema that wrote them. It must not know where
//! schemas come from.
//!
//! The data are read here and not by the library that reads the schemas, because they are written by others: a length
//! is believed only as far as there are bytes, and nothing is built in between. The view is plain JSON: bytes and fixed
//! values in base64, decimals and dates as text, and a union that is more than "this or null" names its branch, as
//! Avro's own JSON does.

mod logical;
mod plan;
mod read;
mod write;

use std::fmt;

use apache_avro::Schema;

use self::plan::Plan;
use super::unfit::Unfit;

/// How deep records, arrays and maps may stand in each other. Parsers of JSON give up a little above this, the ones
/// in plugins too.
pub(super) const DEPTH_MAX: usize = 100;

/// Data of one schema.
pub(crate) struct AvroCodec {
    plan: Plan,
}

impl fmt::Debug for AvroCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AvroCodec").finish_non_exhaustive()
    }
}

impl AvroCodec {
    /// Reads a schema, and the texts of the schemas whose names it uses.
    ///
    /// # Errors
    /// It is no schema, or uses a name that is not among them.
    pub(crate) fn new<'a>(
        schema: &str,
        references: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, String> {
        let parsed = Schema::parse_str_with_list(schema, references);
        let (schema, references) = parsed.map_err(|error| error.to_string())?;
        Ok(Self {
            plan: Plan::new(&schema, &references)?,
        })
    }

    /// Appends the JSON view of one datum, of so many bytes at most.
    ///
    /// # Errors
    /// The bytes are not what the schema says, or their view is too large or too deep. What was appended then is
    /// to be dropped.
    pub(crate) fn decode(
        &self,
        datum: &[u8],
        view_bytes_max: usize,
        view: &mut Vec<u8>,
    ) -> Result<(), Unfit> {
        read::read(&self.plan, datum, view_bytes_max, view)
    }

    /// Appends a JSON text in the binary form.
    ///
    /// # Errors
    /// It does not fit the schema. What was appended then is to be dropped.
    pub(crate) fn encode(&self, value: &serde_json::Value, out: &mut Vec<u8>) -> Result<(), Unfit> {
        write::write(&self.plan, value, out)
    }
}

#[cfg(test)]
mod tests;
