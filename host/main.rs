//! The `millrace` command: arguments in, exit code out.

fn main() {}
