//! Millrace: a WebAssembly-pluggable event processor for Kafka.
//!
//! Modules stand in reading order. Dependencies point one way:
//! `main -> cli -> daemon -> {reload, pipeline, kafka, sandbox, ingest, admin} -> delivery`.

pub mod admin;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod delivery;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod ingest;
pub mod kafka;
pub mod pipeline;
pub mod reload;
#[cfg(feature = "sabotage")]
pub mod sabotage;
pub mod sample;
pub mod sandbox;
pub mod store;
pub mod telemetry;
