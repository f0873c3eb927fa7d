//! What numbers and bytes mean: decimals, dates and times, UUIDs, as text and back. It must not know schemas.

use num_bigint::BigInt;
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime};

use super::super::unfit::{Unfit, shown};
use super::plan::Unit;

/// Longest decimal in bytes, more than 1 200 digits. Turning it into text takes the square of its length, and whoever
/// writes data must not choose that.
const DECIMAL_BYTES_MAX: usize = 512;

/// Longest text that is taken for a decimal: what so many bytes come to, with a sign and a point.
const DECIMAL_TEXT_MAX: usize = 1_300;

/// The day 0 of Avro as `time` counts days.
const EPOCH_JULIAN_DAY: i32 = 2_440_588;

/// What a decimal says.
pub(super) fn decimal(unscaled: &[u8], scale: usize) -> Result<String, Unfit> {
    if unscaled.len() > DECIMAL_BYTES_MAX {
        return Err(decimal_too_long());
    }
    let unscaled = BigInt::from_signed_bytes_be(unscaled).to_string();
    if scale == 0 {
        return Ok(unscaled);
    }
    let (sign, digits) = match unscaled.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", unscaled.as_str()),
    };
    if scale > DECIMAL_TEXT_MAX {
        return Err(decimal_too_long());
    }
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    Ok(format!("{sign}{whole}.{fraction}"))
}

fn decimal_too_long() -> Unfit {
    Unfit::new(format!(
        "a decimal of more than {DECIMAL_BYTES_MAX} bytes is not read"
    ))
}

/// The unscaled bytes of a decimal: as few as it needs, or `size` of them.
pub(super) fn unscaled(
    text: &str,
    (precision, scale): (usize, usize),
    size: Option<usize>,
) -> Result<Vec<u8>, Unfit> {
    let no_decimal = || Unfit::new(format!("{:?} is no decimal", shown(text)));
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse().map_err(|_| no_decimal())?),
        None => (text, 0_i32),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let unsigned = whole.strip_prefix(['-', '+']).unwrap_or(whole);
    let digits = || unsigned.bytes().chain(fraction.bytes());
    if text.len() > DECIMAL_TEXT_MAX
        || digits().next().is_none()
        || !digits().all(|digit| digit.is_ascii_digit())
    {
        return Err(no_decimal());
    }
    // How many zeros make the digits a whole number at the schema's scale; where negative, how many go.
    let zeros = scale as i64 - fraction.len() as i64 + i64::from(exponent);
    let mut digits: String = digits().map(char::from).collect();
    if zeros >= 0 {
        if zeros as usize > DECIMAL_TEXT_MAX {
            return Err(no_decimal());
        }
        digits.extend(std::iter::repeat_n('0', zeros as usize));
    } else {
        let kept = digits.len().saturating_sub(zeros.unsigned_abs() as usize);
        if digits[kept..].bytes().any(|digit| digit != b'0') {
            let message = format!("{text} has more than {scale} digits after the point");
            return Err(Unfit::new(message));
        }
        digits.truncate(kept);
    }
    let significant = digits.trim_start_matches('0');
    if significant.len() > precision {
        let message = format!("{text} has more than {precision} digits at scale {scale}");
        return Err(Unfit::new(message));
    }
    let sign = if whole.starts_with('-') { "-" } else { "" };
    let parsed = format!("{sign}{significant:0>1}").parse::<BigInt>();
    let bytes = parsed.map_err(|_| no_decimal())?.to_signed_bytes_be();
    let Some(size) = size else {
        return Ok(bytes);
    };
    let lacking = size.checked_sub(bytes.len()).ok_or_else(|| {
        Unfit::new(format!(
            "{text} needs more than the {size} bytes of its type"
        ))
    })?;
    let filling = if bytes[0] >= 0x80 { 0xff } else { 0 };
    let mut filled = vec![filling; lacking];
    filled.extend(bytes);
    Ok(filled)
}

/// A date as ISO 8601 has it; nothing outside of the years 0 to 9999.
pub(super) fn date(days: i32) -> Option<String> {
    let date = Date::from_julian_day(days.checked_add(EPOCH_JULIAN_DAY)?).ok()?;
    date_text(date)
}

