//! Generates the gRPC code from `proto/` without needing `protoc` on the machine, and the list of the files that
//! the host carries in itself for the authors of plugins.
//!
//! It must not know anything of the host: what it writes are types, a client, a server, the descriptors that
//! server reflection answers with, and names with their texts.

#[path = "build/embedded.rs"]
mod embedded;

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_source_info(true)
        .open_file("millrace/ingest/v1/ingest.proto")?;

    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo did not set OUT_DIR")?);
    embedded::write(&out)?;
    std::fs::write(
        out.join("ingest_descriptors.bin"),
        compiler.encode_file_descriptor_set(),
    )?;

    tonic_prost_build::configure()
        // Payloads stay slices of the received message instead of being copied once more.
        .bytes(".millrace.ingest.v1")
        .compile_fds(compiler.file_descriptor_set())?;

    // OpenTelemetry's own definitions, unchanged. Apart from the gateway's, whose descriptors are shown to its clients.
    let mut otlp = protox::Compiler::new(["proto"])?;
    otlp.include_imports(true)
        .open_file("opentelemetry/proto/collector/trace/v1/trace_service.proto")?;
    tonic_prost_build::configure()
        .include_file("otlp.rs")
        .compile_fds(otlp.file_descriptor_set())?;
    Ok(())
}
