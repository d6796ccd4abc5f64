//! Times in serialised form: RFC 3339 in UTC for people, to the millisecond; nanoseconds since the epoch otherwise.

use crate::report::when::Rfc3339;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// No time of RFC 3339 between 1970 and 2554.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a time is written as RFC 3339 says, such as 2027-01-31T12:00:00Z or 2027-01-31T12:00:00.5+01:00"
)]
pub struct InvalidTime;

/// Reads a date and time of RFC 3339 (section 5.6), with any offset and any fraction, whose digits after the ninth count for
/// nothing. Leap seconds are not taken: no clock here knows them.
///
/// # Errors
/// [`InvalidTime`] when it is none, or not between the epoch and where nanoseconds in 64 bits end.
pub fn parse(text: &str) -> Result<u64, InvalidTime> {
    read(text)
        .and_then(|nanos| u64::try_from(nanos).ok())
        .ok_or(InvalidTime)
}

/// A time as [`parse`] reads it, to the millisecond.
pub fn format(nanos: u64) -> String {
    Rfc3339(nanos).to_string()
}

fn read(text: &str) -> Option<i128> {
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't'])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let [year, month, day] = numbers(date, b'-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, b':', [2, 2, 2])?;
    let leaps = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of_month = match month {
        2 => 28 + u32::from(leaps),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if day == 0 || day > days_of_month || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction, offset) = match rest.strip_prefix('.') {
        None => ("", rest),
        Some(rest) => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            rest.split_at_checked(digits).filter(|_| digits > 0)?
        }
    };
    let offset = match offset {
        "Z" | "z" => 0,
        _ => {
            let east = match offset.as_bytes().first()? {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            let [hours, minutes] = numbers(&offset[1..], b':', [2, 2])?;
            if hours > 23 || minutes > 59 {
                return None;
            }
            east * i128::from(hours * 60 + minutes) * 60
        }
    };
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let in_day = i128::from((hour * 60 + minute) * 60 + second);
    let seconds = day_number(year, month, day) * 86_400 + in_day - offset;
    Some(seconds * NANOS_PER_SECOND + digits.parse::<i128>().ok()?)
}

/// Numbers of so many digits each, with `mark` between them.
fn numbers<const N: usize>(text: &str, mark: u8, digits: [usize; N]) -> Option<[u32; N]> {
    let mut numbers = [0; N];
    let mut parts = text.as_bytes().split(|byte| *byte == mark);
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.iter().all(u8::is_ascii_digit) {
            return None;
        }
        *number = part
            .iter()
            .fold(0, |n, digit| n * 10 + u32::from(digit - b'0'));
    }
    parts.next().is_none().then_some(numbers)
}

/// The day of a date of the Gregorian calendar, counted from 1970-01-01.
fn day_number(year: u32, month: u32, day: u32) -> i128 {
    // Years that begin in March have their leap day at the end.
    let year = i128::from(year) - i128::from(month <= 2);
    let month = i128::from((month + 9) % 12);
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (153 * month + 2) / 5 + i128::from(day) - 1 - 719_468
}

/// For `#[serde(with)]`.
pub(crate) mod instant {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(nanos: &u64, ser: S) -> Result<S::Ok, S::Error> {
        match ser.is_human_readable() {
            true => ser.collect_str(&Rfc3339(*nanos)),
            false => nanos.serialize(ser),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(de: D) -> Result<u64, D::Error> {
        if !de.is_human_readable() {
            return u64::deserialize(de);
        }
        let text = Cow::<str>::deserialize(de)?;
        parse(&text).map_err(de::Error::custom)
    }
}

/// The same for what may be missing.
pub(crate) mod maybe {
    use super::*;

    /// So that an option's own form goes around it.
    struct Instant(u64);

    impl Serialize for Instant {
        fn serialize<S: Serializer>(&self, ser: S) -> Result<S::Ok, S::Error> {
            instant::serialize(&self.0, ser)
        }
    }

    impl<'de> Deserialize<'de> for Instant {
        fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
            instant::deserialize(de).map(Instant)
        }
    }

    pub(crate) fn serialize<S: Serializer>(nanos: &Option<u64>, ser: S) -> Result<S::Ok, S::Error> {
        nanos.map(Instant).serialize(ser)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(de: D) -> Result<Option<u64>, D::Error> {
        Ok(Option::<Instant>::deserialize(de)?.map(|instant| instant.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_read_with_their_offsets_and_fractions() {
        let nanos = |seconds: u64| Ok(seconds * 1_000_000_000);
        for (text, time) in [
            ("1970-01-01T00:00:00Z", nanos(0)),
            ("1994-11-06T08:49:37Z", nanos(784_111_777)),
            ("1994-11-06t08:49:37z", nanos(784_111_777)),
            ("1994-11-06T10:19:37+01:30", nanos(784_111_777)),
            ("1994-11-05T23:49:37-09:00", nanos(784_111_777)),
            ("2000-02-29T00:00:00Z", nanos(951_782_400)),
            ("2100-03-01T00:00:00Z", nanos(4_107_542_400)),
            ("1970-01-01T00:00:00.5Z", Ok(500_000_000)),
            ("1970-01-01T00:00:00.000000001999Z", Ok(1)),
            ("1970-01-01T00:30:00+00:30", nanos(0)),
        ] {
            assert_eq!(parse(text), time, "{text}");
        }
        for bad in [
            "",
            "2027-01-01",
            "2027-01-01T00:00:00",
            "2027-01-01 00:00:00Z",
            "2027-13-01T00:00:00Z",
            "2027-00-01T00:00:00Z",
            "2027-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2027-01-00T00:00:00Z",
            "2027-04-31T00:00:00Z",
            "2027-01-01T24:00:00Z",
            "2027-01-01T00:60:00Z",
            "2027-01-01T00:00:60Z",
            "2027-01-01T00:00:00.Z",
            "2027-01-01T00:00:00+0100",
            "2027-01-01T00:00:00+24:00",
            "2027-01-01T00:00:00+01:60",
            "2027-01-01T00:00:00Zx",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:29:59+00:30",
            "9999-01-01T00:00:00Z",
            "2027-+1-01T00:00:00Z",
            "2027-01-01T00:00:0éZ",
            "2027-01-01Té",
        ] {
            assert_eq!(parse(bad), Err(InvalidTime), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(millis in 0..=u64::MAX / 1_000_000) {
            prop_assert_eq!(parse(&format(millis * 1_000_000)), Ok(millis * 1_000_000));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[0-9TZ:.+\\-\\PC]{0,30}") {
            let _ = parse(&text);
        }
    }
}