fn date_text(date: Date) -> Option<String> {
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    (year >= 0).then(|| format!("{year:04}-{month:02}-{day:02}"))
}

/// A time of day; nothing where it is none.
pub(super) fn time(at: i64, unit: Unit) -> Option<String> {
    let nanos = i128::from(at) * nanos_of(unit);
    let day = 24 * 3_600 * 1_000_000_000;
    (0..day).contains(&nanos).then_some(())?;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
    Some(clock_text(time, unit))
}

/// A point in time as RFC 3339 has it, and without the zone where it is local; nothing outside of the years 0 to 9999.
pub(super) fn timestamp(at: i64, unit: Unit, local: bool) -> Option<String> {
    let nanos = i128::from(at) * nanos_of(unit);
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
    let date = date_text(time.date())?;
    let zone = if local { "" } else { "Z" };
    Some(format!("{date}T{}{zone}", clock_text(time, unit)))
}

fn clock_text(time: OffsetDateTime, unit: Unit) -> String {
    let (hour, minute, second) = time.to_hms();
    let fraction = i128::from(time.nanosecond()) / nanos_of(unit);
    let digits = match unit {
        Unit::Millis => 3,
        Unit::Micros => 6,
        Unit::Nanos => 9,
    };
    format!("{hour:02}:{minute:02}:{second:02}.{fraction:0digits$}")
}

fn nanos_of(unit: Unit) -> i128 {
    match unit {
        Unit::Millis => 1_000_000,
        Unit::Micros => 1_000,
        Unit::Nanos => 1,
    }
}

/// Days since 1970.
pub(super) fn read_date(text: &str) -> Result<i64, Unfit> {
    let nanos = read_rfc3339(&format!("{text}T00:00:00Z"));
    let nanos =
        nanos.ok_or_else(|| Unfit::new(format!("{:?} is no date (2026-11-29)", shown(text))))?;
    Ok(nanos.div_euclid(24 * 3_600 * 1_000_000_000) as i64)
}

/// Units since midnight.
pub(super) fn read_time(text: &str, unit: Unit) -> Result<i64, Unfit> {
    let nanos = read_rfc3339(&format!("1970-01-01T{text}Z"));
    let nanos = nanos.ok_or_else(|| {
        Unfit::new(format!(
            "{:?} is no time of day (12:30:00.000)",
            shown(text)
        ))
    })?;
    in_units(nanos, unit, text)
}

/// Units since 1970.
pub(super) fn read_timestamp(text: &str, unit: Unit, local: bool) -> Result<i64, Unfit> {
    let (nanos, like) = if local {
        let nanos = read_rfc3339(&format!("{text}Z"));
        (nanos, "2026-11-29T12:30:00.000")
    } else {
        (read_rfc3339(text), "2026-11-29T12:30:00.000Z")
    };
    let nanos =
        nanos.ok_or_else(|| Unfit::new(format!("{:?} is no time ({like})", shown(text))))?;
    in_units(nanos, unit, text)
}

fn read_rfc3339(text: &str) -> Option<i128> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Some(time.unix_timestamp_nanos())
}

fn in_units(nanos: i128, unit: Unit, text: &str) -> Result<i64, Unfit> {
    let each = nanos_of(unit);
    if nanos % each != 0 {
        let unit = format!("{unit:?}").to_lowercase();
        return Err(Unfit::new(format!(
            "{text} says more than its type holds, which counts {unit}"
        )));
    }
    i64::try_from(nanos / each)
        .map_err(|_| Unfit::new(format!("{text} is too far away for its type")))
}

/// As it is mostly written.
pub(super) fn uuid(bytes: [u8; 16]) -> String {
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    parts.join("-")
}

/// The bytes of a UUID.
pub(super) fn read_uuid(text: &str) -> Result<[u8; 16], Unfit> {
    let shape = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    let hex = text.replace('-', "");
    let number = u128::from_str_radix(&hex, 16).ok();
    number
        .filter(|_| text.len() == 36 && text.bytes().enumerate().all(shape))
        .map(u128::to_be_bytes)
        .ok_or_else(|| Unfit::new(format!("{:?} is no UUID", shown(text))))
}

