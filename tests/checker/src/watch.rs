//! Notes the group's commits while a run goes on, so that it is known afterwards when they moved.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::{Place, Unchecked, topics};

/// Between two looks. Below the host's own commit interval, so that hardly a commit goes unseen.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Looks until the standard input ends, which it does when whoever started this ends or lets go of it.
pub(crate) fn run(place: &Place) -> Result<(), Unchecked> {
    static OVER: AtomicBool = AtomicBool::new(false);
    thread::spawn(|| {
        // An input that cannot be read is one that has ended.
        let _ended = std::io::stdin().read_to_end(&mut Vec::new());
        OVER.store(true, Ordering::Release);
    });
    let asker = topics::asker(&place.brokers, &place.group)?;
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(place.evidence.join("commits.jsonl"))?;
    while !OVER.load(Ordering::Acquire) {
        // A broker that is away has no answer; the gap in the notes says so.
        if let Ok(sample) = topics::sample(&asker, &place.source) {
            let mut line = serde_json::to_vec(&sample)?;
            line.push(b'\n');
            file.write_all(&line)?;
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}
