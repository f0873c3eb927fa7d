//! Lines that are noted while a run goes on, and what `/proc` knows of a process.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use serde_json::Value;

/// Writes one more line to a file of notes.
pub(crate) fn append(file: &Path, line: &Value) {
    let file = File::options().create(true).append(true).open(file);
    let mut file = file.expect("the folder can be written");
    file.write_all(format!("{line}\n").as_bytes())
        .expect("it can be written");
}

/// The most memory that a process has ever held; none when it has gone.
pub(crate) fn peak_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = peak.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}
