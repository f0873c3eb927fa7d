//! The `millrace` command: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;
use millrace::cli::{compile_component, dev, produce, run, topics, validate};
use millrace::config::ConfigError;
use millrace::daemon::DaemonError;
use millrace::kafka::KafkaError;
use millrace::sandbox::{COMPILE_COMMAND, CompileError, INVALID_COMPONENT};

/// Records are allocated by one thread and freed by another, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The number of mimalloc's option `purge_delay`, which its crate does not name: between
/// `eager_commit_delay` (14) and `use_numa_nodes` (16), in versions 2 and 3 alike.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// How long freed memory is kept before the system gets it back, in milliseconds. Fetched buffers are freed
/// and needed again all the time; at mimalloc's own 10 ms their pages are cleared again for every fetch.
const PURGE_DELAY_MS: std::ffi::c_long = 2_000;

#[allow(
    unsafe_code,
    reason = "mimalloc's options are set through its C interface"
)]
fn keep_freed_memory_for_a_while() {
    // SAFETY: the option exists, takes a number, and may be set at any time.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, PURGE_DELAY_MS) };
}

/// `EX_CONFIG` of sysexits.h: the configuration is wrong, and starting again will not help.
const BAD_CONFIGURATION: u8 = 78;

/// `EX_UNAVAILABLE` of sysexits.h: Kafka does not answer, and starting again later may help.
const UNAVAILABLE: u8 = 69;

/// Events from Kafka through sandboxed WebAssembly plugins.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
enum Command {
    /// Tries everything out in one process: broker, gateway, groups and sample events.
    Dev(dev::DevArgs),
    /// Compiles a component; the host calls this itself.
    #[command(name = COMPILE_COMMAND, hide = true)]
    Compile(compile_component::CompileArgs),
    /// Runs the daemon.
    Run(run::RunArgs),
    /// Checks a configuration and its plugins without touching Kafka.
    Validate(validate::ValidateArgs),
    /// Creates and lists topics.
    Topics(topics::TopicsArgs),
    /// Sends sample events, straight to Kafka or through the gateway.
    Produce(produce::ProduceArgs),
}

pub(crate) fn main() -> ExitCode {
    keep_freed_memory_for_a_while();
    let done = match Command::parse() {
        Command::Dev(args) => dev::run(&args),
        Command::Compile(args) => compile_component::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Validate(args) => validate::run(&args),
        Command::Topics(args) => topics::run(args),
        Command::Produce(args) => produce::run(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(
                clippy::print_stderr,
                reason = "the last word of a command that failed"
            )]
            {
                eprintln!("{}", told(&error));
            }
            ExitCode::from(code(&error))
        }
    }
}

/// The error and what caused it. Some messages hold their cause already, and it is not said twice.
fn told(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !told.contains(&cause) {
            let separator = if told.is_empty() { "" } else { ": " };
            told = format!("{told}{separator}{cause}");
        }
    }
    told
}

fn code(error: &anyhow::Error) -> u8 {
    let unreachable = |error: &KafkaError| matches!(error, KafkaError::Unreachable { .. });
    if error.is::<ConfigError>() {
        return BAD_CONFIGURATION;
    }
    if let Some(CompileError::Invalid(_)) = error.downcast_ref() {
        return INVALID_COMPONENT;
    }
    match error.downcast_ref::<DaemonError>() {
        Some(DaemonError::Plugin(_)) => BAD_CONFIGURATION,
        Some(DaemonError::Kafka(error)) if unreachable(error) => UNAVAILABLE,
        _ => 1,
    }
}
