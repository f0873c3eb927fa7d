//! Compiling a component: in a process of its own, within limits of time and memory and at low priority,
//! because a component can be made so that compiling it takes all of either. It must not know who asks.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use wasmtime::Engine;

use super::engine::{self, Source};
use super::fault::shown;
use super::load_error::LoadError;

/// The hidden subcommand of `millrace` that compiles.
pub const COMPILE_COMMAND: &str = "compile-component";

/// The exit code of that command for what is no valid component: `EX_DATAERR` of sysexits.h.
pub const INVALID_COMPONENT: u8 = 65;

/// Memory that a compile may take: more than a hundred times the largest component that is accepted without
/// asking (32 MiB), and little enough to end before the machine does.
const COMPILE_MEMORY_BYTES: u64 = 4 << 30;

/// The largest machine code that is taken over. Compiled components are three to six times their size.
const ARTEFACT_BYTES_MAX: u64 = 2 << 30;

/// What a compile may say when it fails.
const MESSAGE_BYTES_MAX: u64 = 4 << 10;

/// How much a compile steps back behind the rest of the host, by the measure of `nice`.
const NICENESS: i32 = 10;

/// How often a compile that has closed its output is looked at until it has ended.
const END_CHECK: Duration = Duration::from_millis(1);

/// Compiles that run now, to share the cores between them.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// Who compiles components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compiler {
    /// This very process, without any limit: for tests and benches, whose executable is not the host's.
    InProcess,
    /// A process of its own for each component.
    Child {
        /// The host's executable.
        executable: PathBuf,
        /// Memory that it may take.
        memory_bytes: u64,
    },
}

impl Compiler {
    /// A child of the executable that runs now, which must be the host's.
    ///
    /// # Errors
    /// The system does not say which executable that is.
    pub fn own_child() -> io::Result<Self> {
        // The link leads to what was started, also after another file has taken its place.
        let executable = if cfg!(target_os = "linux") {
            PathBuf::from("/proc/self/exe")
        } else {
            std::env::current_exe()?
        };
        Ok(Self::child(executable))
    }

    /// A child of this executable, with the memory that every component gets.
    #[must_use]
    pub fn child(executable: PathBuf) -> Self {
        Self::Child {
            executable,
            memory_bytes: COMPILE_MEMORY_BYTES,
        }
    }

    pub(super) fn compile(
        &self,
        engine: &Engine,
        source: &Source<'_>,
    ) -> Result<Vec<u8>, LoadError> {
        let (plugin, path) = (source.plugin.to_owned(), source.path.to_owned());
        let (executable, memory_bytes) = match self {
            Self::InProcess => {
                let made = engine.precompile_component(source.bytes);
                return made.map_err(|error| LoadError::Invalid {
                    plugin,
                    path,
                    message: one_line(&error),
                });
            }
            Self::Child {
                executable,
                memory_bytes,
            } => (executable, *memory_bytes),
        };
        let running = Running::begin();
        let mut command = Command::new(executable);
        command
            .arg(COMPILE_COMMAND)
            .args(["--memory", &memory_bytes.to_string()])
            .args(source.metered.then_some("--fuel"))
            .env("RAYON_NUM_THREADS", running.threads().to_string());
        match run(command, source.bytes, source.compile_time) {
            Ok(made) => Ok(made),
            Err(End::TooLate) => Err(LoadError::CompileTime {
                plugin,
                path,
                limit: source.compile_time,
            }),
            Err(End::Invalid(message)) => Err(LoadError::Invalid {
                plugin,
                path,
                message,
            }),
            Err(End::Failed(message)) => Err(LoadError::Compile {
                plugin,
                path,
                message,
                memory_bytes,
            }),
        }
    }
}

/// Counts a compile while it runs.
struct Running(usize);

