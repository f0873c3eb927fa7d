//! Memory and tables of one instance, summed over all of them.

use wasmtime::ResourceLimiter;

/// Table elements of one instance over all its tables. Go's tables, the largest seen, have 7 689.
const TABLE_ELEMENTS_MAX: usize = 20_000;

/// Counts what an instance has and refuses what goes past its limits.
#[derive(Debug)]
pub(super) struct InstanceLimits {
    memory_bytes_max: usize,
    memory_bytes: usize,
    table_elements: usize,
    /// Set when memory was refused, to tell an allocation failure from any other trap.
    pub(super) memory_refused: bool,
}

impl InstanceLimits {
    pub(super) fn new(memory_bytes_max: usize) -> Self {
        Self {
            memory_bytes_max,
            memory_bytes: 0,
            table_elements: 0,
            memory_refused: false,
        }
    }
}

impl ResourceLimiter for InstanceLimits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let sum = self
            .memory_bytes
            .saturating_add(desired.saturating_sub(current));
        if sum > self.memory_bytes_max {
            self.memory_refused = true;
            return Ok(false);
        }
        self.memory_bytes = sum;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let sum = self
            .table_elements
            .saturating_add(desired.saturating_sub(current));
        if sum > TABLE_ELEMENTS_MAX {
            return Ok(false);
        }
        self.table_elements = sum;
        Ok(true)
    }

    fn instances(&self) -> usize {
        20
    }

    fn tables(&self) -> usize {
        20
    }

    fn memories(&self) -> usize {
        4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_summed_over_all_memories() {
        let mut limits = InstanceLimits::new(100);
        assert!(limits.memory_growing(0, 60, None).unwrap());
        assert!(limits.memory_growing(0, 40, None).unwrap());
        assert!(!limits.memory_refused);
        assert!(!limits.memory_growing(40, 41, None).unwrap());
        assert!(limits.memory_refused);
    }

    #[test]
    fn table_elements_are_summed_over_all_tables() {
        let mut limits = InstanceLimits::new(100);
        assert!(limits.table_growing(0, TABLE_ELEMENTS_MAX, None).unwrap());
        assert!(!limits.table_growing(0, 1, None).unwrap());
    }
}
