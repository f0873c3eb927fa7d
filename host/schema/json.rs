//! JSON that is checked by a registered JSON Schema. It must not know where schemas come from.

use std::collections::HashMap;
use std::fmt;

use jsonschema::{PatternOptions, Retrieve, Uri};
use serde_json::Value;

use super::flaw::{Flaw, Stage};
use super::rule_set::Schema;
use super::unfit::Unfit;

/// Steps that a pattern may take which looks around or refers back. Registered schemas have such patterns, and an event
/// could be made to keep them busy for ever.
const PATTERN_STEPS_MAX: usize = 100_000;

/// A schema, ready to check by.
pub(super) struct JsonCodec {
    schema: Schema,
}

impl fmt::Debug for JsonCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonCodec").finish_non_exhaustive()
    }
}

/// The schemas that another refers to, by the names that it uses. Nothing is fetched from anywhere else.
struct References(HashMap<String, Value>);

impl Retrieve for References {
    fn retrieve(
        &self,
        uri: &Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let uri = uri.as_str();
        // A name that is no whole address stands, for the library, below that of the schema that uses it.
        let named = self.0.iter().find(|(name, _)| {
            let rest = uri.strip_suffix(name.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
        });
        let (_, schema) = named
            .ok_or_else(|| format!("it refers to {uri}, which is not among its references"))?;
        Ok(schema.clone())
    }
}

impl JsonCodec {
    /// Reads a schema, and the schemas that it refers to, each under the name that it uses.
    ///
    /// # Errors
    /// It is no schema, or refers to one that is not among them.
    pub(super) fn new<'a>(
        schema: &str,
        references: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, String> {
        let parse = |text: &str| {
            let parsed: Result<Value, _> = serde_json::from_str(text);
            parsed.map_err(|error| format!("it is no JSON: {error}"))
        };
        let references = references.into_iter();
        let references = references.map(|(name, text)| Ok((name.to_owned(), parse(text)?)));
        let references = References(references.collect::<Result<_, String>>()?);
        let validator = jsonschema::options()
            .with_retriever(references)
            .with_pattern_options(PatternOptions::fancy_regex().backtrack_limit(PATTERN_STEPS_MAX))
            .build(&parse(schema)?);
        Ok(Self {
            schema: Schema {
                file: "its schema".to_owned(),
                validator: validator.map_err(|error| error.to_string())?,
                base: "",
            },
        })
    }

    /// Checks a value that was read.
    ///
    /// # Errors
    /// It is no JSON, or breaks the rules of the schema.
    pub(super) fn check(&self, json: &[u8]) -> Result<(), Flaw> {
        let value: Value = serde_json::from_slice(json)
            .map_err(|error| Flaw::undecodable("data", format!("no JSON: {error}")))?;
        self.schema.check(Stage::Payload, &value, "")
    }

    /// Checks a value that is to be written.
    ///
    /// # Errors
    /// It is no JSON, or breaks the rules of the schema.
    pub(super) fn fits(&self, json: &[u8]) -> Result<(), Unfit> {
        self.check(json).map_err(|flaw| Unfit::new(flaw.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::dead_letter::Cause;

    const ORDER: &str = r#"{"type": "object", "required": ["customer"],
        "properties": {"customer": {"$ref": "customer.json"}, "lines": {"items": {"type": "integer"}}}}"#;
    const CUSTOMER: &str = r#"{"type": "object", "properties": {"id": {"type": "string"}}}"#;

    #[test]
    fn what_breaks_a_rule_of_a_referred_schema_is_told_with_its_place() {
        let codec = JsonCodec::new(ORDER, [("customer.json", CUSTOMER)]).unwrap();
        codec.check(br#"{"customer": {"id": "c1"}}"#).unwrap();
        let flaw = codec.check(br#"{"customer": {"id": 1}}"#).unwrap_err();
        assert_eq!((flaw.cause, flaw.code), (Cause::Schema, "payload"));
        assert!(flaw.message.starts_with("/customer/id: "), "{flaw:?}");
        let flaw = codec.check(br#"{"customer": "#).unwrap_err();
        assert_eq!((flaw.cause, flaw.code), (Cause::Decode, "data"));
        let unfit = codec
            .fits(br#"{"customer": {}, "lines": [1, "x"]}"#)
            .unwrap_err();
        assert!(unfit.to_string().starts_with("/lines/1: "), "{unfit}");
    }

    #[test]
    fn a_schema_with_an_address_finds_its_references_beside_it() {
        let order = ORDER.replacen('{', r#"{"$id": "https://example.com/order.json", "#, 1);
        JsonCodec::new(&order, [("customer.json", CUSTOMER)]).unwrap();
        let error = JsonCodec::new(&order, []).unwrap_err();
        assert!(error.contains("customer.json"), "{error}");
        assert!(JsonCodec::new("{\"type\": 1}", []).is_err());
        assert!(JsonCodec::new("no schema", []).is_err());
    }
}
