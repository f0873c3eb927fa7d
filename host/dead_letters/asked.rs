//! What is to be put back or removed, in the words of a query: names with values, of which some may stand several times.
//! It must not know who asks.

use std::collections::BTreeMap;
use std::str::FromStr;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::filter::Filter;
use super::id::LetterId;
use super::purge::Bound;
use super::redrive::{REDRIVES_MAX, Wish};
use crate::config;
use crate::since_1970;

/// Names that may stand several times.
const LISTS: [&str; 2] = ["id", "cause"];

/// What a redrive may be asked with.
const OF_REDRIVE: [&str; 19] = [
    "id",
    "cause",
    "plugin",
    "group",
    "source",
    "source_partition",
    "key",
    "since",
    "until",
    "message",
    "signature",
    "all",
    "to",
    "rate",
    "limit",
    "max_redrives",
    "again",
    "keep_time",
    "dry_run",
];

/// What a purge may be asked with.
const OF_PURGE: [&str; 6] = [
    "redriven",
    "before_time",
    "partition",
    "before_offset",
    "all",
    "dry_run",
];

impl Wish {
    /// Reads which letters of this topic are to be put back, and how.
    ///
    /// # Errors
    /// Says which word is wrong, or that none says which letters.
    pub fn asked(topic: &str, words: &[(String, String)]) -> Result<Self, String> {
        let mut words = Words::read(words, &OF_REDRIVE)?;
        let ids = words.all("id").into_iter();
        let ids = ids.map(|id| match id.parse::<LetterId>() {
            Ok(id) if id.topic == topic => Ok(id),
            Ok(id) => Err(format!("{id} is no letter of topic {topic}")),
            Err(error) => Err(error.to_string()),
        });
        let filter = Filter {
            ids: ids.collect::<Result<_, _>>()?,
            causes: words.all("cause"),
            plugin: words.one("plugin"),
            group: words.one("group"),
            source: words.one("source"),
            source_partition: words.number("source_partition", 0)?,
            key: words.one("key").map(String::into_bytes),
            since_ms: words.said("since", moment)?,
            until_ms: words.said("until", moment)?,
            message: words.one("message"),
            signature: words.one("signature"),
        };
        if !words.yes("all")? && filter.is_open() {
            return Err("say which dead letters: by `signature` as a cluster has it, by `id`, by another filter, or \
                        with all=true"
                .to_owned());
        }
        Ok(Self {
            filter,
            to: words.one("to"),
            per_second: words.said("rate", rate)?,
            redrives_max: words.number("max_redrives", 1)?.unwrap_or(REDRIVES_MAX),
            limit: words.number("limit", 1)?,
            again: words.yes("again")?,
            dry_run: words.yes("dry_run")?,
            keep_time: words.yes("keep_time")?,
        })
    }
}

impl Bound {
    /// Reads up to where letters are to be removed, and whether that is only to be told.
    ///
    /// # Errors
    /// Says which word is wrong, or that they say not exactly one thing.
    pub fn asked(words: &[(String, String)]) -> Result<(Self, bool), String> {
        let mut words = Words::read(words, &OF_PURGE)?;
        let redriven = words.yes("redriven")?.then_some(Self::Redriven);
        let all = words.yes("all")?.then_some(Self::All);
        let time = words.said("before_time", moment)?.map(Self::Time);
        let place = (
            words.number("partition", 0)?,
            words.number("before_offset", 0)?,
        );
        let place = match place {
            (Some(partition), Some(offset)) => Some(Self::Offset { partition, offset }),
            (None, None) => None,
            _ => return Err("`partition` and `before_offset` belong together".to_owned()),
        };
        let dry_run = words.yes("dry_run")?;
        let mut bounds = [redriven, all, time, place].into_iter().flatten();
        match (bounds.next(), bounds.next()) {
            (Some(bound), None) => Ok((bound, dry_run)),
            _ => Err("say one of redriven=true, before_time=30d, partition=0&before_offset=1000 and all=true: \
                      what is removed cannot be brought back"
                .to_owned()),
        }
    }
}

/// Names with their values.
struct Words(BTreeMap<String, Vec<String>>);

impl Words {
    fn read(words: &[(String, String)], known: &[&str]) -> Result<Self, String> {
        let mut read: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in words {
            if !known.contains(&name.as_str()) {
                let known = known.join(", ");
                return Err(format!("there is no parameter `{name}`: {known} are there"));
            }
            let values = read.entry(name.clone()).or_default();
            if !values.is_empty() && !LISTS.contains(&name.as_str()) {
                return Err(format!("the query has `{name}` twice; leave one out"));
            }
            values.push(value.clone());
        }
        Ok(Self(read))
    }

    fn all(&mut self, name: &str) -> Vec<String> {
        self.0.remove(name).unwrap_or_default()
    }

    fn one(&mut self, name: &str) -> Option<String> {
        self.all(name).pop()
    }

    fn said<T>(
        &mut self,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let value = self.one(name).map(|value| read(&value));
        value
            .transpose()
            .map_err(|wrong| format!("`{name}`: {wrong}"))
    }

