//! The configuration as its operator meets it, by the commands that need no Kafka.

// Common names of environment variables, and what `millrace explain` tells of them.
mod explained;
// `millrace validate --online`, against a Kafka with rights and servers that are away.
mod online;
// Plugins that do not load.
mod plugins;
// `millrace schema` against every example in this repository.
mod schema;
// The table of mistakes.
mod wrong;
