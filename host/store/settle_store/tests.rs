//! What a settle leaves behind, after opening again, after failures and after damage.

use std::path::{Path, PathBuf};

use super::*;
use crate::delivery::offsets::{Applied, Offset, OffsetRange};

/// Enough that each way of damage meets each part of the file; a second or two.
const DAMAGED_FILES: u64 = 300;

fn settle_of(topic: &str) -> Settle {
    let applied = Applied {
        below: Some(Offset(10)),
        ranges: vec![OffsetRange {
            first: Offset(12),
            last: Offset(13),
        }],
    };
    let sum = Sum {
        plugin: "p".into(),
        name: "n".into(),
        operation: 0,
        value: -3,
    };
    let emission = Emission {
        number: 7,
        id: "x-7".into(),
        ..Emission::default()
    };
    Settle {
        partitions: vec![(
            topic.into(),
            1,
            PartitionRow::new(Some(Offset(9)), &applied),
        )],
        sums: vec![(topic.into(), 1, sum, true)],
        emissions: vec![(topic.into(), 1, emission)],
        journals: vec![(
            "p".into(),
            JournalPosition {
                segment: 2,
                len_bytes: 99,
                began_ms: 5,
            },
        )],
        state: vec![(b"k".to_vec(), Some((b"v".to_vec(), Some(50))))],
        ..Settle::default()
    }
}

#[test]
fn what_was_settled_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = SettleStore::open(folder.path()).unwrap();
    store.settle(&settle_of("t")).unwrap();
    store.settle(&settle_of("t2")).unwrap();
    let incarnation = store.incarnation();
    drop(store);
    let store = SettleStore::open(folder.path()).unwrap();
    assert_ne!(
        store.incarnation(),
        incarnation,
        "what is emitted now gets new ids"
    );
    let stored = store.partition("t", 1).unwrap();
    assert_eq!(stored.row.unwrap().applied().end(), Some(Offset(14)));
    assert_eq!((stored.sums.len(), stored.outbox.len()), (1, 1));
    assert_eq!(store.next_emission().unwrap(), 8);
    assert_eq!(
        store.journal("p").unwrap(),
        Some(JournalPosition {
            segment: 2,
            len_bytes: 99,
            began_ms: 5
        })
    );
    assert_eq!(store.state(b"k", 49).unwrap(), Some(b"v".to_vec()));
    assert_eq!(store.state(b"k", 50).unwrap(), None, "its time has run out");
    assert_eq!(store.partition("t", 0).unwrap(), StoredPartition::default());
}

#[test]
fn forgetting_one_partition_leaves_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let store = SettleStore::open(folder.path()).unwrap();
    store.settle(&settle_of("t")).unwrap();
    store.settle(&settle_of("t2")).unwrap();
    store.forget("t", 1).unwrap();
    assert_eq!(store.partition("t", 1).unwrap(), StoredPartition::default());
    assert!(store.partition("t2", 1).unwrap().row.is_some());
}

#[test]
fn a_store_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _first = SettleStore::open(folder.path()).unwrap();
    assert!(matches!(
        SettleStore::open(folder.path()),
        Err(StoreError::InUse { .. })
    ));
}

fn file_in(folder: &Path) -> PathBuf {
    folder.join("settle.redb")
}

/// Hundreds of stores that are synced again and again: where there is a file system in memory, there.
fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// The files that were set aside.
fn set_aside(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|file| file.to_string_lossy().contains(".set-aside-"))
        .collect()
}

/// Opens a store over these bytes, which must be set aside as they are.
fn expect_set_aside(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(file_in(folder.path()), bytes).unwrap();
    let store = SettleStore::open(folder.path()).unwrap();
    assert_eq!(store.partition("t", 1).unwrap(), StoredPartition::default());
    store.settle(&settle_of("t")).unwrap();
    let aside = set_aside(folder.path());
    assert_eq!(aside.len(), 1);
    assert!(
        std::fs::read(&aside[0]).unwrap() == bytes,
        "what is set aside is not touched"
    );
}

#[test]
fn what_is_no_store_is_set_aside_untouched_and_a_fresh_one_begins() {
    expect_set_aside(b"");
    expect_set_aside(b"this is no database");
    expect_set_aside(&[0; 100_000]);
    let mut foreign = b"SQLite format 3\0".to_vec();
    foreign.resize(20_000, 7);
    expect_set_aside(&foreign);
}

#[test]
fn a_store_of_a_later_version_is_set_aside_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let store = SettleStore::open(folder.path()).unwrap();
    store.settle(&settle_of("t")).unwrap();
    store
        .write(|write| Ok(write.open_table(META)?.insert("layout", 2).map(drop)?))
        .unwrap();
    drop(store);
    let store = SettleStore::open(folder.path()).unwrap();
    assert_eq!(store.partition("t", 1).unwrap(), StoredPartition::default());
    let aside = set_aside(folder.path());
    assert_eq!(aside.len(), 1);
    // The database may note in the file that it was opened; its rows stay.
    let kept = Database::open(&aside[0]).unwrap();
    let read = redb::ReadableDatabase::begin_read(&kept).unwrap();
    let layout = read.open_table(META).unwrap().get("layout").unwrap();
    assert_eq!(layout.map(|value| value.value()), Some(2));
}

