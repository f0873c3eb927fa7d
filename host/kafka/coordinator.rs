//! A group's coordinator that is not there yet: it moves with a broker's death, and reads its log before it answers.
//! It must not know what it is asked.

use std::thread;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode as Code;

/// Until it is asked again: a coordinator that refuses does so at once, and begins within seconds.
pub(super) const PAUSE: Duration = Duration::from_millis(200);

/// Whether whoever says this may answer in a moment, or sends to another broker then.
pub(super) fn has_yet_to_begin(code: Code) -> bool {
    matches!(
        code,
        Code::NotCoordinator
            | Code::CoordinatorNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::WaitingForCoordinator
    )
}

/// Asks until the answer is one, or the time is over. Blocks.
pub(super) fn asked<T>(until: Instant, begins: impl Fn(&T) -> bool, ask: impl Fn() -> T) -> T {
    loop {
        let answer = ask();
        if !begins(&answer) || Instant::now() >= until {
            return answer;
        }
        thread::sleep(PAUSE);
    }
}
