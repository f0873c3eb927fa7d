//! Where in a partition somebody means to be, as it is written on the command line. It must not know what is there.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::config::units;

/// A place in any partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// The oldest record that the broker still has.
    Earliest,
    /// Behind the newest record.
    Latest,
    /// Where the group stands.
    Committed,
    /// This offset.
    Offset(i64),
    /// The first record of this time or a later one, in milliseconds since the Unix epoch.
    Time(i64),
}

const HOW: &str = "write earliest, latest, committed, an offset such as 1200, a time such as \
                   2026-11-29T08:00:00Z, or how long ago, such as 2h";

impl Position {
    /// Reads a position. `now_ms` is what times ago are counted from, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// Says what to write instead.
    pub fn parse(text: &str, now_ms: i64) -> Result<Self, String> {
        match text {
            "earliest" => return Ok(Self::Earliest),
            "latest" => return Ok(Self::Latest),
            "committed" => return Ok(Self::Committed),
            _ => {}
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
            return text
                .parse()
                .map(Self::Offset)
                .map_err(|_| format!("`{text}` is larger than any offset"));
        }
        if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
            let ms = time.unix_timestamp_nanos() / 1_000_000;
            return i64::try_from(ms)
                .map(Self::Time)
                .map_err(|_| format!("`{text}` is no time that a record can have"));
        }
        let ago = units::duration(text.strip_suffix(" ago").unwrap_or(text))
            .map_err(|_| format!("`{text}` is no position: {HOW}"))?;
        let ago_ms = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
        Ok(Self::Time(now_ms.saturating_sub(ago_ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_say_where_is_understood() {
        let now_ms = 1_800_000_000_000;
        let cases = [
            ("earliest", Position::Earliest),
            ("latest", Position::Latest),
            ("committed", Position::Committed),
            ("0", Position::Offset(0)),
            ("1200", Position::Offset(1_200)),
            ("2027-01-15T08:00:00Z", Position::Time(now_ms)),
            ("2027-01-15T09:00:00.5+01:00", Position::Time(now_ms + 500)),
            ("2h", Position::Time(now_ms - 7_200_000)),
            ("90s ago", Position::Time(now_ms - 90_000)),
        ];
        for (text, position) in cases {
            assert_eq!(Position::parse(text, now_ms), Ok(position), "{text}");
        }
    }

    #[test]
    fn what_is_no_position_is_answered_with_what_to_write() {
        for text in ["", "-1", "yesterday", "2027-01-15", "1.5h", "08:00"] {
            let told = Position::parse(text, 0).unwrap_err();
            assert!(
                told.contains(text) && told.contains("earliest"),
                "{text}: {told}"
            );
        }
        assert!(Position::parse("99999999999999999999", 0).is_err());
    }
}
