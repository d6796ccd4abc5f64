//! Times of reports, which are nanoseconds since the epoch, in UTC.

use std::fmt;

const NANOS_PER_MILLI: u64 = 1_000_000;
const MILLIS_PER_DAY: u64 = 86_400_000;

/// Shows a time as RFC 3339 has it, with milliseconds: `2026-03-01T12:00:00.000Z`.
pub(crate) struct Rfc3339(pub u64);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day, millis) = split(self.0);
        let (seconds, milli) = (millis / 1_000, millis % 1_000);
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"
        )
    }
}

/// Shows a time for people, to the minute: `2026-03-01 12:00 UTC`.
pub(super) struct Minute(pub u64);

impl fmt::Display for Minute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day, millis) = split(self.0);
        let (hour, minute) = (millis / 3_600_000, millis / 60_000 % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
    }
}

/// Shows how long something took, for people: `840 ms`, `12.4 s`, `3 min 20 s`, `2 h 5 min`.
pub(super) struct Span(pub u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0 / NANOS_PER_MILLI;
        match millis {
            0..1_000 => write!(f, "{millis} ms"),
            1_000..60_000 => write!(f, "{}.{} s", millis / 1_000, millis / 100 % 10),
            60_000..3_600_000 => {
                write!(f, "{} min {} s", millis / 60_000, millis / 1_000 % 60)
            }
            _ => write!(f, "{} h {} min", millis / 3_600_000, millis / 60_000 % 60),
        }
    }
}

/// Year, month, day, and milliseconds of the day.
fn split(nanos: u64) -> (u64, u64, u64, u64) {
    let millis = nanos / NANOS_PER_MILLI;
    let (year, month, day) = civil(millis / MILLIS_PER_DAY);
    (year, month, day, millis % MILLIS_PER_DAY)
}

/// The date that is `days` after 1970-01-01, in the proleptic Gregorian calendar. Years are counted from March, so
/// that a leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    // Days from 0000-03-01 to 1970-01-01.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = match from_march {
        0..10 => from_march + 3,
        _ => from_march - 9,
    };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn dates() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_164_799, "2024-02-28T23:59:59.000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ];
        for (seconds, text) in cases {
            assert_eq!(Rfc3339(seconds * SECOND).to_string(), text);
        }
        assert_eq!(Rfc3339(1_999_999).to_string(), "1970-01-01T00:00:00.001Z");
        assert_eq!(Rfc3339(u64::MAX).to_string(), "2554-07-21T23:34:33.709Z");
        assert_eq!(
            Minute(951_782_459 * SECOND).to_string(),
            "2000-02-29 00:00 UTC"
        );
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..300_000 {
            assert_eq!(civil(days), (year, month, day));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 => 28 + u64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
    }

    #[test]
    fn spans() {
        let cases = [
            (840, "840 ms"),
            (12_450, "12.4 s"),
            (200_000, "3 min 20 s"),
            (7_500_000, "2 h 5 min"),
        ];
        for (millis, text) in cases {
            assert_eq!(Span(millis * NANOS_PER_MILLI).to_string(), text);
        }
    }
}
