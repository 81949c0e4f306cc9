//! Durations and sizes as people write them.

use std::fmt;
use std::time::Duration;

use offtake_sync::audit::Share;

/// A number of bytes; shown in the largest unit that divides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const BYTE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl ByteSize {
    /// `8MiB`, `500kB`, `1000B`. A number without a unit is refused, because its unit could only be
    /// guessed.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, unit) = split_number(text.trim())?;
        let (_, factor) = BYTE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
        number.checked_mul(*factor).map(Self)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, factor) = BYTE_UNITS
            .iter()
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor))
            .unwrap_or(&("B", 1));
        write!(f, "{}{name}", self.0 / factor)
    }
}

const TIME_UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// `5ms`, `60s`, `1h30m`, `7d`. A number without a unit is refused, because its unit could only be
/// guessed.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut microseconds: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = split_number(rest)?;
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == ' ').unwrap_or(after.len());
        let (_, factor) = TIME_UNITS.iter().find(|(name, _)| *name == &after[..unit_end])?;
        microseconds = microseconds.checked_add(number.checked_mul(*factor)?)?;
        rest = after[unit_end..].trim_start();
    }
    (!text.trim().is_empty()).then(|| Duration::from_micros(microseconds))
}

/// The duration in the largest unit that divides it, as [`parse_duration`] reads it.
pub fn show_duration(duration: Duration) -> String {
    let microseconds = duration.as_micros();
    let (name, factor) = TIME_UNITS
        .iter()
        .find(|(_, f)| {
            microseconds >= u128::from(*f) && microseconds.is_multiple_of(u128::from(*f))
        })
        .unwrap_or(&("s", 1_000_000));
    format!("{}{name}", microseconds / u128::from(*factor))
}

/// `1%`, `0.25%`, `100%`: at most two digits behind the point, more than nothing and at most all.
pub fn parse_share(text: &str) -> Option<Share> {
    let number = text.trim().strip_suffix('%')?.trim_end();
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    if whole.is_empty() || part.len() > 2 || !digits(whole) || !digits(part) {
        return None;
    }
    let part: u32 = format!("{part:0<2}").parse().ok()?;
    Share::of_hundredths(whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(part)?)
}

/// The share as [`parse_share`] reads it.
pub fn show_share(share: Share) -> String {
    let (whole, part) = (share.hundredths() / 100, share.hundredths() % 100);
    match part {
        0 => format!("{whole}%"),
        part => format!("{}%", format!("{whole}.{part:02}").trim_end_matches('0')),
    }
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_show() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(parse_duration(text).map(show_duration).as_deref(), expect, "{text}")
        };
        check("5ms", Some("5ms"));
        check("60s", Some("1m"));
        check("7d", Some("7d"));
        check("1h30m", Some("90m"));
        check("1h 30m", Some("90m"));
        check("1 h", Some("1h"));
        check("0s", Some("0s"));
        check("5", None);
        check("", None);
        check("-5s", None);
        check("5 parsecs", None);
        check("99999999999999999999d", None);
        check("9999999999999999d", None);
    }

    #[test]
    fn shares_read_and_show() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(parse_share(text).map(show_share).as_deref(), expect, "{text}")
        };
        check("1%", Some("1%"));
        check("0.50 %", Some("0.5%"));
        check("12.25%", Some("12.25%"));
        check("100%", Some("100%"));
        for refused in
            ["0%", "100.01%", "101%", "1", "1.234%", "-1%", "%", ".5%", "1.%x", "9999999999%"]
        {
            check(refused, None);
        }
    }

    #[test]
    fn sizes_read_and_show() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(ByteSize::parse(text).map(|s| s.to_string()).as_deref(), expect, "{text}")
        };
        check("8MiB", Some("8MiB"));
        check("8192 KiB", Some("8MiB"));
        check("500kb", Some("500kB"));
        check("17B", Some("17B"));
        check("8", None);
        check("8 bytes", None);
    }
}
