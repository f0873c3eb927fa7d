//! Millrace: a WebAssembly-pluggable event processor for Kafka.
//!
//! Modules stand in reading order. Dependencies point one way:
//! `main -> cli -> daemon -> {reload, registry, pipeline, kafka, sandbox, ingest, admin, schema} -> delivery`, and
//! `{cli, daemon} -> dead_letters -> {kafka, delivery}` beside it.

pub mod admin;
pub mod authoring;
pub mod cli;
pub mod cloudevents;
pub mod config;
mod connections;
pub mod daemon;
pub mod dead_letters;
pub mod delivery;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod ingest;
pub mod kafka;
mod latest;
pub mod pipeline;
pub mod registry;
pub mod reload;
pub mod replay;
#[cfg(feature = "sabotage")]
pub mod sabotage;
pub mod sample;
pub mod sandbox;
pub mod schema;
mod since_1970;
pub mod store;
pub mod telemetry;
mod tls;
mod watched;
mod web;
mod whole_file;
