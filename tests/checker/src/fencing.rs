//! I9: one owner of a partition at a time. Copies carry the name of their host, and an owner that gives a
//! partition up in order writes that it does; the order of the output says who came after whom.

use std::collections::{BTreeMap, BTreeSet};

use crate::CheckArgs;
use crate::evidence::{Evidence, Kind};
use crate::report::Report;
use crate::topics::{Copy, Found, Written};

/// Who has a partition, as far as its copies tell.
#[derive(Debug, Default)]
struct Ownership {
    owner: Option<String>,
    /// Owners that another one followed although they had not closed.
    deposed: BTreeSet<String>,
    /// When the owner wrote last, in milliseconds since the Unix epoch.
    last_ms: i64,
}

impl Ownership {
    /// Takes a copy in. Says so when its host is not the owner any more.
    fn wrote(&mut self, copy: &Copy, evidence: &Evidence) -> Option<String> {
        let owner = self.owner.clone();
        let late = match owner {
            Some(owner) if owner != copy.host => {
                // The owner may have been killed or stopped since it wrote last; then the next one is right.
                let fell = evidence.marks.iter().any(|mark| {
                    let its_own = mark.host.as_deref() == Some(&owner);
                    mark.kind == Kind::Fallen
                        && (its_own || mark.host.is_none())
                        && mark.until_ms >= self.last_ms - SETTLED_MS
                        && mark.from_ms <= copy.at_ms
                });
                if self.deposed.contains(&copy.host) && !fell {
                    return Some(format!(
                        "{} wrote {:?} while {owner} had the partition",
                        copy.host, copy.from
                    ));
                }
                self.deposed.insert(owner);
                None
            }
            _ => None,
        };
        self.deposed.remove(&copy.host);
        self.owner = Some(copy.host.clone());
        self.last_ms = copy.at_ms;
        late
    }
}

/// What an owner wrote last may be acknowledged this long after it was stopped, in milliseconds.
const SETTLED_MS: i64 = 1_000;

/// Looks at the copies of each partition in their order.
pub(crate) fn one_owner_at_a_time(
    args: &CheckArgs,
    evidence: &Evidence,
    found: &Found,
    report: &mut Report,
) {
    let mut partitions: BTreeMap<i32, Ownership> = BTreeMap::new();
    let (mut late, mut owners) = (Vec::new(), BTreeSet::new());
    for written in &found.written {
        match written {
            Written::Copy(copy) => {
                owners.insert(copy.host.as_str());
                let ownership = partitions.entry(copy.from.0).or_default();
                late.extend(ownership.wrote(copy, evidence));
            }
            Written::Closed { partition, host } => {
                let ownership = partitions.entry(*partition).or_default();
                ownership.deposed.remove(host);
                // One that is repeated after a crash, or comes late, says nothing about the owner of now.
                if ownership.owner.as_ref() == Some(host) {
                    ownership.owner = None;
                }
            }
        }
    }
    report.late = late.len() as u64;
    if owners.len() < 2 {
        report.unchecked("I9", "there was only one host");
        return;
    }
    let looked_at = format!(
        "{} hosts; {} copies of an owner after the next one's first, {} allowed",
        owners.len(),
        late.len(),
        args.late_max
    );
    let beyond = late.len() as u64 > args.late_max;
    report.found("I9", looked_at, late.into_iter().filter(|_| beyond));
}
