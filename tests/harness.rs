//! What the integration tests are written with. It knows Kafka and the `millrace` binary from outside
//! only: no test that uses it may reach into the host's modules.

#![allow(dead_code, reason = "tests and benches each use a part of the harness")]
#![allow(
    clippy::expect_used,
    reason = "a test that cannot go on fails, and says where"
)]

pub(crate) mod browser;
pub(crate) mod call;
pub(crate) mod certificates;
pub(crate) mod collector;
pub(crate) mod config_schema;
pub(crate) mod frames;
pub(crate) mod host;
pub(crate) mod http;
pub(crate) mod ingest;
pub(crate) mod jaeger;
pub(crate) mod kafka;
pub(crate) mod load;
pub(crate) mod main_flow;
pub(crate) mod metrics;
pub(crate) mod process;
pub(crate) mod prometheus;
pub(crate) mod proxy;
pub(crate) mod raw;
pub(crate) mod registry;
pub(crate) mod samples;
pub(crate) mod schema_registry;
pub(crate) mod secure;
pub(crate) mod secured_node;
pub(crate) mod slow;
pub(crate) mod toolchains;
pub(crate) mod topic;
pub(crate) mod topic_admin;
pub(crate) mod versions;
pub(crate) mod wait;
pub(crate) mod witness;
pub(crate) mod yaml;