    fn number<T: FromStr + PartialOrd + From<u8>>(
        &mut self,
        name: &str,
        least: u8,
    ) -> Result<Option<T>, String> {
        self.said(name, |text| {
            let number = text.parse().ok().filter(|it| *it >= T::from(least));
            number.ok_or_else(|| format!("write a whole number from {least}"))
        })
    }

    fn yes(&mut self, name: &str) -> Result<bool, String> {
        let said = self.said(name, |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("write true or false".to_owned()),
        });
        Ok(said?.unwrap_or(false))
    }
}

/// A time in milliseconds since the Unix epoch, from a time or from how long ago it was.
///
/// # Errors
/// It is neither; says what to write.
pub fn moment(text: &str) -> Result<i64, String> {
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        let ms = time.unix_timestamp_nanos() / 1_000_000;
        return i64::try_from(ms).map_err(|_| "this time is too far away".to_owned());
    }
    let ago = config::units::duration(text).map_err(|_| {
        "write a time such as 2026-11-29T12:30:00Z, or how long ago it was, such as 2h".to_owned()
    })?;
    let ago_ms = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
    Ok(since_1970::now_timestamp_ms().saturating_sub(ago_ms).max(0))
}

/// A rate as records a second.
///
/// # Errors
/// It is none; says what to write.
pub fn rate(text: &str) -> Result<f64, String> {
    let (number, seconds) = match text.split_once('/') {
        None | Some((_, "s")) => (text.trim_end_matches("/s"), 1.0),
        Some((number, "m")) => (number, 60.0),
        Some((number, "h")) => (number, 3_600.0),
        Some(_) => ("", 1.0),
    };
    let rate = number.parse().ok().map(|rate: f64| rate / seconds);
    // A slower one is a letter in eleven days, which nobody means.
    rate.filter(|rate| (1e-6..=1e9).contains(rate))
        .ok_or_else(|| "write a rate such as 100/s, 6000/m or 10/h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(query: &str) -> Vec<(String, String)> {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        pairs.map(owned).collect()
    }

    #[test]
    fn a_wish_is_read_as_the_command_line_reads_it() {
        let asked = "signature=ab&cause=trap&cause=reject&id=t/0/1&rate=6000/m&limit=5&dry_run=true&since=0s";
        let wish = Wish::asked("t", &words(asked)).unwrap();
        assert_eq!(wish.filter.signature.as_deref(), Some("ab"));
        assert_eq!(wish.filter.causes, ["trap", "reject"]);
        assert_eq!(wish.filter.ids, ["t/0/1".parse().unwrap()].into());
        assert_eq!((wish.per_second, wish.limit), (Some(100.0), Some(5)));
        assert!(wish.dry_run && !wish.again && wish.filter.since_ms.is_some());
        assert_eq!(wish.redrives_max, REDRIVES_MAX);
        for (query, part) in [
            ("", "all=true"),
            ("rate=5/s", "all=true"),
            ("all=false", "all=true"),
            ("id=u/0/1", "no letter of topic t"),
            ("id=5", "TOPIC/PARTITION/OFFSET"),
            ("signature=a&signature=b", "twice"),
            ("all=true&rate=fast", "`rate`: write a rate"),
            ("all=true&limit=0", "`limit`: write a whole number from 1"),
            ("all=1", "`all`: write true or false"),
            ("since=yesterday", "such as 2h"),
            ("if_fixed_by=current", "no parameter `if_fixed_by`"),
        ] {
            let wrong = Wish::asked("t", &words(query)).unwrap_err();
            assert!(wrong.contains(part), "{query}: {wrong}");
        }
    }

    #[test]
    fn what_is_removed_is_said_in_exactly_one_way() {
        for (query, expected) in [
            ("redriven=true", (Bound::Redriven, false)),
            ("all=true&dry_run=true", (Bound::All, true)),
            (
                "partition=1&before_offset=7",
                (
                    Bound::Offset {
                        partition: 1,
                        offset: 7,
                    },
                    false,
                ),
            ),
            (
                "before_time=1970-01-01T00:00:02Z",
                (Bound::Time(2_000), false),
            ),
        ] {
            assert_eq!(Bound::asked(&words(query)), Ok(expected), "{query}");
        }
        for query in [
            "",
            "dry_run=true",
            "redriven=false",
            "redriven=true&all=true",
            "partition=1",
            "before_offset=1",
            "partition=-1&before_offset=2",
            "signature=a",
        ] {
            Bound::asked(&words(query)).unwrap_err();
        }
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(moment("1970-01-01T00:00:02.5Z"), Ok(2_500));
        assert!(moment("2h").unwrap() + 2 * 3_600_000 - moment("0s").unwrap() < 60_000);
        assert!(moment("yesterday").unwrap_err().contains("such as 2h"));
    }

    #[test]
    fn a_rate_is_a_number_of_records_in_a_time() {
        for (text, per_second) in [
            ("100/s", 100.0),
            ("100", 100.0),
            ("6000/m", 100.0),
            ("36/h", 0.01),
        ] {
            let read = rate(text).unwrap();
            assert!((read - per_second).abs() < 1e-9, "{text}: {read}");
        }
        for wrong in ["0/s", "-1/s", "many", "1/d", "NaN/s", "inf", ""] {
            rate(wrong).unwrap_err();
        }
    }
}
