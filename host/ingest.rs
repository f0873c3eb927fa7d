//! Gateways through which publishers hand in events: gRPC.
//!
//! A gateway answers an event only after Kafka has acknowledged it. It must not know plugins, groups
//! or rdkafka; it reaches Kafka through [`crate::kafka::publisher`].

mod connections;
mod counts;
pub mod grpc;
mod service;
mod status;

pub use counts::Counts;
pub use grpc::{GatewayError, GrpcGateway};

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
