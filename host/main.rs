//! The `millrace` command: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;
use millrace::authoring::manifest::ManifestError;
use millrace::cli::{compile_component, dev, dlq, explain, lag, offsets, pause, plugin, produce};
use millrace::cli::{replay, run, schema, tap, topics, validate};
use millrace::config::ConfigError;
use millrace::daemon::DaemonError;
use millrace::daemon::online::Trouble;
use millrace::dead_letters::DeadLettersError;
use millrace::kafka::KafkaError;
use millrace::registry::{FetchError, RegistryError};
use millrace::replay::ReplayError;
use millrace::sandbox::{COMPILE_COMMAND, CompileError, INVALID_COMPONENT};
use millrace::schema::SchemaError;

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

/// What `diff` ends with where it cannot compare, and 1 says that something differs; `plugin run` where it cannot run
/// anything, and 1 says that an event failed; and `offsets` and `replay` where they have changed nothing.
const CANNOT_DO: u8 = 2;

/// `EX_UNAVAILABLE` of sysexits.h: Kafka or a registry does not answer, and starting again later may help.
const UNAVAILABLE: u8 = 69;

/// `EX_NOPERM` of sysexits.h: Kafka and this host do not accept each other, until somebody changes the one or the other.
const REFUSED: u8 = 77;

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
    /// Checks a configuration and its plugins, and with --online what they need of Kafka and registries.
    Validate(validate::ValidateArgs),
    /// Shows what every setting is and where it came from.
    Explain(explain::ExplainArgs),
    /// Prints the JSON Schema of the configuration, for editors.
    Schema(schema::SchemaArgs),
    /// Shows, replaces and compares versions of plugins.
    Plugin(plugin::PluginArgs),
    /// Shows how far the groups of a running host are behind, and when they will have caught up.
    Lag(lag::LagArgs),
    /// Watches events of a running host, with what becomes of them.
    Tap(tap::TapArgs),
    /// Makes a group, some of it or a plugin of a running host wait, or shows what does.
    Pause(pause::PauseArgs),
    /// Lets what was paused go on.
    Resume(pause::ResumeArgs),
    /// Lists, groups, shows, exports, puts back and removes dead letters.
    Dlq(dlq::DlqArgs),
    /// Shows where a group stands, and sets the offsets of one that is stopped.
    Offsets(offsets::OffsetsArgs),
    /// Runs a range of events again, beside the group that serves.
    Replay(Box<replay::ReplayArgs>),
    /// Creates, lists and describes topics.
    Topics(topics::TopicsArgs),
    /// Sends sample events, straight to Kafka or through the gateway.
    Produce(Box<produce::ProduceArgs>),
}

pub(crate) fn main() -> ExitCode {
    keep_freed_memory_for_a_while();
    let done = match Command::parse() {
        Command::Dev(args) => dev::run(&args),
        Command::Compile(args) => compile_component::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Validate(args) => validate::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Plugin(args) => return ended(plugin::run(args)),
        Command::Lag(args) => lag::run(&args),
        Command::Tap(args) => tap::run(&args),
        Command::Pause(args) => pause::pause(&args),
        Command::Resume(args) => pause::resume(&args),
        Command::Dlq(args) => dlq::run(&args),
        Command::Offsets(args) => offsets::run(&args),
        Command::Replay(args) => return ended(replay::run(&args)),
        Command::Topics(args) => topics::run(args),
        Command::Produce(args) => produce::run(*args),
    };
    ended(done.map(|()| ExitCode::SUCCESS))
}

fn ended(done: anyhow::Result<ExitCode>) -> ExitCode {
    match done {
        Ok(code) => code,
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

/// What is not there stays away until somebody acts; what does not answer may answer later.
fn code_of_fetch(error: &RegistryError) -> u8 {
    if error.may_pass() {
        UNAVAILABLE
    } else {
        BAD_CONFIGURATION
    }
}

fn code(error: &anyhow::Error) -> u8 {
    if error.is::<validate::Unusable>() {
        return BAD_CONFIGURATION;
    }
    if error.is::<ConfigError>() || error.is::<ManifestError>() || error.is::<SchemaError>() {
        return BAD_CONFIGURATION;
    }
    if error.is::<plugin::CannotCompare>() || error.is::<plugin::CannotRun>() {
        return CANNOT_DO;
    }
    if let Some(validate::NotReady { worst, .. }) = error.downcast_ref() {
        return match worst {
            Trouble::Away => UNAVAILABLE,
            Trouble::Refused => REFUSED,
            Trouble::Wrong => BAD_CONFIGURATION,
        };
    }
    if let Some(CompileError::Invalid(_)) = error.downcast_ref() {
        return INVALID_COMPONENT;
    }
    if let Some(FetchError { source, .. }) = error.downcast_ref() {
        return code_of_fetch(source);
    }
    if let Some(DeadLettersError::Kafka(error)) = error.downcast_ref() {
        return code_of_kafka(error);
    }
    match error.downcast_ref::<DaemonError>() {
        Some(DaemonError::Fetch(FetchError { source, .. })) => code_of_fetch(source),
        Some(DaemonError::Plugin(_) | DaemonError::Schemas(_) | DaemonError::Collector(_)) => {
            BAD_CONFIGURATION
        }
        Some(DaemonError::Kafka(error)) => code_of_kafka(error),
        _ => match error.downcast_ref::<ReplayError>() {
            Some(ReplayError::Kafka(error)) => code_of_kafka(error),
            Some(_) => CANNOT_DO,
            None => error.downcast_ref().map_or(1, code_of_kafka),
        },
    }
}

fn code_of_kafka(error: &KafkaError) -> u8 {
    match error {
        KafkaError::Unreachable { .. } => UNAVAILABLE,
        KafkaError::NotTrusted { .. } | KafkaError::NotLoggedIn { .. } | KafkaError::Token(_) => {
            REFUSED
        }
        _ => 1,
    }
}
