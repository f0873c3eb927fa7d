//! `millrace:plugin/state`: key-value state in the scope of the running event's key.

use super::super::fault::{FaultKind, Violation};
use super::super::host_state::HostState;
use super::NAME_BYTES_MAX;
use super::generated::millrace::plugin::state::Host;

impl Host for HostState {
    fn get(&mut self, name: String) -> wasmtime::Result<Option<Vec<u8>>> {
        self.count_call()?;
        check(&name)?;
        self.read_state(&name)
    }

    fn set(&mut self, name: String, value: Vec<u8>, ttl_ms: Option<u64>) -> wasmtime::Result<()> {
        self.count_call()?;
        check(&name)?;
        self.write_state(&name, Some(value), ttl_ms)
    }

    fn delete(&mut self, name: String) -> wasmtime::Result<()> {
        self.count_call()?;
        check(&name)?;
        self.write_state(&name, None, None)
    }
}

fn check(name: &str) -> wasmtime::Result<()> {
    if name.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    let message = format!("the name of a state entry is longer than {NAME_BYTES_MAX} bytes");
    Err(Violation::error(FaultKind::Output, "state", message))
}
