//! The broker that librdkafka carries for tests, run inside the process.
//!
//! It speaks the real protocol on a real port and forgets everything when it is dropped. It keeps the
//! newest 5 MiB or 100 000 batches of a partition, has no CreateTopics and no offsets by time. This
//! file must not know who uses the broker.
#![allow(
    unsafe_code,
    reason = "rdkafka wraps neither the topic interface nor the rebalance delay of this broker"
)]

use std::ffi::{CStr, CString, NulError};
use std::ptr::NonNull;

use rdkafka::client::{Client, DefaultClientContext};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka_sys as sys;

/// Why the embedded broker does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The broker did not start.
    #[error("the embedded broker could not start: {0}")]
    Start(String),
    /// A topic was not created.
    #[error("the embedded broker could not create topic {topic}: {reason}")]
    CreateTopic {
        /// Its name.
        topic: String,
        /// What the broker said.
        reason: String,
    },
    /// A name holds a zero byte.
    #[error("{0:?} cannot be the name of a topic")]
    Name(String, #[source] NulError),
}

/// A running broker; dropping it ends it.
pub struct EmbeddedBroker {
    cluster: NonNull<sys::rd_kafka_mock_cluster_t>,
    /// Owns the threads that the cluster runs on. It is dropped after the cluster, because fields
    /// are dropped after [`Drop::drop`] has run.
    _client: Client<DefaultClientContext>,
}

// SAFETY: librdkafka guards the cluster with its own lock; every function used here takes it, or
// reads what is fixed after the start.
unsafe impl Send for EmbeddedBroker {}
// SAFETY: as above.
unsafe impl Sync for EmbeddedBroker {}

impl std::fmt::Debug for EmbeddedBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("EmbeddedBroker")
            .field(&self.bootstrap_servers())
            .finish()
    }
}

impl EmbeddedBroker {
    /// Starts one broker on a free port of the loopback interface.
    ///
    /// # Errors
    /// When no socket or thread could be had.
    pub fn start() -> Result<Self, EmbeddedError> {
        let mut settings = ClientConfig::new();
        settings.set("client.id", "millrace-embedded-broker");
        // Nobody polls this client, so what it logs would pile up in its queue.
        settings.set_log_level(RDKafkaLogLevel::Emerg);
        let start = |error: rdkafka::error::KafkaError| EmbeddedError::Start(error.to_string());
        let native = settings.create_native_config().map_err(start)?;
        let kind = sys::rd_kafka_type_t::RD_KAFKA_PRODUCER;
        let client = Client::new(&settings, native, kind, DefaultClientContext).map_err(start)?;
        // SAFETY: the client is alive, and is kept longer than the cluster.
        let cluster = unsafe { sys::rd_kafka_mock_cluster_new(client.native_ptr(), 1) };
        let cluster = NonNull::new(cluster)
            .ok_or_else(|| EmbeddedError::Start("librdkafka gave no reason".into()))?;
        // A real cluster waits 3 s for further members before a group's first assignment. Whoever
        // tries something out has one member and should not wait.
        // SAFETY: the cluster was just created.
        unsafe { sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster.as_ptr(), 0) };
        Ok(Self {
            cluster,
            _client: client,
        })
    }

    /// Creates a topic with one replica.
    ///
    /// # Errors
    /// When it exists already or the name or count is not accepted.
    pub fn create_topic(&self, name: &str, partitions: u16) -> Result<(), EmbeddedError> {
        let topic =
            CString::new(name).map_err(|error| EmbeddedError::Name(name.to_owned(), error))?;
        // SAFETY: the cluster lives as long as `self`, and the name is copied by the callee.
        let code = unsafe {
            sys::rd_kafka_mock_topic_create(
                self.cluster.as_ptr(),
                topic.as_ptr(),
                i32::from(partitions),
                1,
            )
        };
        if code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Ok(());
        }
        // SAFETY: librdkafka returns a static string for any code.
        let reason = unsafe { CStr::from_ptr(sys::rd_kafka_err2str(code)) };
        Err(EmbeddedError::CreateTopic {
            topic: name.to_owned(),
            reason: reason.to_string_lossy().into_owned(),
        })
    }

    /// The address for `bootstrap.servers`.
    #[must_use]
    pub fn bootstrap_servers(&self) -> String {
        // SAFETY: the string belongs to the cluster and never changes; it is copied here.
        unsafe {
            CStr::from_ptr(sys::rd_kafka_mock_cluster_bootstraps(self.cluster.as_ptr()))
                .to_string_lossy()
                .into_owned()
        }
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        // SAFETY: this is the only owner, and nothing uses the cluster afterwards.
        unsafe { sys::rd_kafka_mock_cluster_destroy(self.cluster.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_an_address_and_takes_a_topic_once() {
        let broker = EmbeddedBroker::start().unwrap();
        assert!(broker.bootstrap_servers().contains(':'));
        broker.create_topic("events", 2).unwrap();
        let error = broker.create_topic("events", 2).unwrap_err();
        assert!(error.to_string().contains("events"), "{error}");
    }
}
