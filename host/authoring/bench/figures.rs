//! What a bench has found out, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::Phase;
use crate::authoring::figures::{bytes, duration, grouped, micros};

/// Where the measuring thread had less of the processor than this, it is said.
const CPU_SHARE_NOTED: f64 = 0.9;

/// What was measured.
#[derive(Debug)]
pub struct Figures {
    /// Events of a call.
    pub batch: usize,
    /// Key and value of an event, on average, in bytes.
    pub event_bytes: usize,
    /// What part of the time of whole batches this thread had the processor for. Less than all of it means that the
    /// machine was busy with other things, or that the plugin waits.
    pub cpu_share: f64,
    pub(super) together: Phase,
    pub(super) alone: Phase,
    pub(super) empty: Option<Duration>,
    /// Memory of the instance at first and at last, in bytes.
    pub memory_bytes: (usize, usize),
    /// How many events came to what.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// What the first event that failed said.
    pub failure: Option<String>,
}

/// The middle of many times, and what one in a hundred is longer than.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// The median.
    pub p50: Duration,
    /// The 99th percentile.
    pub p99: Duration,
}

impl Spread {
    fn of(times: &[Duration]) -> Self {
        let mut times = times.to_vec();
        times.sort_unstable();
        let at = |percent: usize| {
            let index = (times.len() * percent).div_ceil(100).max(1) - 1;
            times.get(index).copied().unwrap_or_default()
        };
        Self {
            p50: at(50),
            p99: at(99),
        }
    }
}

/// Nanoseconds an event.
struct Costs {
    packing: f64,
    crossing: f64,
    judging: f64,
    plugin: f64,
}

impl Costs {
    fn host(&self) -> f64 {
        self.packing + self.crossing + self.judging
    }

    fn host_share(&self) -> f64 {
        self.host() / (self.host() + self.plugin).max(f64::MIN_POSITIVE)
    }
}

impl Figures {
    /// Events a second that one lane could take, were there nothing else to do.
    #[must_use]
    pub fn events_per_second(&self) -> f64 {
        let phase = &self.together;
        let busy = phase.packing + phase.calling + phase.judging;
        phase.events as f64 / busy.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The calls of whole batches.
    #[must_use]
    pub fn call(&self) -> Spread {
        Spread::of(&self.together.calls)
    }

    /// The calls of one event each.
    #[must_use]
    pub fn event(&self) -> Spread {
        Spread::of(&self.alone.calls)
    }

    /// Every part of the time, over all events. What a call takes without any event is the host's: crossing the
    /// boundary. All the rest of a call is counted as the plugin's.
    fn costs(&self) -> Costs {
        let phase = &self.together;
        let events = phase.events.max(1) as f64;
        let each = |time: Duration| time.as_nanos() as f64 / events;
        let calls = phase.calls.len() as f64;
        let crossing = self.empty.unwrap_or_default().as_nanos() as f64 * calls / events;
        let crossing = crossing.min(each(phase.calling));
        Costs {
            packing: each(phase.packing),
            crossing,
            judging: each(phase.judging),
            plugin: each(phase.calling) - crossing,
        }
    }

    /// One JSON value.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let costs = self.costs();
        let spread = |of: Spread| json!({ "p50_us": micros(of.p50), "p99_us": micros(of.p99) });
        json!({
            "events_per_second": self.events_per_second().round(),
            "events": self.together.events + self.alone.events,
            "seconds": (self.together.took + self.alone.took).as_secs_f64(),
            "batch": self.batch,
            "event_bytes": self.event_bytes,
            "call": spread(self.call()),
            "event": spread(self.event()),
            "ns_per_event": {
                "plugin": costs.plugin.round(),
                "host": costs.host().round(),
                "packing": costs.packing.round(),
                "crossing": self.empty.map(|_| costs.crossing.round()),
                "judging": costs.judging.round(),
            },
            "host_share": costs.host_share(),
            "cpu_share": self.cpu_share,
            "memory_bytes": { "first": self.memory_bytes.0, "last": self.memory_bytes.1 },
            "outcomes": self.outcomes,
            "first_failure": self.failure,
        })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, text: String| writeln!(f, "  {name:<10} {text}");
        let rate = grouped(self.events_per_second() as u64);
        row("rate", format!("{rate} events/s on one lane"))?;
        let told = |of: Spread| format!("p50 {}, p99 {}", duration(of.p50), duration(of.p99));
        let each = self.event_bytes;
        let call = told(self.call());
        row(
            "call",
            format!("{call}, of {} events with {each} bytes each", self.batch),
        )?;
        row(
            "event",
            format!("{}, alone in its call", told(self.event())),
        )?;
        let costs = self.costs();
        let host = (costs.host_share() * 100.0).round();
        row(
            "plugin",
            format!(
                "{:.0} ns an event, {} %: its code, copying events into it, and the host's functions that it calls",
                costs.plugin,
                100.0 - host
            ),
        )?;
        let crossing = match self.empty {
            Some(_) => format!("crossing {:.1}", costs.crossing),
            None => "crossing not told apart".to_owned(),
        };
        row(
            "host",
            format!(
                "{:.0} ns an event, {host} %: packing {:.0}, {crossing}, judging {:.0}",
                costs.host(),
                costs.packing,
                costs.judging
            ),
        )?;
        let (first, last) = self.memory_bytes;
        let memory = format!(
            "{} at the start, {} at the end",
            bytes(first as u64),
            bytes(last as u64)
        );
        row("memory", memory)?;
        let outcomes = self
            .outcomes
            .iter()
            .map(|(word, count)| format!("{} {word}", grouped(*count)));
        row("outcomes", outcomes.collect::<Vec<_>>().join(", "))?;
        if self.cpu_share < CPU_SHARE_NOTED {
            let percent = (self.cpu_share * 100.0).round();
            let why = "the machine is busy, or the plugin waits; every figure is of the clock on the wall";
            row("note", format!("it ran {percent} % of the time: {why}"))?;
        }
        match &self.failure {
            Some(failure) => row("failure", format!("the first said: {failure}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(calls: usize, events: u64, calling_us: u64) -> Phase {
        Phase {
            calls: vec![Duration::from_micros(calling_us) / calls as u32; calls],
            events,
            packing: Duration::from_micros(100),
            calling: Duration::from_micros(calling_us),
            judging: Duration::from_micros(300),
            took: Duration::from_micros(calling_us + 500),
        }
    }

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let times: Vec<Duration> = (1..=200).rev().map(Duration::from_micros).collect();
        let spread = Spread::of(&times);
        assert_eq!((spread.p50, spread.p99), (times[100], times[2]));
        let one = Spread::of(&times[..1]);
        assert_eq!((one.p50, one.p99), (times[0], times[0]));
    }

    #[test]
    fn what_an_empty_call_takes_is_the_hosts_and_the_rest_of_a_call_the_plugins() {
        let figures = Figures {
            batch: 100,
            event_bytes: 10,
            cpu_share: 1.0,
            together: phase(10, 1_000, 600),
            alone: phase(1, 1, 1),
            empty: Some(Duration::from_micros(10)),
            memory_bytes: (1, 2),
            outcomes: BTreeMap::new(),
            failure: None,
        };
        let costs = figures.costs();
        assert_eq!((costs.packing, costs.judging), (100.0, 300.0));
        assert_eq!((costs.crossing, costs.plugin), (100.0, 500.0));
        assert!((figures.costs().host_share() - 0.5).abs() < 1e-9);
        assert!((figures.events_per_second() - 1e6).abs() < 1.0);
    }
}