impl Running {
    fn begin() -> Self {
        Self(RUNNING.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Its share of the cores.
    fn threads(&self) -> usize {
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        (cores / self.0).max(1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How a compile ended without machine code.
enum End {
    TooLate,
    Invalid(String),
    Failed(String),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Failed(format!("the compiling process cannot be run: {error}"))
    }
}

/// Runs the command over the component; at the limit it is killed.
fn run(mut command: Command, component: &[u8], limit: Duration) -> Result<Vec<u8>, End> {
    let end_by = Instant::now() + limit;
    let mut child = Killed(
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?,
    );
    let process = &mut child.0;
    let pipes = (
        process.stdin.take(),
        process.stdout.take(),
        process.stderr.take(),
    );
    let (Some(mut input), Some(output), Some(messages)) = pipes else {
        return Err(io::Error::other("it has no pipes").into());
    };
    thread::scope(|scope| {
        let (made, answer) = mpsc::sync_channel(1);
        // A child that has ended does not read on, and says why elsewhere.
        let feeding = move || drop(input.write_all(component));
        thread::Builder::new().spawn_scoped(scope, feeding)?;
        let listening = move || {
            let output = read_to_end(output, ARTEFACT_BYTES_MAX);
            // Who waits is still there, or has stopped caring.
            drop(made.send(output));
        };
        thread::Builder::new().spawn_scoped(scope, listening)?;
        let hearing = move || read_to_end(messages, MESSAGE_BYTES_MAX).unwrap_or_default();
        let message = thread::Builder::new().spawn_scoped(scope, hearing)?;
        let output = answer.recv_timeout(end_by.saturating_duration_since(Instant::now()));
        let status = match &output {
            Ok(_) => child.end(end_by)?,
            Err(_) => None,
        };
        // Without this the threads would wait for a child that goes on.
        drop(child);
        let Some(status) = status else {
            return Err(End::TooLate);
        };
        let message = message.join().unwrap_or_default();
        let message = String::from_utf8_lossy(&message).trim().to_owned();
        judge(status, output.unwrap_or_else(|_| Ok(Vec::new())), message)
    })
}

fn judge(status: ExitStatus, output: io::Result<Vec<u8>>, message: String) -> Result<Vec<u8>, End> {
    if status.success() {
        let output = output?;
        return match output.len() as u64 > ARTEFACT_BYTES_MAX {
            true => Err(End::Failed(format!(
                "it came to more than {ARTEFACT_BYTES_MAX} bytes"
            ))),
            false => Ok(output),
        };
    }
    if status.code() == Some(i32::from(INVALID_COMPONENT)) {
        return Err(End::Invalid(message));
    }
    let separator = if message.is_empty() { "" } else { ": " };
    Err(End::Failed(format!("{status}{separator}{message}")))
}

/// Reads one byte more than there may be, so that too much is seen.
fn read_to_end(from: impl Read, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(bytes_max + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A child that does not outlive what it was made for.
struct Killed(Child);

impl Killed {
    /// Its status once it has ended; none when it has not at that time.
    fn end(&mut self, by: Instant) -> io::Result<Option<ExitStatus>> {
        loop {
            let status = self.0.try_wait()?;
            if status.is_some() || Instant::now() >= by {
                return Ok(status);
            }
            thread::sleep(END_CHECK);
        }
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is waited for, so that nothing of it stays.
        let _killed = self.0.kill();
        let _status = self.0.wait();
    }
}

/// Why the child of [`Compiler::Child`] has nothing to give.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum CompileError {
    #[error("{0}")]
    Invalid(String),
    #[error("its own limits cannot be set: {0}")]
    Limits(rustix::io::Errno),
    #[error("the component or its machine code cannot be passed on: {0}")]
    Pipe(#[from] io::Error),
}

/// The work of the child of [`Compiler::Child`]: a component on standard input, its machine code on standard
/// output.
///
/// # Errors
/// The component is not valid, or the parent is gone.
pub fn compile_for_parent(metered: bool, memory_bytes: u64) -> Result<(), CompileError> {
    step_back(memory_bytes).map_err(CompileError::Limits)?;
    let mut component = Vec::new();
    io::stdin().lock().read_to_end(&mut component)?;
    let engine = engine::compiling_engine(metered);
    let made = engine.and_then(|engine| engine.precompile_component(&component));
    let made = made.map_err(|error| CompileError::Invalid(one_line(&error)))?;
    let mut output = io::stdout().lock();
    output.write_all(&made)?;
    output.flush()?;
    Ok(())
}

/// Makes this process the one that waits, and that is ended first when memory is short.
fn step_back(memory_bytes: u64) -> rustix::io::Result<()> {
    use rustix::process::{Resource, Rlimit, nice, setrlimit};
    nice(NICENESS)?;
    let limit = Rlimit {
        current: Some(memory_bytes),
        maximum: Some(memory_bytes),
    };
    // What can be written to: address space that is only reserved costs nothing.
    setrlimit(Resource::Data, limit)?;
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal, set_parent_process_death_signal};
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // Where the system does not let it, memory is short for everybody.
        let _ranked = std::fs::write("/proc/self/oom_score_adj", "1000");
    }
    Ok(())
}

/// wasmtime spreads some messages over several lines.
pub(super) fn one_line(error: &wasmtime::Error) -> String {
    let message = format!("{error:#}");
    shown(&message.split_whitespace().collect::<Vec<_>>().join(" "))
}
