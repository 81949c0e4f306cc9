//! Reasons and times as commands print them.

use jiff::{SignedDuration, Timestamp};

/// The operator's reason, in brackets after what was done.
pub(super) fn because(reason: Option<&str>) -> String {
    reason.map(|reason| format!(" ({reason})")).unwrap_or_default()
}

/// When something continues by itself: `until 2026-11-28 14:05:00 UTC (30m 0s left)`. Without a
/// time, `otherwise`.
pub(super) fn until(at: Option<Timestamp>, otherwise: &str) -> String {
    match at {
        Some(at) => {
            let left = at.duration_since(Timestamp::now()).max(SignedDuration::ZERO);
            let (at, left) = (at.strftime("%Y-%m-%d %H:%M:%S UTC"), span(left.as_secs_f64()));
            format!("until {at} ({left} left)")
        }
        None => otherwise.to_owned(),
    }
}

/// A number of seconds as a person says it: `0.4s`, `12s`, `3m 20s`, `2h 5m`, `3d 4h`.
pub(super) fn span(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..=9 if seconds < 10.0 => format!("{seconds:.1}s"),
        0..60 => format!("{whole}s"),
        60..3_600 => format!("{}m {}s", whole / 60, whole % 60),
        3_600..86_400 => format!("{}h {}m", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{}d {}h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_by_people() {
        for (seconds, expect) in [
            (0.0, "0.0s"),
            (0.44, "0.4s"),
            (12.3, "12s"),
            (200.0, "3m 20s"),
            (7_500.0, "2h 5m"),
            (273_600.0, "3d 4h"),
        ] {
            assert_eq!(span(seconds), expect);
        }
    }
}
