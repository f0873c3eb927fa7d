//! What differs between runs: the tier, and how a host is configured.

use crate::harness::process;

/// Events between the last commit and the position of one host at most, when nothing holds it up: what it does
/// in a commit interval, and its batches.
pub(crate) const IN_FLIGHT_MAX: u64 = 2_048;

/// How large a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    /// A part of `make test`.
    Short,
    /// `make fault`.
    Long,
}

impl Tier {
    /// The tier of this process; only the Makefile chooses another than the short one.
    pub(crate) fn now() -> Self {
        match process::setting("MILLRACE_FAULT_TIER").as_deref() {
            Some("long") => Self::Long,
            _ => Self::Short,
        }
    }

    /// One of two figures.
    pub(crate) fn pick<T>(self, short: T, long: T) -> T {
        match self {
            Self::Short => short,
            Self::Long => long,
        }
    }

    /// The name of the folder of its reports.
    pub(crate) fn name(self) -> &'static str {
        self.pick("short", "long")
    }
}

/// How a host of a run is configured.
#[derive(Debug, Clone)]
pub(crate) struct Tuning {
    /// How long a silent member is waited for, in milliseconds.
    pub(crate) session_ms: u32,
    /// How long a drain may take, in milliseconds.
    pub(crate) drain_ms: u32,
    /// Further properties of librdkafka.
    pub(crate) properties: Vec<(&'static str, String)>,
    /// How long the plugin takes for each event, in microseconds.
    pub(crate) wait_us: u32,
    /// When what the plugin depends on is down, `FROM-UNTIL` in milliseconds since the Unix epoch.
    pub(crate) down_ms: String,
    /// The deadline of a call.
    pub(crate) deadline: &'static str,
    /// Further lines of the group.
    pub(crate) group: &'static str,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            session_ms: 6_000,
            drain_ms: 4_000,
            properties: Vec::new(),
            wait_us: 0,
            down_ms: String::new(),
            deadline: "1s",
            group: "",
        }
    }
}

impl Tuning {
    /// With sessions of this length, and drains that fit into them.
    pub(crate) fn session_ms(mut self, session_ms: u32) -> Self {
        (self.session_ms, self.drain_ms) = (session_ms, session_ms * 2 / 3);
        self
    }

    /// With one more property of librdkafka.
    pub(crate) fn property(mut self, name: &'static str, value: impl ToString) -> Self {
        self.properties.push((name, value.to_string()));
        self
    }

    /// With a plugin that takes this long for each event.
    pub(crate) fn wait_us(mut self, wait_us: u32) -> Self {
        self.wait_us = wait_us;
        self
    }

    /// With an outage of what the plugin depends on, in milliseconds since the Unix epoch.
    pub(crate) fn down_ms(mut self, from_ms: i64, until_ms: i64) -> Self {
        self.down_ms = format!("{from_ms}-{until_ms}");
        self
    }

    /// With this deadline for a call.
    pub(crate) fn deadline(mut self, deadline: &'static str) -> Self {
        self.deadline = deadline;
        self
    }

    /// With further lines of the group.
    pub(crate) fn group(mut self, lines: &'static str) -> Self {
        self.group = lines;
        self
    }

    /// The section `kafka` and the drain time-out. The host has its name among the group's members too.
    pub(crate) fn kafka(&self, brokers: &str, host: &str) -> String {
        let further: String = self
            .properties
            .iter()
            .map(|(name, value)| format!(", {name}: \"{value}\""))
            .collect();
        format!(
            "kafka:\n  brokers: {brokers}\n  properties: {{ session.timeout.ms: {}, \
             heartbeat.interval.ms: 500, client.id: {host}{further} }}\ndrain_timeout: {}ms\n",
            self.session_ms, self.drain_ms
        )
    }
}