type Says = (
    Vec<StoredPartition>,
    u64,
    Option<JournalPosition>,
    Vec<Option<Vec<u8>>>,
);

/// Everything a store says.
fn all_of(store: &SettleStore) -> Says {
    (
        ["t", "t2", "t3"]
            .map(|topic| store.partition(topic, 1).unwrap())
            .into(),
        store.next_emission().unwrap(),
        store.journal("p").unwrap(),
        (0..200_u32)
            .map(|n| store.state(&n.to_be_bytes(), 0).unwrap())
            .collect(),
    )
}

/// Damages a file as disks, crashes and people do.
fn damage(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    let at = random.usize(0..bytes.len());
    let end = (at + random.usize(1..8_192)).min(bytes.len());
    match random.u8(0..7) {
        0 => bytes[at] ^= 1 << random.u8(0..8),
        1 => {
            for _ in 0..random.usize(2..40) {
                let at = random.usize(0..bytes.len());
                bytes[at] = random.u8(..);
            }
        }
        2 => bytes[at..end].fill(0),
        3 => random.fill(&mut bytes[at..end]),
        4 => bytes.truncate(at),
        // A tail that was never written.
        5 => bytes[at..].fill(0),
        // The header, where a small file keeps everything that matters.
        _ => {
            let at = random.usize(0..320);
            bytes[at] ^= 1 << random.u8(0..8);
        }
    }
}

/// Whatever is done to the file: it is believed only where it still says exactly what was settled, and a
/// fresh store begins otherwise. After a kill that may be the settle before the last: the database takes a
/// damaged last one for one that the kill cut off, which is all that can be known.
#[test]
fn a_damaged_store_is_set_aside_or_says_exactly_what_was_settled() {
    let folder = in_memory();
    let store = SettleStore::open(folder.path()).unwrap();
    let (mut earlier, mut settled) = (Says::default(), Says::default());
    for (number, topic) in ["t", "t2", "t3"].into_iter().enumerate() {
        let mut settle = settle_of(topic);
        settle.emissions[0].2.number = 7 + number as u64;
        let value = |n: u32| Some((vec![topic.len() as u8; n as usize], None));
        settle.state = (0..200_u32)
            .map(|n| (n.to_be_bytes().to_vec(), value(n)))
            .collect();
        store.settle(&settle).unwrap();
        earlier = std::mem::replace(&mut settled, all_of(&store));
    }
    let killed = std::fs::read(file_in(folder.path())).unwrap();
    drop(store);
    let closed = std::fs::read(file_in(folder.path())).unwrap();
    let (mut believed, mut fresh) = (0, 0);
    for seed in 0..DAMAGED_FILES {
        let mut random = fastrand::Rng::with_seed(seed);
        let was_killed = random.bool();
        let mut bytes = if was_killed { &killed } else { &closed }.clone();
        damage(&mut bytes, &mut random);
        let folder = in_memory();
        std::fs::write(file_in(folder.path()), &bytes).unwrap();
        let store = SettleStore::open(folder.path()).unwrap();
        let says = all_of(&store);
        if says.0.iter().any(|partition| partition.row.is_some()) {
            let rolled_back = was_killed && says.1 == earlier.1;
            let expected = if rolled_back { &earlier } else { &settled };
            assert!(says == *expected, "seed {seed}: something else is believed");
            believed += 1;
        } else {
            assert!(
                says.0
                    .iter()
                    .all(|each| *each == StoredPartition::default()),
                "seed {seed}"
            );
            assert!(says.3.iter().all(Option::is_none), "seed {seed}");
            assert_eq!((says.1, says.2), (0, None), "seed {seed}");
            assert_eq!(set_aside(folder.path()).len(), 1, "seed {seed}");
            fresh += 1;
        }
        store.settle(&settle_of("t")).unwrap();
        drop(store);
        let store = SettleStore::open(folder.path()).unwrap();
        assert!(
            store.partition("t", 1).unwrap().row.is_some(),
            "seed {seed}: it goes on"
        );
    }
    println!(
        "of {DAMAGED_FILES} damaged stores {believed} said the same as before, {fresh} were set aside"
    );
    assert!(
        believed > 0 && fresh > 0,
        "both happen: {believed}, {fresh}"
    );
}

#[test]
fn a_failed_write_happens_not_at_all_and_the_next_one_works() {
    let folder = tempfile::tempdir().unwrap();
    let store = SettleStore::open(folder.path()).unwrap();
    let failed = store.write::<()>(|write| {
        write
            .open_table(PARTITIONS)?
            .insert(&b"t"[..], &b"half"[..])?;
        Err(redb::Error::PreviousIo)
    });
    assert!(failed.is_err());
    store.settle(&settle_of("t")).unwrap();
    assert!(store.partition("t", 1).unwrap().row.is_some());
    store
        .read(|read| {
            assert!(read.open_table(PARTITIONS)?.get(&b"t"[..])?.is_none());
            Ok(())
        })
        .unwrap();
}
