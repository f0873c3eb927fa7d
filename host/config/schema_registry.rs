//! The schema registry: where it is, and what it is asked for. It must not know what is in a schema.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::Secret;

/// Where schemas are registered that records are written by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaRegistry {
    /// Where Confluent's API begins; `http` or `https`.
    pub url: String,
    /// How the host says who it is; none where nobody asks.
    pub login: Option<RegistryLogin>,
    /// File of the certificates that are trusted; none trusts what the system trusts.
    pub ca: Option<PathBuf>,
    /// The longest that one answer may take.
    pub timeout: Duration,
    /// How often the newest version of a subject is looked for again.
    pub refresh: Duration,
    /// Topics whose records outputs are written by a schema for.
    pub encode: BTreeMap<String, Encode>,
}

/// How the host says who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryLogin {
    /// By name and password.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// By a token.
    Bearer(Secret),
}

/// What kind of schema it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaFormat {
    /// Apache Avro.
    Avro,
    /// Protocol Buffers.
    Protobuf,
    /// JSON Schema.
    JsonSchema,
}

impl fmt::Display for SchemaFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Avro => "Avro",
            Self::Protobuf => "Protobuf",
            Self::JsonSchema => "JSON Schema",
        })
    }
}

/// Which schema outputs to a topic are written by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encode {
    /// How it is found.
    pub schema: WantedSchema,
    /// The format that it must have; none takes what is registered.
    pub format: Option<SchemaFormat>,
    /// Which message of a Protobuf file, by its full name; none is the first.
    pub message: Option<String>,
}

/// How a schema is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WantedSchema {
    /// The newest version of a subject.
    Latest(String),
    /// A version of a subject.
    Version(String, u32),
    /// A schema by its number.
    Id(u32),
    /// This text, which is registered under a subject where it is not yet.
    Register {
        /// The subject.
        subject: String,
        /// What it is.
        format: SchemaFormat,
        /// The text of the schema.
        schema: String,
    },
}
