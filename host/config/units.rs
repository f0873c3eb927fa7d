//! Durations and sizes with their units, as text.
//!
//! This must not know what is measured.

use std::time::Duration;

use thiserror::Error;

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// Largest first, so that a value is shown in the largest unit that fits it.
const DURATIONS_MS: [(&str, u64); 5] = [
    ("d", DAY_MS),
    ("h", HOUR_MS),
    ("m", MINUTE_MS),
    ("s", SECOND_MS),
    ("ms", 1),
];

const SIZES_BYTES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

/// Why a text is no duration or size; each message says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnitError {
    /// There is a number and nothing else.
    #[error("`{text}` has no unit: write for example {examples}")]
    NoUnit {
        /// What was written.
        text: String,
        /// The same number with units.
        examples: String,
    },
    /// The unit is not one of ours.
    #[error("`{text}` has an unknown unit `{unit}`: use one of {units}")]
    UnknownUnit {
        /// What was written.
        text: String,
        /// The unit in it.
        unit: String,
        /// The units there are.
        units: String,
    },
    /// The number has a fraction.
    #[error(
        "`{text}` is not a whole number of {unit}: write it in a smaller unit, such as {example}"
    )]
    Fraction {
        /// What was written.
        text: String,
        /// The unit in it.
        unit: String,
        /// A value in a smaller unit.
        example: &'static str,
    },
    /// There is no number at all.
    #[error("`{text}` is not a {what}: write for example {example}")]
    NoNumber {
        /// What was written.
        text: String,
        /// Duration or size.
        what: &'static str,
        /// A correct value.
        example: &'static str,
    },
    /// The number does not fit.
    #[error("`{text}` is too large")]
    TooLarge {
        /// What was written.
        text: String,
    },
}

struct Measure {
    what: &'static str,
    units: &'static [(&'static str, u64)],
    examples: [&'static str; 3],
    example: &'static str,
    fraction: &'static str,
}

const DURATION: Measure = Measure {
    what: "duration",
    units: &DURATIONS_MS,
    examples: ["ms", "s", "m"],
    example: "`250ms`, `10s`, `5m`, `24h` or `7d`",
    fraction: "`1500ms` for one and a half seconds",
};

const SIZE: Measure = Measure {
    what: "size",
    units: &SIZES_BYTES,
    examples: ["KiB", "MiB", "MB"],
    example: "`512KiB`, `4MiB` or `100MB`",
    fraction: "`1536KiB` for one and a half MiB",
};

/// Reads a duration such as `250ms`.
///
/// # Errors
/// The text has no number, no unit, an unknown unit or a fraction, or is too large.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    measure(text, &DURATION).map(Duration::from_millis)
}

/// Reads a size such as `4MiB`, in bytes.
///
/// # Errors
/// The text has no number, no unit, an unknown unit or a fraction, or is too large.
pub fn bytes(text: &str) -> Result<u64, UnitError> {
    measure(text, &SIZE)
}

fn measure(text: &str, measure: &Measure) -> Result<u64, UnitError> {
    let trimmed = text.trim();
    let digits_end = trimmed
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits_end);
    let unit = unit.trim_start();
    let text = text.to_owned();
    if !number.starts_with(|c: char| c.is_ascii_digit())
        || unit.contains(|c: char| c.is_ascii_digit())
    {
        return Err(UnitError::NoNumber {
            text,
            what: measure.what,
            example: measure.example,
        });
    }
    if unit.is_empty() {
        let [a, b, c] = measure.examples.map(|unit| format!("`{number}{unit}`"));
        return Err(UnitError::NoUnit {
            text,
            examples: format!("{a}, {b} or {c}"),
        });
    }
    let Some((_, factor)) = measure.units.iter().find(|(name, _)| *name == unit) else {
        let names: Vec<&str> = measure.units.iter().rev().map(|(name, _)| *name).collect();
        let unit = unit.to_owned();
        return Err(UnitError::UnknownUnit {
            text,
            unit,
            units: names.join(", "),
        });
    };
    if number.contains('.') {
        let unit = unit.to_owned();
        return Err(UnitError::Fraction {
            text,
            unit,
            example: measure.fraction,
        });
    }
    // Only digits are left, so that a failure means that the number does not fit.
    match number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(*factor))
    {
        Some(value) => Ok(value),
        None => Err(UnitError::TooLarge { text }),
    }
}

