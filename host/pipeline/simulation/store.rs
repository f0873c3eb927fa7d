//! The simulated settle store: it keeps what was settled, and nothing else of a life that has ended.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::pipeline::outside::Store;
use crate::store::{Emission, PartitionRow, Settle, StateUsage, StoreError, StoredPartition, Sum};

/// What one host has on its disk.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) number: u64,
    pub(super) rows: BTreeMap<i32, PartitionRow>,
    pub(super) sums: BTreeMap<(i32, String), Sum>,
    pub(super) outbox: BTreeMap<(i32, u64), Emission>,
    pub(super) next_emission: u64,
    /// Whether writes fail at the moment.
    pub(super) full: bool,
    /// How often rows were forgotten because another host had gone on.
    pub(super) forgotten: u32,
}

impl Store for Mutex<Disk> {
    fn incarnation(&self) -> u64 {
        self.lock().unwrap().number
    }

    fn next_emission(&self) -> Result<u64, StoreError> {
        Ok(self.lock().unwrap().next_emission)
    }

    fn partition(&self, _topic: &str, partition: i32) -> Result<StoredPartition, StoreError> {
        let disk = self.lock().unwrap();
        let sums = disk.sums.range((partition, String::new())..);
        let outbox = disk.outbox.range((partition, 0)..=(partition, u64::MAX));
        Ok(StoredPartition {
            row: disk.rows.get(&partition).cloned(),
            sums: sums
                .take_while(|((of, _), _)| *of == partition)
                .map(|(_, sum)| sum.clone())
                .collect(),
            outbox: outbox.map(|(_, emission)| emission.clone()).collect(),
        })
    }

    fn forget(&self, _topic: &str, partition: i32) -> Result<(), StoreError> {
        let mut disk = self.lock().unwrap();
        disk.rows.remove(&partition);
        disk.sums.retain(|(of, _), _| *of != partition);
        disk.outbox.retain(|(of, _), _| *of != partition);
        disk.forgotten += 1;
        Ok(())
    }

    fn settle(&self, settle: &Settle) -> Result<(), StoreError> {
        let mut disk = self.lock().unwrap();
        if disk.full {
            return Err(StoreError::Io {
                path: "disk".into(),
                message: "no space is left".to_owned(),
            });
        }
        for (_, partition, row) in &settle.partitions {
            disk.rows.insert(*partition, row.clone());
        }
        for (_, partition, sum, there) in &settle.sums {
            let key = (*partition, sum.name.clone());
            if *there {
                disk.sums.insert(key, sum.clone());
            } else {
                disk.sums.remove(&key);
            }
        }
        for (_, partition, emission) in &settle.emissions {
            disk.next_emission = emission.number + 1;
            disk.outbox
                .insert((*partition, emission.number), emission.clone());
        }
        for (_, partition, number) in &settle.acknowledged_emissions {
            disk.outbox.remove(&(*partition, *number));
        }
        Ok(())
    }

    fn expired_state(&self, _now_ms: u64) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(Vec::new())
    }

    fn state_usage_of(&self, _plugin: &str) -> StateUsage {
        StateUsage::default()
    }
}
