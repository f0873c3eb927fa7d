//! Where a dead letter lies, as a word that people copy from one command into the next.

use std::fmt;
use std::str::FromStr;

/// A dead letter by its place: `TOPIC/PARTITION/OFFSET`. A topic's name has no slash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterId {
    /// The topic of dead letters.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// What is no id of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no id of a dead letter: write TOPIC/PARTITION/OFFSET, as `millrace dlq list` shows it"
)]
pub struct NotAnId(String);

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

impl FromStr for LetterId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let parts: Vec<&str> = text.split('/').collect();
        let read = || {
            let [topic, partition, offset] = parts[..] else {
                return None;
            };
            let partition = partition.parse().ok().filter(|it: &i32| *it >= 0)?;
            let offset = offset.parse().ok().filter(|it: &i64| *it >= 0)?;
            (!topic.is_empty()).then(|| Self {
                topic: topic.to_owned(),
                partition,
                offset,
            })
        };
        read().ok_or_else(|| NotAnId(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_as_it_is_written() {
        let id: LetterId = "orders.dlq/0/12".parse().unwrap();
        assert_eq!((id.partition, id.offset), (0, 12));
        assert_eq!(id.to_string(), "orders.dlq/0/12");
        for wrong in [
            "orders.dlq",
            "orders.dlq/0",
            "/0/1",
            "t/-1/2",
            "t/0/x",
            "t/0/1/2",
        ] {
            let said = wrong.parse::<LetterId>().unwrap_err().to_string();
            assert!(said.contains("TOPIC/PARTITION/OFFSET"), "{said}");
        }
    }
}
