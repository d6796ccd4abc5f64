//! The header `Retry-After` (RFC 9110, section 10.2.3).

use std::time::{Duration, UNIX_EPOCH};

/// The longest wait that is taken from a server.
pub const LIMIT: Duration = Duration::from_secs(24 * 3600);

/// How long to wait by a `Retry-After` that was received when the clock said `now`, in seconds since 1970-01-01
/// UTC; at most [`LIMIT`]. A date that has passed means no wait. `None` if the value is neither a number of
/// seconds nor a date in one of the three forms of RFC 9110, section 5.6.7; the wait is the caller's choice then.
pub fn parse(value: &str, now: u64) -> Option<Duration> {
    let value = value.trim_ascii();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are more than the limit.
        let seconds = value.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(LIMIT));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let seconds = date
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    Some(Duration::from_secs(seconds.saturating_sub(now)).min(LIMIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9110's example date: Sun, 06 Nov 1994 08:49:37 GMT.
    const EXAMPLE: u64 = 784_111_777;

    #[track_caller]
    fn check(value: &str, now: u64, expected: Option<u64>) {
        assert_eq!(
            parse(value, now),
            expected.map(Duration::from_secs),
            "{value:?}"
        );
    }

    #[test]
    fn seconds() {
        check("120", 0, Some(120));
        check(" 0 ", 0, Some(0));
        check("86401", 0, Some(86_400));
        check("99999999999999999999999", 0, Some(86_400));
        for wrong in ["", "-1", "+1", "1.5", "1s", "soon", "1, 2"] {
            check(wrong, 0, None);
        }
    }

    #[test]
    fn dates_in_all_three_forms() {
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            check(date, EXAMPLE - 90, Some(90));
            check(date, EXAMPLE, Some(0));
            check(date, EXAMPLE + 90, Some(0));
            check(date, 0, Some(86_400));
        }
        check("Sun, 06 Nov 1994 08:49:37 CET", 0, None);
        check("Sun, 31 Feb 1994 08:49:37 GMT", 0, None);
    }
}
