//! The tools of a language: looked for, asked for their version, and run. It must not know any of them.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::{BuildError, Work};

/// A first build compiles everything that a plugin depends on, and a machine may be slow and busy.
const RUN_TIME_MAX: Duration = Duration::from_mins(15);

/// Of what a tool says, the end is kept: the reason stands there, and an author reads no more.
const SAID_BYTES_MAX: usize = 64 << 10;

/// A tool that a language needs.
pub(super) struct Tool {
    /// The program, as it is called.
    pub(super) program: &'static str,
    /// Folders that it may lie in, looked for in the plugin's folder and in those above; then `PATH` counts.
    pub(super) beside: &'static [&'static str],
    /// What makes it say its version, or anything at all.
    pub(super) version: &'static [&'static str],
    /// The oldest version that works; none where any does.
    pub(super) least: Option<[u32; 2]>,
    /// The command that installs it.
    pub(super) install: &'static str,
}

impl Tool {
    /// Where it is, once it is known to be new enough.
    ///
    /// # Errors
    /// It is missing or too old, with the command that installs it.
    pub(super) fn find(&self, work: &Work<'_>) -> Result<PathBuf, BuildError> {
        let beside = work.folder().ancestors().flat_map(|folder| {
            let of = |beside: &&str| folder.join(beside).join(self.program);
            self.beside.iter().map(of).collect::<Vec<_>>()
        });
        let program = beside
            .map(|path| std::path::absolute(&path).unwrap_or(path))
            .find(|path| path.is_file())
            .unwrap_or_else(|| PathBuf::from(self.program));
        let asked = Command::new(&program)
            .args(self.version)
            .current_dir(work.folder())
            .stdin(Stdio::null())
            .output();
        let missing = || BuildError::ToolMissing {
            tool: self.program.to_owned(),
            install: self.install.to_owned(),
        };
        let answer = match asked {
            Ok(answer) => answer,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
            Err(source) => {
                let command = shown(&program, self.version);
                return Err(BuildError::NotRun { command, source });
            }
        };
        // A launcher of a tool that is not there, as rustup and pyenv have them, says so and fails.
        if !answer.status.success() {
            return Err(missing());
        }
        let found = version_in(&String::from_utf8_lossy(&answer.stdout));
        match (found, self.least) {
            (Some(found), Some(least)) if found < least => Err(BuildError::ToolOld {
                tool: self.program.to_owned(),
                found: format!("{}.{}", found[0], found[1]),
                least: format!("{}.{}", least[0], least[1]),
                install: self.install.to_owned(),
            }),
            _ => Ok(program),
        }
    }
}

/// The first two numbers that are joined by a dot.
fn version_in(said: &str) -> Option<[u32; 2]> {
    said.split(|char: char| !char.is_ascii_digit() && char != '.')
        .find_map(|word| {
            let mut numbers = word.split('.').map(str::parse);
            Some([numbers.next()?.ok()?, numbers.next()?.ok()?])
        })
}

impl Work<'_> {
    /// Runs a program in the plugin's folder and returns what it wrote to standard output.
    ///
    /// # Errors
    /// It cannot be run, it fails, or it takes longer than any build should; with what it said.
    pub(super) fn run(
        &self,
        program: &Path,
        arguments: &[impl AsRef<OsStr>],
        env: &[(&str, &OsStr)],
    ) -> Result<Vec<u8>, BuildError> {
        let command = shown(program, arguments);
        let not_run = |source| {
            let command = command.clone();
            BuildError::NotRun { command, source }
        };
        let mut child = Command::new(program)
            .args(arguments)
            .envs(env.iter().copied())
            .current_dir(self.folder())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(not_run)?;
        // One message of each stream.
        let (sender, ended) = mpsc::sync_channel(2);
        read_on(Which::Out, child.stdout.take(), sender.clone()).map_err(not_run)?;
        read_on(Which::Err, child.stderr.take(), sender).map_err(not_run)?;
        let until = Instant::now() + RUN_TIME_MAX;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        loop {
            match ended.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((Which::Out, bytes)) => out = bytes,
                Ok((Which::Err, bytes)) => err = bytes,
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    child.kill().map_err(not_run)?;
                    child.wait().map_err(not_run)?;
                    return Err(BuildError::TooLong {
                        command,
                        limit: RUN_TIME_MAX,
                        said: said(&out, &err),
                    });
                }
            }
        }
        let status = child.wait().map_err(not_run)?;
        if !status.success() {
            let ended = status
                .code()
                .map_or_else(|| status.to_string(), |code| format!("exit code {code}"));
            let said = said(&out, &err);
            return Err(BuildError::Failed {
                command,
                ended,
                said,
            });
        }
        Ok(out)
    }
}

#[derive(Clone, Copy)]
enum Which {
    Out,
    Err,
}

/// Reads a stream to its end on a thread of its own: a tool that fills the one pipe must not wait for the other.
fn read_on(
    which: Which,
    stream: Option<impl Read + Send + 'static>,
    sender: mpsc::SyncSender<(Which, Vec<u8>)>,
) -> io::Result<()> {
    let read = move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What was read before an error is shown all the same.
            let _ended = stream.read_to_end(&mut bytes);
        }
        // Nobody waits any more once the tool took too long.
        let _sent = sender.send((which, bytes));
    };
    thread::Builder::new().spawn(read).map(drop)
}

/// What a tool said on both streams, the end of it.
fn said(out: &[u8], err: &[u8]) -> String {
    let mut said = String::from_utf8_lossy(err).into_owned();
    let out = String::from_utf8_lossy(out);
    if !out.trim().is_empty() {
        // Writing to a String cannot fail.
        let _written = write!(said, "{}{out}", if said.is_empty() { "" } else { "\n" });
    }
    let mut begin = said.len().saturating_sub(SAID_BYTES_MAX);
    while !said.is_char_boundary(begin) {
        begin += 1;
    }
    said.split_off(begin).trim().to_owned()
}

/// A command as it could be typed.
fn shown(program: &Path, arguments: &[impl AsRef<OsStr>]) -> String {
    let mut shown = program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy()
        .into_owned();
    for argument in arguments {
        shown.push(' ');
        shown.push_str(&argument.as_ref().to_string_lossy());
    }
    shown
}
