//! Memory and tables of one instance, summed over all of them.

use wasmtime::ResourceLimiter;

use crate::config::Limits;

/// Counts what an instance has and refuses what goes past its limits.
#[derive(Debug)]
pub(super) struct InstanceLimits {
    memory_bytes_max: usize,
    memory_bytes: usize,
    table_elements_max: usize,
    table_elements: usize,
    counts_max: [u32; 3],
    /// Set when memory was refused, to tell an allocation failure from any other trap.
    pub(super) memory_refused: bool,
    /// The same for table elements.
    pub(super) table_refused: bool,
}

impl InstanceLimits {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            memory_bytes_max: limits.memory_bytes,
            memory_bytes: 0,
            table_elements_max: limits.table_elements,
            table_elements: 0,
            counts_max: [limits.instances, limits.tables, limits.memories],
            memory_refused: false,
            table_refused: false,
        }
    }

    /// Linear memory of the instance, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
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
        if sum > self.table_elements_max {
            self.table_refused = true;
            return Ok(false);
        }
        self.table_elements = sum;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.counts_max[0] as usize
    }

    fn tables(&self) -> usize {
        self.counts_max[1] as usize
    }

    fn memories(&self) -> usize {
        self.counts_max[2] as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> InstanceLimits {
        InstanceLimits::new(&Limits {
            memory_bytes: 100,
            table_elements: 200,
            ..Limits::default()
        })
    }

    #[test]
    fn memory_is_summed_over_all_memories() {
        let mut limits = limits();
        assert!(limits.memory_growing(0, 60, None).unwrap());
        assert!(limits.memory_growing(0, 40, None).unwrap());
        assert!(!limits.memory_refused);
        assert!(!limits.memory_growing(40, 41, None).unwrap());
        assert!(limits.memory_refused);
        assert_eq!(limits.memory_bytes(), 100);
    }

    #[test]
    fn table_elements_are_summed_over_all_tables() {
        let mut limits = limits();
        assert!(limits.table_growing(0, 150, None).unwrap());
        assert!(limits.table_growing(0, 50, None).unwrap());
        assert!(!limits.table_refused);
        assert!(!limits.table_growing(0, 1, None).unwrap());
        assert!(limits.table_refused);
    }
}
