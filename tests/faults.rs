//! The fault suite: hosts, brokers and the network between them are harmed while events flow, and a process
//! that knows nothing of the host judges what is left. docs/reliability.md says what is promised.
//!
//! The short tier runs in `make test`. `make fault` runs the same functions with larger figures.

mod bombs;
mod brokers;
#[cfg(feature = "sabotage")]
mod controls;
mod group;
mod ingest;
mod kills;
mod members;
mod membership;
mod notes;
mod outage;
mod plugins;
mod run;
mod settings;
mod waiting;
