//! Topics, records and offsets as a test sees them: written raw, read back whole, owned. It uses
//! librdkafka directly, so that a fault of the host's client code cannot hide here.

mod groups;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

use super::wait;

/// For one exchange with a broker that is up.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A record to be written: absent and empty are different things throughout.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) partition: Option<i32>,
    pub(crate) timestamp_ms: Option<i64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    /// A record with a key and a value; the partition follows from the key.
    pub(crate) fn new(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self {
            key: Some(key.into()),
            value: Some(value.into()),
            ..Self::default()
        }
    }

    /// A record with a value and no key.
    pub(crate) fn keyless(value: impl Into<Vec<u8>>) -> Self {
        Self {
            value: Some(value.into()),
            ..Self::default()
        }
    }

    /// A record with a key and a null value.
    pub(crate) fn tombstone(key: impl Into<Vec<u8>>) -> Self {
        Self {
            key: Some(key.into()),
            ..Self::default()
        }
    }

    /// Goes to this partition.
    pub(crate) fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Carries this time, in milliseconds since 1970.
    pub(crate) fn timestamp_ms(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }

    /// Carries one more header.
    pub(crate) fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), Some(value.into())));
        self
    }

    /// Carries one more header, whose value is null.
    pub(crate) fn null_header(mut self, name: &str) -> Self {
        self.headers.push((name.to_owned(), None));
        self
    }
}

/// A record as Kafka holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: Option<i64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Stored {
    /// The value of the only header of this name, as text.
    ///
    /// # Panics
    /// When the name stands more than once, or the value is not text.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(each, _)| each == name);
        let (_, value) = found.next()?;
        assert!(
            found.next().is_none(),
            "header {name} stands more than once"
        );
        Some(std::str::from_utf8(value.as_ref()?).expect("the header is text"))
    }

    /// The value as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        let value = self.value.as_deref().expect("the record has a value");
        serde_json::from_slice(value).expect("the value is JSON")
    }
}

/// A name that no other test uses, on a broker that outlives the run either.
pub(crate) fn unique(hint: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!(
        "{hint}-{}-{count}-{:06x}",
        std::process::id(),
        fastrand::u32(..) & 0xff_ffff
    )
}

/// A time of a minute ago, in milliseconds since 1970. Brokers delete what is older than a week.
pub(crate) fn recent_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("it is after 1970").as_millis() as i64 - 60_000
}

/// A time in RFC 3339, of milliseconds since 1970.
pub(crate) fn rfc3339(time_ms: i64) -> String {
    let nanos = i128::from(time_ms) * 1_000_000;
    let time = time::OffsetDateTime::from_unix_timestamp_nanos(nanos).expect("a time");
    time.format(&time::format_description::well_known::Rfc3339)
        .expect("a time of our days")
}

/// One topic of one cluster.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    brokers: String,
    name: String,
}

