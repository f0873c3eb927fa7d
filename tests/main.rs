//! The integration tests: one binary, because linking is what costs time.
//!
//! Every test that needs Kafka shares one node (`harness::kafka::shared`) and makes its own topics, so
//! tests run side by side; a test that harms its broker starts a private one.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "clippy knows #[test], not its helpers"
)]

// What everything below is written with: Kafka, the host as a child process, topics, waiting.
mod harness;

// Rules about the source itself: who may use which library, which way modules depend, house style.
mod architecture;
// What an operator copies from deploy/: files parse, and name only what exists.
mod deployment;
// `millrace dev`: everything in one process, seen from outside.
mod dev;
// The harness proves itself: the node starts, a record goes round, a crash loses nothing.
mod kafka_node;
// The sandbox without Kafka: what it loads, every limit, and that failures leave nothing behind.
mod sandbox;
// The tutorial and the recipes, typed in as they stand.
mod documented;
// The main job end to end, and SIGTERM in the middle of it.
mod main_job;
// kill -9 in the middle of it.
mod crash;
// Plugins that loop, eat memory or trap, beside neighbours that do not.
mod isolation;
// Versions of a plugin that are replaced while events flow.
mod reload;
// What operators pause: a group, a topic, a partition, a key, a plugin.
mod pausing;
// Another configuration for a host that runs: by signal, by file, and refused.
mod reconfigure;
// Plugins that attack the host in every way we could think of, and components that are damaged.
mod hostile;
// Components in registries: pushed, pulled, run from there, and what is refused.
mod distribution;
// Instances that are renewed or delayed, and limits that are told and counted.
mod plugin_life;
// Retry in place: order, times, attempts, and a restart in between.
mod retry;
// Retry by topic, and what is evicted there: attempts that survive, times, places.
mod retry_topic;
// Topics: made, shown, checked, matched by patterns, and those that appear and grow.
mod topics;
// Where events go that fail: the topics that the host makes, and what dead letters say.
mod dead_letters;
// Dead letters from the command line: found, grouped, put back each once, and removed.
mod dlq;
// Rules that events have to keep: at a gateway, in a group, and replaced while events flow.
mod schemas;
// Records that were written through a schema registry, and outputs that are.
mod schema_registry;
// The file as a whole: what is refused and where, what editors are told, what came from where.
mod configuration;
// What the host refuses, and that it has consumed nothing by then.
mod bad_input;
// Publishing through `millrace run`.
mod gateway;
// Trace context and correlation ids, from gateways to dead letters.
mod correlation;
// Spans, as a collector sees them: one trace from a gateway to what is put back.
mod spans;
// Tokens, certificates, and clients that are slow, large or break rules on purpose.
mod doors;
// Publishing over HTTP: what a stranger's clients make of it, and what becomes of CloudEvents.
mod http_gateway;
// The same partitions as the Java client's, and the other ways to choose one.
mod partitioning;
// Encrypted connections and logins to a real Kafka, and who is refused.
mod secure_kafka;
// Partitions that move from host to host.
mod rebalance;
// Faults while events flow, judged by a process of its own.
mod faults;
// What a new owner learns of the ids that were seen.
mod rebuild;
// What an operator sees: the admin interface, its commands, and the page in a browser.
mod admin;
// A partition that settles nothing says why.
mod progress;
// Offsets that an operator sets, and ranges that are replayed.
mod replay;
// Records of every form, dead-letter topics that do not take them, and topics that change under the host.
mod records;
// A settle store that cannot be written, or not be believed.
mod store_faults;
// What a plugin may keep in the host and ask of others: quotas, expiry, HTTP.
mod quotas;
// What a plugin's author types: `plugin new`, `plugin build`, and what they answer to mistakes.
mod authoring;
// An operator's bad night, from the alert to the closed books.
mod bad_night;
