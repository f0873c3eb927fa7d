//! Gateways through which publishers hand in events.
//!
//! Each gateway speaks a protocol of its own and hands events to the one `reception`, which checks and counts them
//! and answers only after Kafka has acknowledged. It must not know plugins, groups or rdkafka; it reaches Kafka
//! through [`crate::kafka::publisher`].

mod carried;
mod clients;
mod counts;
mod gateway_error;
pub mod grpc;
pub mod http;
mod reception;
mod refusal;
mod rules;

pub use counts::Counts;
pub use gateway_error::GatewayError;
pub use grpc::GrpcGateway;
pub use http::HttpGateway;
pub use reception::Shared;
pub use rules::TopicRules;

/// The contract of `proto/millrace/ingest/v1/ingest.proto`, generated.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    clippy::clone_on_ref_ptr,
    reason = "generated code"
)]
pub mod proto {
    tonic::include_proto!("millrace.ingest.v1");

    /// The contract as an encoded `FileDescriptorSet`, for server reflection.
    pub const DESCRIPTORS: &[u8] =
        include_bytes!(concat!(env!("OUT_DIR"), "/ingest_descriptors.bin"));
}