impl Topic {
    /// A topic that exists already, or that the host will make.
    pub(crate) fn named(brokers: &str, name: &str) -> Self {
        Self {
            brokers: brokers.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Makes a topic whose name begins with `hint` and is not taken.
    pub(crate) fn create(brokers: &str, hint: &str, partitions: i32) -> Self {
        Self::create_with(brokers, &unique(hint), partitions, &[])
    }

    /// Makes a topic of exactly this name, with settings such as `("max.message.bytes", "1000")`.
    /// Returns when it can be written to.
    ///
    /// # Panics
    /// When the broker refuses.
    pub(crate) fn create_with(
        brokers: &str,
        name: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> Self {
        let topic = Self::named(brokers, name);
        let admin: AdminClient<DefaultClientContext> = topic
            .client()
            .create()
            .expect("an admin client can be made");
        let new = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let new = settings
            .iter()
            .fold(new, |new, (setting, value)| new.set(setting, value));
        let options = AdminOptions::new().operation_timeout(Some(REQUEST_TIMEOUT));
        let results = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime can be made")
            .block_on(admin.create_topics([&new], &options))
            .expect("the broker answers");
        for result in results {
            result.unwrap_or_else(|(topic, error)| panic!("{topic} was not created: {error}"));
        }
        wait::eventually("a leader for each partition", REQUEST_TIMEOUT, || {
            topic
                .partitions()
                .is_ok_and(|found| i32::try_from(found.len()) == Ok(partitions))
        });
        topic
    }

    /// The cluster, as `bootstrap.servers`.
    pub(crate) fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the broker knows it.
    pub(crate) fn exists(&self) -> bool {
        self.partitions().is_ok_and(|found| !found.is_empty())
    }

    /// How many partitions it has.
    pub(crate) fn partition_count(&self) -> usize {
        self.partitions().expect("the topic exists").len()
    }

    /// The value of a setting such as `retention.ms`.
    ///
    /// # Panics
    /// When the broker does not say.
    pub(crate) fn setting(&self, name: &str) -> Option<String> {
        let admin: AdminClient<DefaultClientContext> =
            self.client().create().expect("an admin client can be made");
        let this = ResourceSpecifier::Topic(&self.name);
        let options = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT));
        let mut described = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime can be made")
            .block_on(admin.describe_configs([&this], &options))
            .expect("the broker answers");
        let described = described.remove(0).expect("the topic exists");
        described.get(name)?.value.clone()
    }

    /// Writes the records, each acknowledged, and returns partition and offset of each in the order
    /// given. With an idempotent producer, records of one partition stand in this order there too.
    ///
    /// # Panics
    /// When the broker refuses one.
    pub(crate) fn produce(&self, records: &[Record]) -> Vec<(i32, i64)> {
        let producer = self.producer();
        let reports: Reports = Arc::new(Mutex::new(vec![None; records.len()]));
        for (index, record) in records.iter().enumerate() {
            self.send(
                &producer,
                Slot {
                    reports: Arc::clone(&reports),
                    index,
                },
                record,
            );
        }
        producer
            .flush(REQUEST_TIMEOUT)
            .expect("the broker acknowledges everything");
        let reports = std::mem::take(&mut *reports.lock().expect("no report panics"));
        let report = |(index, report): (usize, Option<_>)| match report {
            Some(Ok(place)) => place,
            Some(Err(error)) => panic!("record {index} for {} was refused: {error}", self.name),
            None => panic!("record {index} for {} was never reported on", self.name),
        };
        reports.into_iter().enumerate().map(report).collect()
    }

    /// Writes values under one key to the first partition in one transaction, which ends with a marker that takes an
    /// offset and is no record.
    ///
    /// # Panics
    /// When the broker refuses.
    pub(crate) fn produce_in_a_transaction(&self, key: &str, values: &[String]) {
        let producer: BaseProducer = self
            .client()
            .set("transactional.id", unique("transaction"))
            .create()
            .expect("a producer can be made");
        producer
            .init_transactions(REQUEST_TIMEOUT)
            .expect("the coordinator answers");
        producer.begin_transaction().expect("none is open");
        for value in values {
            let record = BaseRecord::to(&self.name).partition(0);
            let sent = producer.send(record.key(key).payload(value.as_str()));
            sent.map_err(|(error, _)| error)
                .expect("the queue has room");
        }
        producer
            .commit_transaction(REQUEST_TIMEOUT)
            .expect("the coordinator commits");
    }

    /// Every record up to where each partition ends now, by partition and offset. Records of aborted
    /// transactions are left out.
    pub(crate) fn read_all(&self) -> Vec<Stored> {
        self.read_from(&BTreeMap::new())
    }

    /// Like [`Topic::read_all`], each partition from an offset on, where one is given.
    pub(crate) fn read_from(&self, offsets: &BTreeMap<i32, i64>) -> Vec<Stored> {
        let reader: BaseConsumer = self
            .client()
            .set("group.id", "unused: nothing is committed")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            // The broker says that a partition has ended only after it has waited for more.
            .set("fetch.wait.max.ms", "10")
            .set("auto.offset.reset", "earliest")
            .create()
            .expect("a consumer can be made");
        let mut assignment = TopicPartitionList::new();
        // The end of a partition is news once; what is written later is left for the next reader.
        let mut unfinished = self.partitions_seen_by(&reader).expect("the topic exists");
        for partition in &unfinished {
            let from = offsets
                .get(partition)
                .map_or(Offset::Beginning, |&at| Offset::Offset(at));
            assignment
                .add_partition_offset(&self.name, *partition, from)
                .expect("the offset is valid");
        }
        reader
            .assign(&assignment)
            .expect("the partitions can be assigned");
        let mut found = Vec::new();
        while !unfinished.is_empty() {
            match reader.poll(REQUEST_TIMEOUT) {
                Some(Ok(message)) if unfinished.contains(&message.partition()) => {
                    found.push(stored(&message));
                }
                Some(Ok(_)) => {}
                Some(Err(KafkaError::PartitionEOF(ended))) => {
                    unfinished.retain(|&partition| partition != ended);
                }
                Some(Err(error)) => panic!("{} cannot be read: {error}", self.name),
                None => panic!("{} was silent for {REQUEST_TIMEOUT:?}", self.name),
            }
        }
        found.sort_by_key(|record| (record.partition, record.offset));
        found
    }

    /// The offset after the last record of each partition.
    pub(crate) fn end_offsets(&self) -> BTreeMap<i32, i64> {
        let client = self.reader("unused: nothing is committed");
        let end = |partition| {
            let (_, high) = client
                .fetch_watermarks(&self.name, partition, REQUEST_TIMEOUT)
                .expect("the broker answers");
            (partition, high)
        };
        self.partitions()
            .expect("the topic exists")
            .into_iter()
            .map(end)
            .collect()
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        // A broker that has just come back is found at once.
        config
            .set("reconnect.backoff.ms", "20")
            .set("reconnect.backoff.max.ms", "200");
        config
    }

    fn reader(&self, group: &str) -> BaseConsumer {
        self.client()
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .create()
            .expect("a consumer can be made")
    }

    fn partitions(&self) -> Result<Vec<i32>, KafkaError> {
        self.partitions_seen_by(&self.client().create()?)
    }

    /// Asking a new client for metadata also connects it; what it is then told to do starts at once,
    /// not with librdkafka's next round a second later.
    fn partitions_seen_by(&self, client: &BaseConsumer) -> Result<Vec<i32>, KafkaError> {
        let metadata = client.fetch_metadata(Some(&self.name), REQUEST_TIMEOUT)?;
        let partitions = metadata
            .topics()
            .iter()
            .flat_map(rdkafka::metadata::MetadataTopic::partitions);
        Ok(partitions
            .filter(|each| each.leader() >= 0)
            .map(|each| each.id())
            .collect())
    }

    /// One producer for each cluster, because a new one takes a second to get its producer id.
    fn producer(&self) -> Arc<BaseProducer<Reporting>> {
        type Producers = BTreeMap<String, Arc<BaseProducer<Reporting>>>;
        static PRODUCERS: Mutex<Producers> = Mutex::new(BTreeMap::new());
        let mut producers = PRODUCERS.lock().unwrap_or_else(PoisonError::into_inner);
        let producer = producers.entry(self.brokers.clone()).or_insert_with(|| {
            let mut config = self.client();
            config
                .set("enable.idempotence", "true")
                .set("linger.ms", "1");
            // What a test sends is for the broker to refuse, not for the client.
            config.set("message.max.bytes", "100000000");
            Arc::new(
                config
                    .create_with_context(Reporting)
                    .expect("a producer can be made"),
            )
        });
        Arc::clone(producer)
    }

    fn send(&self, producer: &BaseProducer<Reporting>, slot: Slot, record: &Record) {
        let index = slot.index;
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (name, value) in &record.headers {
            headers = headers.insert(Header {
                key: name,
                value: value.as_ref(),
            });
        }
        let mut message: BaseRecord<'_, [u8], [u8], Box<Slot>> =
            BaseRecord::with_opaque_to(&self.name, Box::new(slot)).headers(headers);
        message.partition = record.partition;
        message.timestamp = record.timestamp_ms;
        message.key = record.key.as_deref();
        message.payload = record.value.as_deref();
        loop {
            match producer.send(message) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    producer.poll(Duration::from_millis(10));
                    message = again;
                }
                Err((error, _)) => panic!("record {index} for {}: {error}", self.name),
            }
        }
    }
}

/// What the broker said about each record of one call, by its place in the list.
type Reports = Arc<Mutex<Vec<Option<Report>>>>;

/// Partition and offset, or why it was refused.
type Report = Result<(i32, i64), KafkaError>;

/// Where the report on one record goes.
struct Slot {
    reports: Reports,
    index: usize,
}

struct Reporting;

impl ClientContext for Reporting {}

impl ProducerContext for Reporting {
    type DeliveryOpaque = Box<Slot>;

    fn delivery(&self, result: &DeliveryResult<'_>, slot: Box<Slot>) {
        let report = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.clone()),
        };
        slot.reports.lock().expect("no report panics")[slot.index] = Some(report);
    }
}

fn stored(message: &impl Message) -> Stored {
    let header =
        |header: Header<'_, &[u8]>| (header.key.to_owned(), header.value.map(<[u8]>::to_vec));
    Stored {
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: message
            .headers()
            .map(|headers| headers.iter().map(header).collect())
            .unwrap_or_default(),
    }
}
