//! Memory and tables of one instance, summed over all of them.

use wasmtime::ResourceLimiter;

use crate::config::Limits;

/// Counts what an instance has and refuses what goes past its limits.
#[derive(Debug)]
pub(super) struct InstanceLimits {
    /// Bytes of linear memory.
    pub(super) memory: Sum,
    pub(super) table_elements: Sum,
    counts_max: [u32; 3],
}

/// What an instance has of one kind, in all places together.
#[derive(Debug, Default)]
pub(super) struct Sum {
    now: usize,
    max: usize,
    /// Set when more was refused, to tell that from any other reason for a trap.
    pub(super) refused: bool,
}

impl Sum {
    fn of_at_most(max: usize) -> Self {
        Self {
            max,
            ..Self::default()
        }
    }

    /// Counts one place that is to grow, where there is room for it.
    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let sum = self.now.saturating_add(desired.saturating_sub(current));
        if sum > self.max {
            self.refused = true;
            return false;
        }
        self.now = sum;
        true
    }
}

impl InstanceLimits {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            memory: Sum::of_at_most(limits.memory_bytes),
            table_elements: Sum::of_at_most(limits.table_elements),
            counts_max: [limits.instances, limits.tables, limits.memories],
        }
    }

    /// Linear memory of the instance, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory.now
    }
}

impl ResourceLimiter for InstanceLimits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.memory.grow(current, desired))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.table_elements.grow(current, desired))
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
        assert!(!limits.memory.refused);
        assert!(!limits.memory_growing(40, 41, None).unwrap());
        assert!(limits.memory.refused);
        assert_eq!(limits.memory_bytes(), 100);
    }

    #[test]
    fn table_elements_are_summed_over_all_tables() {
        let mut limits = limits();
        assert!(limits.table_growing(0, 150, None).unwrap());
        assert!(limits.table_growing(0, 50, None).unwrap());
        assert!(!limits.table_elements.refused);
        assert!(!limits.table_growing(0, 1, None).unwrap());
        assert!(limits.table_elements.refused);
    }
}