/// Reads a time in UTC, such as `2026-01-31T12:00:00Z`, as milliseconds since the Unix epoch. None for anything else,
/// and before 1970.
#[must_use]
pub fn utc_ms(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, by: char| -> Option<Vec<u64>> {
        let digits = |part: &&str| part.len() >= 2 && part.bytes().all(|b| b.is_ascii_digit());
        let parts: Vec<&str> = text.split(by).collect();
        let all = parts.len() == 3 && parts.iter().all(digits);
        all.then(|| parts.iter().filter_map(|part| part.parse().ok()).collect())
    };
    let (date, time) = (numbers(date, '-')?, numbers(time, ':')?);
    let [year, month, day] = date[..] else {
        return None;
    };
    let [hour, minute, second] = time[..] else {
        return None;
    };
    let fits = (1970..10_000).contains(&year) && (1..=12).contains(&month) && hour < 24;
    if !fits || minute > 59 || second > 59 {
        return None;
    }
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let february = if leap(year) { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    if !(1..=months[month as usize - 1]).contains(&day) {
        return None;
    }
    let years: u64 = (1970..year)
        .map(|year| if leap(year) { 366 } else { 365 })
        .sum();
    let days = years + months[..month as usize - 1].iter().sum::<u64>() + day - 1;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Some(seconds * 1_000)
}

/// Writes a duration in the largest unit that it is a whole number of; parts of a millisecond are
/// cut off.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    show(
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        &DURATIONS_MS,
        "ms",
    )
}

/// Writes a size in the largest unit that it is a whole number of.
#[must_use]
pub fn show_bytes(bytes: u64) -> String {
    show(bytes, &SIZES_BYTES, "B")
}

fn show(value: u64, units: &[(&str, u64)], smallest: &str) -> String {
    units
        .iter()
        .find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor))
        .map_or_else(
            || format!("{value}{smallest}"),
            |(name, factor)| format!("{}{name}", value / factor),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_read_with_their_units() {
        for (text, ms) in [
            ("250ms", 250),
            ("10s", 10_000),
            ("5m", 300_000),
            ("24h", 86_400_000),
            ("7d", 604_800_000),
            ("0s", 0),
            (" 3 s ", 3_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for (text, size) in [
            ("1B", 1),
            ("512KiB", 524_288),
            ("4MiB", 4_194_304),
            ("100MB", 100_000_000),
            ("2KB", 2_000),
            ("1GiB", 1 << 30),
            ("1GB", 1_000_000_000),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_unit_is_said_with_what_to_write() {
        for (text, message) in [
            (
                "10",
                "`10` has no unit: write for example `10ms`, `10s` or `10m`",
            ),
            (
                "10 sec",
                "`10 sec` has an unknown unit `sec`: use one of ms, s, m, h, d",
            ),
            (
                "1h30m",
                "`1h30m` is not a duration: write for example `250ms`, `10s`, `5m`, `24h` or `7d`",
            ),
            (
                "1.5s",
                "`1.5s` is not a whole number of s: write it in a smaller unit, such as `1500ms` for \
                 one and a half seconds",
            ),
            (
                "-1s",
                "`-1s` is not a duration: write for example `250ms`, `10s`, `5m`, `24h` or `7d`",
            ),
            (
                "soon",
                "`soon` is not a duration: write for example `250ms`, `10s`, `5m`, `24h` or `7d`",
            ),
            (
                "99999999999999999999s",
                "`99999999999999999999s` is too large",
            ),
        ] {
            assert_eq!(duration(text).unwrap_err().to_string(), message);
        }
        for (text, message) in [
            (
                "10",
                "`10` has no unit: write for example `10KiB`, `10MiB` or `10MB`",
            ),
            (
                "4mib",
                "`4mib` has an unknown unit `mib`: use one of B, KB, KiB, MB, MiB, GB, GiB, TB, TiB",
            ),
            (
                "",
                "`` is not a size: write for example `512KiB`, `4MiB` or `100MB`",
            ),
            ("99999999TiB", "`99999999TiB` is too large"),
        ] {
            assert_eq!(bytes(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_time_in_utc_is_read_and_one_that_never_was_is_not() {
        assert_eq!(utc_ms("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(utc_ms("2023-11-14T22:13:20Z"), Some(1_700_000_000_000));
        assert_eq!(utc_ms("2024-02-29T23:59:59Z"), Some(1_709_251_199_000));
        for text in [
            "2023-02-29T00:00:00Z",
            "2023-13-01T00:00:00Z",
            "2023-01-01T24:00:00Z",
            "2023-01-01T00:00:00",
            "2023-01-01",
            "1969-12-31T23:59:59Z",
            "soon",
        ] {
            assert_eq!(utc_ms(text), None, "{text}");
        }
    }

    #[test]
    fn values_are_shown_in_the_largest_unit_that_fits() {
        assert_eq!(show_duration(Duration::from_hours(24)), "1d");
        assert_eq!(show_duration(Duration::from_millis(1_500)), "1500ms");
        assert_eq!(show_duration(Duration::ZERO), "0ms");
        assert_eq!(show_bytes(1 << 20), "1MiB");
        assert_eq!(show_bytes(1_000_000), "1MB");
        assert_eq!(show_bytes(1_023), "1023B");
    }
}
