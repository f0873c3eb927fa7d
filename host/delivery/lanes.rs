//! Which lane an event belongs to, by what must keep its order.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// What keeps its order within a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderBy {
    /// Everything of one partition.
    Partition,
    /// Everything of one key; a null key counts as its partition.
    Key,
    /// Nothing; events with the same id still meet on one lane.
    Id,
}

/// A hash that is equal for events that must keep their order among each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderGroup(pub u64);

/// A map by order group. A group is a hash already, so it is not hashed once more: every event asks whether
/// its group is held while any is.
pub type GroupMap<V> = HashMap<OrderGroup, V, BuildHasherDefault<AsItIs>>;

/// Takes a number for its own hash.
#[derive(Debug, Default, Clone, Copy)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Never called for an order group; a sum is a poor hash and a correct one.
        self.0 = bytes
            .iter()
            .fold(self.0, |sum, byte| sum.wrapping_add(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

impl OrderGroup {
    /// Combines the hash of the partition with the hash of the key or id, where there is one.
    #[must_use]
    pub fn new(partition_hash: u64, part_hash: Option<u64>) -> Self {
        // The multiplier is the golden ratio in 64 bits; it spreads neighbouring partitions.
        let mixed = partition_hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(part_hash.map_or(mixed, |part| part ^ mixed))
    }

    /// The lane of this group among `lanes`, which is at least 1.
    #[must_use]
    pub fn lane(self, lanes: usize) -> usize {
        // Multiply-shift maps the hash to a range without a division.
        ((u128::from(self.0) * lanes as u128) >> 64) as usize
    }

    /// The group as a batch carries it. Two groups that share these bits are held together, which costs
    /// a little parallelism and never order.
    #[must_use]
    pub fn in_batch(self) -> u32 {
        self.0 as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_of_one_partition_always_meets_the_same_lane() {
        let group = OrderGroup::new(3, Some(99));
        assert_eq!(group.lane(7), OrderGroup::new(3, Some(99)).lane(7));
        assert_ne!(group, OrderGroup::new(4, Some(99)));
    }

    #[test]
    fn lanes_share_the_keys_evenly() {
        let mut counts = [0_u32; 8];
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..80_000 {
            counts[OrderGroup::new(1, Some(random.u64(..))).lane(8)] += 1;
        }
        assert!(
            counts.iter().all(|count| (9_000..11_000).contains(count)),
            "{counts:?}"
        );
    }
}
