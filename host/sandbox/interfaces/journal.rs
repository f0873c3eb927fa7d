//! `millrace:plugin/journal`: buffered lines for a file that the host owns.

use super::super::effects::JournalLine;
use super::super::fault::{FaultKind, Violation};
use super::super::host_state::HostState;
use super::super::packed::Span;
use super::generated::millrace::plugin::journal::Host;

impl Host for HostState {
    fn append(&mut self, line: Vec<u8>) -> wasmtime::Result<()> {
        self.count_call()?;
        append(self, self.event_index, &line)
    }

    fn append_many(&mut self, bytes: Vec<u8>, slots: Vec<u64>) -> wasmtime::Result<()> {
        self.count_call()?;
        let malformed = || {
            Violation::error(
                FaultKind::Output,
                "journal",
                "a journal slot does not fit its bytes",
            )
        };
        let Some((stride, slots)) = slots.split_first() else {
            return Ok(());
        };
        if *stride < 2 || *stride > 64 {
            return Err(malformed());
        }
        for slot in slots.chunks_exact(*stride as usize) {
            let line = Span(slot[1]).of(&bytes).ok_or_else(malformed)?;
            self.check_index(slot[0] as u32)?;
            append(self, slot[0] as u32, line)?;
        }
        Ok(())
    }
}

fn append(state: &mut HostState, event_index: u32, line: &[u8]) -> wasmtime::Result<()> {
    if line.contains(&b'\n') {
        let message = "a journal line has a line break inside; one append is one line";
        return Err(Violation::error(FaultKind::Output, "journal", message));
    }
    // Lines may overlap in the guest's bytes, so a few of those can make any number here.
    state.count_effect(line.len())?;
    let effects = &mut state.effects;
    let start = effects.journal_bytes.len();
    effects.journal_bytes.extend_from_slice(line);
    effects.journal.push(JournalLine {
        event_index,
        start,
        len: line.len(),
    });
    Ok(())
}
