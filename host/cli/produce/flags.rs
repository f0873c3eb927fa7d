//! How `millrace produce` writes: the keys of `ingest.producer`, from a configuration, from `--set`, or by flags of
//! their own. One reader checks them all, with the same words.

use std::path::PathBuf;

use clap::Args;

use crate::cli::topics::Connection;
use crate::config::{self, ConfigError, Kafka, Producing};

/// The flags.
#[derive(Debug, Default, Args)]
pub(super) struct ProducerFlags {
    /// Takes the cluster and the producer (`kafka` and `ingest.producer`) from this configuration.
    #[arg(short, long, value_name = "FILE", conflicts_with = "brokers")]
    config: Option<PathBuf>,
    /// Sets a key of `kafka` or `ingest`, as in `--set ingest.producer.queue.size=1GiB`. May be repeated.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    sets: Vec<String>,
    /// Who must have an event before it counts: all, 1 or 0.
    #[arg(long)]
    acks: Option<String>,
    /// Whether the broker recognises what is sent again: true or false.
    #[arg(long)]
    idempotence: Option<String>,
    /// The most events of a batch.
    #[arg(long, value_name = "NUMBER")]
    batch_events: Option<String>,
    /// The most bytes of a batch, such as 512KiB.
    #[arg(long, value_name = "SIZE")]
    batch_size: Option<String>,
    /// How long an event may wait for others, such as 20ms.
    #[arg(long, value_name = "TIME")]
    linger: Option<String>,
    /// none, gzip, snappy, lz4 or zstd.
    #[arg(long)]
    compression: Option<String>,
    /// key, round-robin, sticky, explicit or json:/pointer.
    #[arg(long)]
    partitioning: Option<String>,
}

impl ProducerFlags {
    /// The cluster, and how it is written to.
    pub(super) fn settings(
        &self,
        connection: &Connection,
    ) -> Result<(Kafka, Producing), ConfigError> {
        let flags = [
            ("acks", &self.acks),
            ("idempotence", &self.idempotence),
            ("batch.events", &self.batch_events),
            ("batch.size", &self.batch_size),
            ("batch.linger", &self.linger),
            ("compression", &self.compression),
            ("partitioning", &self.partitioning),
        ];
        let flags = flags.into_iter().filter_map(|(key, value)| {
            let value = value.as_ref()?;
            Some(format!("ingest.producer.{key}={value}"))
        });
        let sets: Vec<String> = self.sets.iter().cloned().chain(flags).collect();
        let env = config::process_environment();
        if let Some(file) = &self.config {
            return config::connection(Some(file), env, &sets);
        }
        let written = connection.kafka();
        let env = env.chain([(
            "KAFKA_BOOTSTRAP_SERVERS".to_owned(),
            written.brokers.clone(),
        )]);
        let (mut kafka, producing) = config::connection(None, env, &sets)?;
        kafka.brokers = written.brokers;
        kafka.properties.extend(written.properties);
        Ok((kafka, producing))
    }
}
