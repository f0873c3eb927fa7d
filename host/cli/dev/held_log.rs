//! Log lines while a table is drawn on the same terminal: kept until the table makes room for them, so
//! that neither overwrites the other.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// Held between two frames, a second apart. More lines than this a second nobody reads; the number of
/// those left out is said.
const HELD_MAX_BYTES: usize = 16 * 1024;

/// The way of log lines to standard error. Clones share what is held.
#[derive(Debug, Clone, Default)]
pub(super) struct HeldLog(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    holding: bool,
    held: Vec<u8>,
    left_out: u64,
}

impl HeldLog {
    /// From now on lines wait for [`HeldLog::take`].
    pub(super) fn hold(&self) {
        self.with(|state| state.holding = true);
    }

    /// From now on lines go straight to standard error, those that wait first.
    pub(super) fn release(&self) {
        self.with(|state| {
            state.holding = false;
            // Where standard error is gone, so is the reader of the log.
            let _written = io::stderr().write_all(&state.take());
        });
    }

    /// What waits, which is then gone from here.
    pub(super) fn take(&self) -> Vec<u8> {
        self.with(State::take)
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn take(&mut self) -> Vec<u8> {
        let mut held = std::mem::take(&mut self.held);
        if self.left_out > 0 {
            let left_out = format!("and {} log lines more\n", self.left_out);
            held.extend(left_out.into_bytes());
            self.left_out = 0;
        }
        held
    }
}

impl Write for HeldLog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.with(|state| {
            if !state.holding {
                io::stderr().write_all(line)?;
            } else if state.held.len() + line.len() > HELD_MAX_BYTES {
                state.left_out += 1;
            } else {
                state.held.extend_from_slice(line);
            }
            Ok(line.len())
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_wait_until_they_are_taken_and_a_flood_is_counted() {
        let log = HeldLog::default();
        log.hold();
        let line = [b'x'; 1_023];
        for _ in 0..20 {
            log.clone().write_all(&[&line[..], b"\n"].concat()).unwrap();
        }
        let held = String::from_utf8(log.take()).unwrap();
        assert_eq!(held.lines().count(), 17);
        assert!(held.ends_with("\nand 4 log lines more\n"), "{held}");
        assert!(log.take().is_empty());
    }
}
