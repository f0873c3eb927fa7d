//! Figures as people read them. It must not know what they are of.

use std::time::Duration;

/// A duration in the unit that fits it.
#[must_use]
pub fn duration(took: Duration) -> String {
    let us = micros(took);
    if us < 1_000.0 {
        format!("{us:.1} us")
    } else if us < 1_000_000.0 {
        format!("{:.1} ms", us / 1_000.0)
    } else {
        format!("{:.2} s", us / 1_000_000.0)
    }
}

/// A number of bytes in the unit that fits it.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    if bytes < 10_000 {
        format!("{bytes} B")
    } else if bytes < 1 << 20 {
        format!("{} KiB", bytes >> 10)
    } else {
        format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
    }
}

/// A number with its thousands apart.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(' ');
        }
        shown.push(digit);
    }
    shown
}

/// A duration in microseconds, to a tenth.
#[must_use]
pub fn micros(took: Duration) -> f64 {
    (took.as_nanos() as f64 / 100.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_stand_in_the_unit_that_fits() {
        assert_eq!(duration(Duration::from_nanos(12_340)), "12.3 us");
        assert_eq!(duration(Duration::from_micros(12_340)), "12.3 ms");
        assert_eq!(duration(Duration::from_millis(12_340)), "12.34 s");
        assert_eq!(
            (bytes(9_999), bytes(65_536)),
            ("9999 B".to_owned(), "64 KiB".to_owned())
        );
        assert_eq!(bytes(3 << 19), "1.5 MiB");
        assert_eq!(
            (grouped(999), grouped(1_234_567)),
            ("999".to_owned(), "1 234 567".to_owned())
        );
    }
}
