//! Figures of the configuration that a running host takes up.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{IntGaugeVec, Registry, Result};

use super::families::gauge;

#[derive(Debug, Clone)]
pub(super) struct ConfigurationFamilies {
    successful: IntGaugeVec,
    succeeded_at: IntGaugeVec,
}

impl ConfigurationFamilies {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        Ok(Self {
            successful: gauge(
                registry,
                "millrace_config_last_reload_successful",
                "Whether the configuration that was to be taken up last serves; the start counts.",
                &[],
            )?,
            succeeded_at: gauge(
                registry,
                "millrace_config_last_reload_success_timestamp_seconds",
                "When a configuration was taken up last, since the Unix epoch.",
                &[],
            )?,
        })
    }

    pub(super) fn taken(&self) {
        self.successful.with_label_values::<&str>(&[]).set(1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_secs());
        self.succeeded_at
            .with_label_values::<&str>(&[])
            .set(i64::try_from(now).unwrap_or(i64::MAX));
    }

    pub(super) fn refused(&self) {
        self.successful.with_label_values::<&str>(&[]).set(0);
    }
}
