//! The log lines of events that are given up on: so many a second at most, with how many were not told. It must not know
//! why an event is given up.

use crate::delivery::dead_letter::Cause;
use crate::delivery::retry::Millis;

use super::super::batch::Batch;
use super::Lane;
use crate::sandbox::Problem;

/// Lines of a lane in a second. Enough to see what goes wrong; how often it does is a metric's business.
const LINES_PER_SECOND_MAX: u32 = 10;

/// Of what a plugin or a record says, in a line, in bytes.
const TEXT_BYTES_MAX: usize = 500;

/// How many lines have been written lately.
#[derive(Debug, Default)]
pub(super) struct Lines {
    second: u64,
    written: u32,
    /// Since the last line.
    untold: u64,
}

impl Lines {
    /// Whether another line may be written; then how many were not since the one before.
    fn admit(&mut self, now: Millis) -> Option<u64> {
        let second = now.0 / 1_000;
        if second != self.second {
            (self.second, self.written) = (second, 0);
        }
        if self.written >= LINES_PER_SECOND_MAX {
            self.untold += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.untold))
    }
}

impl Lane {
    /// Tells that an event goes to the dead letters, by what it can be followed with.
    pub(super) fn tell_given_up(
        &mut self,
        batch: &Batch,
        index: usize,
        (cause, attempts): (Cause, u32),
        problem: &Problem,
    ) {
        let Some(untold) = self.given_up_lines.admit(self.clock.now()) else {
            return;
        };
        let event = batch.view(index);
        let text = |bytes: &[u8]| shortened(&String::from_utf8_lossy(bytes));
        let correlation_id = event.header(self.settings.correlation.header.as_bytes());
        let trace_id = self.trace_of(batch, index);
        tracing::warn!(
            group = %self.settings.group,
            plugin = self.plugin(),
            topic = %self.settings.routing.now.topics[event.topic_index() as usize],
            partition = event.partition(),
            offset = event.offset().0,
            attempts,
            cause = cause.word(),
            code = shortened(&problem.code),
            reason = shortened(&problem.message),
            correlation_id = correlation_id.map(text),
            trace_id = trace_id.map(|trace| format!("{trace:032x}")),
            untold = (untold > 0).then_some(untold),
            "an event is given up on; it goes to the dead letters"
        );
    }
}

fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_few_and_say_what_they_leave_out() {
        let mut lines = Lines::default();
        let told: Vec<_> = (0..15).filter_map(|_| lines.admit(Millis(5_100))).collect();
        assert_eq!(told, [0; 10]);
        assert_eq!(lines.admit(Millis(6_000)), Some(5));
        assert_eq!(lines.admit(Millis(6_001)), Some(0));
    }
}