/// Months, days and milliseconds.
pub(super) fn duration(bytes: [u8; 12]) -> [u32; 3] {
    let word =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    [word(0), word(4), word(8)]
}

/// The words for numbers that JSON does not have.
pub(super) fn not_finite(number: f64) -> &'static str {
    if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_go_round_at_their_scale_and_are_never_rounded() {
        for (text, scale) in [
            ("0.00", 2),
            ("-0.01", 2),
            ("12.34", 2),
            ("-128", 0),
            ("99999999999999999999999999999999999999.9999", 4),
        ] {
            let bytes = unscaled(text, (60, scale), None).unwrap();
            assert_eq!(decimal(&bytes, scale).unwrap(), text);
            let filled = unscaled(text, (60, scale), Some(30)).unwrap();
            assert_eq!(
                (filled.len(), decimal(&filled, scale).unwrap()),
                (30, text.to_owned())
            );
        }
        assert_eq!(unscaled("1.50", (3, 1), None).unwrap(), [15]);
        assert_eq!(unscaled("15e-1", (3, 1), None).unwrap(), [15]);
        assert_eq!(unscaled("1.5E2", (4, 1), None).unwrap(), [5, 220]);
        for wrong in [
            "1.55",
            "",
            "-",
            "1.2.3",
            "0x10",
            "1e999999999",
            "12345",
            "NaN",
        ] {
            assert!(unscaled(wrong, (3, 1), None).is_err(), "{wrong}");
        }
        assert!(
            unscaled("128", (3, 0), Some(1)).is_err(),
            "a byte ends at 127"
        );
        assert!(decimal(&[1; DECIMAL_BYTES_MAX + 1], 0).is_err());
    }

    #[test]
    fn times_go_round_in_every_unit_and_what_is_no_date_stays_a_number() {
        assert_eq!(date(20_786).unwrap(), "2026-11-29");
        assert_eq!(read_date("2026-11-29").unwrap(), 20_786);
        assert_eq!(date(-1).unwrap(), "1969-12-31");
        assert_eq!((date(i32::MAX), date(i32::MIN)), (None, None));
        assert_eq!(time(45_000_123, Unit::Millis).unwrap(), "12:30:00.123");
        assert_eq!(
            read_time("12:30:00.123", Unit::Micros).unwrap(),
            45_000_123_000
        );
        assert_eq!(
            (time(-1, Unit::Millis), time(86_400_000, Unit::Millis)),
            (None, None)
        );
        let text = timestamp(-1, Unit::Micros, false).unwrap();
        assert_eq!(text, "1969-12-31T23:59:59.999999Z");
        assert_eq!(read_timestamp(&text, Unit::Micros, false).unwrap(), -1);
        assert_eq!(timestamp(i64::MIN, Unit::Millis, false), None);
        let local = timestamp(i64::MAX, Unit::Nanos, true).unwrap();
        assert_eq!(local, "2262-04-11T23:47:16.854775807");
        assert_eq!(read_timestamp(&local, Unit::Nanos, true).unwrap(), i64::MAX);
        assert_eq!(
            read_timestamp("2026-11-29T13:30:00+01:00", Unit::Millis, false).unwrap(),
            1_795_955_400_000
        );
        assert!(read_timestamp("2026-11-29T13:30:00.0001Z", Unit::Millis, false).is_err());
        assert!(read_timestamp("yesterday", Unit::Millis, false).is_err());
    }

    #[test]
    fn uuids_go_round() {
        let text = "0190b6d3-7e0a-7c3e-8f00-00000000000f";
        assert_eq!(uuid(read_uuid(text).unwrap()), text);
        for wrong in [
            "",
            "0190b6d37e0a7c3e8f0000000000000f",
            "+190b6d3-7e0a-7c3e-8f00-00000000000f",
        ] {
            assert!(read_uuid(wrong).is_err(), "{wrong}");
        }
    }
}
