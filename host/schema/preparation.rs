//! What is done with every event of a route before its plugin is called.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::confluent::{RegisteredDecoder, SchemaRegistry};
use super::decode::VIEW_BYTES_MAX;
use super::{Checker, CloudEvents, Decoded, Decoder, Event, Flaw, Place, Rules, View};
use crate::config::{self, Decode};

/// How often somebody who waits asks whether what is needed has come.
const PAUSE: Duration = Duration::from_millis(20);

/// What a route asks for: that events are decoded, or checked, or first the one and then the other. A route that asks
/// for nothing has none of these, and pays nothing.
#[derive(Debug, Clone)]
pub struct Preparation {
    decoder: Option<Arc<dyn Decoder>>,
    checker: Option<Checker>,
}

/// What came of preparing an event.
#[derive(Debug)]
pub enum Prepared {
    /// It may run, and its plugin is shown this view of it; none is the record itself.
    Ready(Option<View>),
    /// It is not what it must be, and never will be.
    Flawed(Flaw),
    /// It has to wait for something outside, so many milliseconds, and is then prepared again.
    NotNow {
        /// How long, in milliseconds.
        after_ms: u64,
    },
}

impl Preparation {
    /// What a route asks for; none where that is nothing.
    #[must_use]
    pub fn new(decoder: Option<Arc<dyn Decoder>>, checker: Option<Checker>) -> Option<Self> {
        let asks = decoder.is_some() || checker.is_some();
        asks.then_some(Self { decoder, checker })
    }

    /// What a route asks for, with its rules and the registry where it needs them; none where that is nothing. A
    /// registry that is needed and not there is refused by the configuration.
    pub(crate) fn of(
        route: &config::Route,
        rules: Option<&Arc<Rules>>,
        registry: Option<&Arc<SchemaRegistry>>,
    ) -> Option<Self> {
        let checker = rules.map(|rules| Checker::new(Arc::clone(rules), Place::Group));
        let decoder: Option<Arc<dyn Decoder>> = match route.decode {
            None => None,
            Some(Decode::CloudEvents) => Some(Arc::new(CloudEvents)),
            Some(Decode::Registered(format)) => registry.map(|registry| {
                let decoder = RegisteredDecoder::new(Arc::clone(registry), format);
                Arc::new(decoder) as Arc<dyn Decoder>
            }),
        };
        Self::new(decoder, checker)
    }

    /// Takes up other rules where there are some. Called between two batches.
    pub fn take_up(&mut self) {
        if let Some(checker) = &mut self.checker {
            checker.take_up();
        }
    }

    /// Counts an event that is given up for this. One that is flawed may have to wait first, and is prepared again.
    pub fn count(&self, flaw: &Flaw) {
        if let Some(checker) = &self.checker {
            checker.count(flaw);
        }
    }

    /// Prepares one event.
    #[must_use]
    pub fn prepare(&self, event: &Event<'_>) -> Prepared {
        let view = match self.decode(event) {
            Decoded::AsIs => None,
            Decoded::View(view) => Some(view),
            Decoded::Invalid(flaw) => return Prepared::Flawed(flaw),
            Decoded::NotNow { after_ms } => return Prepared::NotNow { after_ms },
        };
        let checked = match &self.checker {
            Some(checker) => checker.check(event, view.as_ref()),
            None => Ok(()),
        };
        match checked {
            Ok(()) => Prepared::Ready(view),
            Err(flaw) => Prepared::Flawed(flaw),
        }
    }

    /// Prepares one event, and waits so long for what it needs: for whoever is no lane.
    #[must_use]
    pub fn prepare_within(&self, event: &Event<'_>, patience: Duration) -> Prepared {
        let until = Instant::now() + patience;
        loop {
            match self.prepare(event) {
                Prepared::NotNow { .. } if Instant::now() < until => thread::sleep(PAUSE),
                prepared => return prepared,
            }
        }
    }

    fn decode(&self, event: &Event<'_>) -> Decoded {
        let Some(decoder) = &self.decoder else {
            return Decoded::AsIs;
        };
        match decoder.decode(event) {
            Decoded::View(view) if view.bytes() > VIEW_BYTES_MAX => {
                let message = format!(
                    "the decoded event has {} bytes, and at most {VIEW_BYTES_MAX} are shown to a plugin",
                    view.bytes()
                );
                Decoded::Invalid(Flaw::undecodable("too-large", message))
            }
            decoded => decoded,
        }
    }
}
