//! Which dead letters are meant.

use std::collections::BTreeSet;

use super::id::LetterId;
use super::letter::Letter;

/// What a letter must be to be meant; what is left open does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// One of these letters; empty means any.
    pub ids: BTreeSet<LetterId>,
    /// One of these causes; empty means any.
    pub causes: Vec<String>,
    /// Given up by this plugin.
    pub plugin: Option<String>,
    /// Given up by this group.
    pub group: Option<String>,
    /// From this topic at first.
    pub source: Option<String>,
    /// From this partition of it.
    pub source_partition: Option<i32>,
    /// With this key.
    pub key: Option<Vec<u8>>,
    /// Given up at this time or later, in milliseconds since the Unix epoch.
    pub since_ms: Option<i64>,
    /// Given up before this time.
    pub until_ms: Option<i64>,
    /// With this text in its message, in whatever case.
    pub message: Option<String>,
    /// With this signature: that of a cluster, or the host's own in full.
    pub signature: Option<String>,
}

impl Filter {
    /// Whether nothing is asked for, so that every letter is meant.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a letter is meant.
    #[must_use]
    pub fn takes(&self, letter: &Letter) -> bool {
        self.takes_place(letter) && self.takes_account(letter)
    }

    fn takes_place(&self, letter: &Letter) -> bool {
        let failed_at_ms = letter.failed_at_ms();
        let in_time = |bound: Option<i64>, holds: fn(i64, i64) -> bool| {
            bound.is_none_or(|bound| failed_at_ms.is_some_and(|at| holds(at, bound)))
        };
        (self.ids.is_empty() || self.ids.contains(&letter.id()))
            && self.key.is_none_or_is(letter.record.key.as_ref())
            && in_time(self.since_ms, |at, since| at >= since)
            && in_time(self.until_ms, |at, until| at < until)
    }

    fn takes_account(&self, letter: &Letter) -> bool {
        let asks = !self.causes.is_empty()
            || self.plugin.is_some()
            || self.group.is_some()
            || self.source.is_some()
            || self.source_partition.is_some()
            || self.message.is_some()
            || self.signature.is_some();
        let Some(account) = &letter.account else {
            return !asks;
        };
        let origin = account.origin.as_ref();
        let has_text = |text: &String| {
            let message = account.message.to_lowercase();
            message.contains(&text.to_lowercase())
        };
        (self.causes.is_empty() || self.causes.contains(&account.cause))
            && self.plugin.is_none_or_is(Some(&account.plugin))
            && self.group.is_none_or_is(Some(&account.group))
            && self.source.is_none_or_is(origin.map(|it| &it.0))
            && self
                .source_partition
                .is_none_or_is(origin.and_then(|it| it.1.as_ref()))
            && self.message.as_ref().is_none_or(has_text)
            && self.signature.as_ref().is_none_or(|wanted| {
                *wanted == account.signature || letter.signature().as_ref() == Some(wanted)
            })
    }
}

/// A wish that may be left open.
trait Wish<T> {
    fn is_none_or_is(&self, found: Option<&T>) -> bool;
}

impl<T: PartialEq> Wish<T> for Option<T> {
    fn is_none_or_is(&self, found: Option<&T>) -> bool {
        self.as_ref().is_none_or(|wanted| found == Some(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::reader::ReadRecord;

    fn letter() -> Letter {
        let header = |name: &str, value: &str| {
            (
                format!("millrace.dlq.{name}").into_bytes(),
                Some(value.as_bytes().to_vec()),
            )
        };
        Letter::new(ReadRecord {
            topic: "orders.dlq".to_owned(),
            partition: 1,
            offset: 5,
            timestamp_ms: Some(10),
            key: Some(b"a".to_vec()),
            value: None,
            headers: vec![
                header("origin.topic", "orders"),
                header("origin.partition", "3"),
                header("cause", "reject"),
                header("plugin", "bill"),
                header("group", "billing"),
                header("message", "No price for order 4711"),
                header("signature", "abc:reject:no-price"),
                header("last-failed-at", "100"),
            ],
        })
    }

    fn takes(change: impl Fn(&mut Filter)) -> bool {
        let mut filter = Filter::default();
        change(&mut filter);
        filter.takes(&letter())
    }

    #[test]
    fn each_wish_counts() {
        let some = |text: &str| Some(text.to_owned());
        assert!(takes(|_| {}));
        let signature = letter().signature();
        let yes: [&dyn Fn(&mut Filter); 11] = [
            &|it| it.ids = ["orders.dlq/1/5".parse().unwrap()].into(),
            &|it| it.causes = vec!["trap".to_owned(), "reject".to_owned()],
            &|it| it.plugin = some("bill"),
            &|it| it.group = some("billing"),
            &|it| it.source = some("orders"),
            &|it| it.source_partition = Some(3),
            &|it| it.key = Some(b"a".to_vec()),
            &|it| (it.since_ms, it.until_ms) = (Some(100), Some(101)),
            &|it| it.message = some("no PRICE"),
            &|it| it.signature = some("abc:reject:no-price"),
            &|it| it.signature.clone_from(&signature),
        ];
        for (at, change) in yes.into_iter().enumerate() {
            assert!(takes(change), "{at}");
        }
        let no: [&dyn Fn(&mut Filter); 10] = [
            &|it| it.ids = ["orders.dlq/1/6".parse().unwrap()].into(),
            &|it| it.causes = vec!["trap".to_owned()],
            &|it| it.plugin = some("other"),
            &|it| it.group = some("other"),
            &|it| it.source = some("order"),
            &|it| it.source_partition = Some(4),
            &|it| it.key = Some(b"b".to_vec()),
            &|it| it.since_ms = Some(101),
            &|it| it.until_ms = Some(100),
            &|it| it.message = some("no prize"),
        ];
        for (at, change) in no.into_iter().enumerate() {
            assert!(!takes(change), "{at}");
        }
    }
}
