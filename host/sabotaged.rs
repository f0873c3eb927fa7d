//! The `millrace` command with one promise broken: the one that the variable `MILLRACE_SABOTAGE` names. It is
//! never delivered.

use std::process::ExitCode;

#[path = "main.rs"]
mod delivered;

fn main() -> ExitCode {
    let environment = millrace::config::process_environment();
    millrace::sabotage::choose(environment);
    delivered::main()
}
