//! `millrace:plugin/tally`: buffered changes of named sums, and taking what has settled in a tick.

use super::super::effects::{TallyChange, TallyOp};
use super::super::fault::{FaultKind, Violation};
use super::super::host_state::HostState;
use super::NAME_BYTES_MAX;
use super::generated::millrace::plugin::tally::{Change, Host, Operation};

impl Host for HostState {
    fn add(&mut self, name: String, value: i64) -> wasmtime::Result<()> {
        self.count_call()?;
        change(self, self.event_index, TallyOp::Add, name, value)
    }

    fn max(&mut self, name: String, value: i64) -> wasmtime::Result<()> {
        self.count_call()?;
        change(self, self.event_index, TallyOp::Max, name, value)
    }

    fn min(&mut self, name: String, value: i64) -> wasmtime::Result<()> {
        self.count_call()?;
        change(self, self.event_index, TallyOp::Min, name, value)
    }

    fn merge(&mut self, changes: Vec<Change>) -> wasmtime::Result<()> {
        self.count_call()?;
        for Change {
            event_index,
            operation,
            name,
            value,
        } in changes
        {
            let op = match operation {
                Operation::Add => TallyOp::Add,
                Operation::Max => TallyOp::Max,
                Operation::Min => TallyOp::Min,
            };
            self.check_index(event_index)?;
            change(self, event_index, op, name, value)?;
        }
        Ok(())
    }

    fn take(&mut self, prefix: String) -> wasmtime::Result<Vec<(String, i64)>> {
        self.count_call()?;
        let sums = self.sums.as_mut().ok_or_else(|| {
            Violation::error(
                FaultKind::Capability,
                "take",
                "tally.take outside of on-tick",
            )
        })?;
        let (taken, left): (Vec<_>, Vec<_>) = std::mem::take(&mut sums.left)
            .into_iter()
            .partition(|(name, _)| name.starts_with(&prefix));
        sums.left = left;
        sums.taken.extend(taken.iter().cloned());
        Ok(taken)
    }
}

fn change(
    state: &mut HostState,
    event_index: u32,
    op: TallyOp,
    name: String,
    value: i64,
) -> wasmtime::Result<()> {
    if name.len() > NAME_BYTES_MAX {
        let message = format!("the name of a tally is longer than {NAME_BYTES_MAX} bytes");
        return Err(Violation::error(FaultKind::Output, "tally", message));
    }
    state.count_effect(name.len())?;
    state.effects.tallies.push(TallyChange {
        event_index,
        op,
        name,
        value,
    });
    Ok(())
}
