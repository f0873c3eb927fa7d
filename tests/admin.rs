//! What an operator sees of a running host: the admin interface, the commands that ask it, and its page in a real
//! browser.

use std::time::Duration;

use crate::harness::host::{Host, Setup};
use crate::harness::kafka;
use crate::harness::topic::Record;
use crate::harness::wait;
use crate::harness::witness::Witness;

// The commands that show it on a terminal.
mod commands;
// Every answer is one that the OpenAPI document describes.
mod described;
// Dead letters, one by one, put back and removed.
mod letters;
// The page.
mod page;
// Its dead letters.
mod page_letters;

/// Events are settled in well under a second, on a machine that does nothing else.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A group of which one partition waits for a retry and the other has one dead letter.
struct Trouble {
    witness: Witness,
    setup: Setup,
}

impl Trouble {
    fn new(hint: &str) -> Self {
        let witness = Witness::new(hint, 2);
        let setup = Setup::new(kafka::shared(), &witness.config(""));
        Self { witness, setup }
    }

    /// Starts its host, and waits until there is something to see.
    #[track_caller]
    fn start(&self) -> Host {
        let host = self.setup.start();
        let waits = r#"{"do":"retry","times":1,"after-ms":600000}"#;
        self.witness.source.produce(&[
            Record::new("waits", waits).partition(0),
            Record::new("goes on", "{}").partition(1),
            Record::new("is no order", "not JSON").partition(1),
        ]);
        wait::eventually("a dead letter", TIMEOUT, || {
            !self.witness.dead_letters.read_all().is_empty()
        });
        host
    }

    fn topic(&self) -> &str {
        self.witness.source.name()
    }
}
