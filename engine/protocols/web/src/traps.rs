//! Crawler traps: places where a site makes ever more URLs.
//!
//! Some show in a URL by itself ([`by_shape`]): the same segments over and over, as a relative link that misses a
//! slash makes them, or more depth or parameters than a person's site has. Calendars, which link to the next month for
//! ever, show only in number: [`without_dates`] says which URLs are to be counted together, and whoever crawls keeps
//! the counts. What has no end in another way (sessions in URLs, one script with ever new queries) is left to the
//! crawler's bounds on targets.
//!
//! The rule on segments that follow each other is that of the Internet Archive's Heritrix, whose
//! `PathologicalPathDecideRule` bears as little.

use std::ops::RangeInclusive;
use thiserror::Error;
use url::{Position, Url};

/// Segments of a path above which a URL is taken to be made by a machine that does not stop.
pub const MAX_SEGMENTS: usize = 40;
/// How often the same segments may stand one behind the other.
pub const MAX_RUN: usize = 2;
/// How often one segment may stand in a path, wherever.
pub const MAX_SAME: usize = 3;
/// Parameters of a query above which it is taken to be made by a machine.
pub const MAX_PARAMETERS: usize = 40;
/// Links from a start page behind which dates are counted: archives are near, calendars go on for ever.
pub const NEAR: u32 = 10;
/// URLs further away than [`NEAR`] that differ only in their dates, and are followed: eight years of months.
pub const MAX_DATES: i64 = 100;

/// Years that are taken for such.
const YEARS: RangeInclusive<u32> = 1900..=2199;
/// What stands where a date stood. The braces are in no path that was parsed.
const DATE: &str = "{date}";

/// Why a URL is taken for part of a trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum Trap {
    /// More than [`MAX_SEGMENTS`].
    #[error("the path is too deep")]
    DeepPath,
    /// The same segments follow each other more than [`MAX_RUN`] times, or one stands in the path more than
    /// [`MAX_SAME`] times.
    #[error("the path repeats itself")]
    RepeatedSegment,
    /// More than [`MAX_PARAMETERS`].
    #[error("the query has too many parameters")]
    ManyParameters,
    /// More than [`MAX_DATES`] URLs that differ only in their dates.
    #[error("a calendar without end")]
    Calendar,
}

impl Trap {
    /// A name for programs.
    pub fn code(self) -> &'static str {
        match self {
            Trap::DeepPath => "trap_deep_path",
            Trap::RepeatedSegment => "trap_repeated_segment",
            Trap::ManyParameters => "trap_many_parameters",
            Trap::Calendar => "trap_calendar",
        }
    }
}

/// The trap that a URL shows by itself, if any.
pub fn by_shape(url: &Url) -> Option<Trap> {
    let segments = url.path().split('/').filter(|segment| !segment.is_empty());
    // One more than may be tells that there are too many; the rest would only be work.
    let segments: Vec<&str> = segments.take(MAX_SEGMENTS + 1).collect();
    if segments.len() > MAX_SEGMENTS {
        return Some(Trap::DeepPath);
    }
    if is_repeated(&segments) || comes_back(&segments) {
        return Some(Trap::RepeatedSegment);
    }
    let parameters = parameters(url.query().unwrap_or_default());
    (parameters.count() > MAX_PARAMETERS).then_some(Trap::ManyParameters)
}

/// Names and values of a query, with what stands between them left out.
fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').unwrap_or((part, "")))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether the same segments follow each other too often. One number over and over does not count: maps have
/// `/0/0/0`.
fn is_repeated(segments: &[&str]) -> bool {
    const TIMES: usize = MAX_RUN + 1;
    for period in 1..=segments.len() / TIMES {
        // How many segments in a row are what they were one period before.
        let mut same = 0;
        for at in period..segments.len() {
            let is_tile = period == 1 && is_number(segments[at]);
            let is_same = segments[at] == segments[at - period] && !is_tile;
            same = if is_same { same + 1 } else { 0 };
            if same >= period * (TIMES - 1) {
                return true;
            }
        }
    }
    false
}

/// Whether one segment, not a number, stands in the path too often.
fn comes_back(segments: &[&str]) -> bool {
    segments.iter().any(|segment| {
        let same = segments.iter().filter(|other| *other == segment);
        !is_number(segment) && same.count() > MAX_SAME
    })
}

/// For a URL that has a date in it: authority, path and query with `{date}` for each date. `None` if there is none.
///
/// A date is a year and a month, with or without a day and a time, separated by `-`, `_`, `.` or `/`, or eight digits;
/// or a number under a parameter such as `month`.
pub fn without_dates(url: &Url) -> Option<String> {
    let mut text = url[Position::BeforeHost..Position::BeforePath].to_owned();
    let mut has_date = copy_without_dates(url.path(), &mut text);
    let mut separator = '?';
    for (name, value) in parameters(url.query().unwrap_or_default()) {
        text.push(separator);
        separator = '&';
        has_date |= copy_without_dates(name, &mut text);
        text.push('=');
        if is_date_name(name) && is_number(value) {
            has_date = true;
            text.push_str(DATE);
        } else {
            has_date |= copy_without_dates(value, &mut text);
        }
    }
    has_date.then_some(text)
}

/// Appends `from` to `to` with its dates replaced; whether there were any.
fn copy_without_dates(from: &str, to: &mut String) -> bool {
    let bytes = from.as_bytes();
    let (mut at, mut copied) = (0, 0);
    while at < bytes.len() {
        let is_begin = at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
        // A digit is no part of a longer character: both slices are whole.
        match date(&bytes[at..]).filter(|_| is_begin) {
            Some(length) => {
                to.push_str(&from[copied..at]);
                to.push_str(DATE);
                at += length;
                copied = at;
            }
            None => at += 1,
        }
    }
    to.push_str(&from[copied..]);
    copied > 0
}

/// How long the date is with which `text` begins.
fn date(text: &[u8]) -> Option<usize> {
    let year = digits(text, 4)?;
    if !YEARS.contains(&year) {
        return None;
    }
    let separator = *text.get(4)?;
    let end = match separator {
        b'-' | b'_' | b'.' | b'/' => {
            let month = 5 + part(&text[5..], 1..=12)?;
            let day = text.get(month).filter(|byte| **byte == separator);
            let day = day.and_then(|_| part(&text[month + 1..], 1..=31));
            day.map_or(month, |length| month + 1 + length)
        }
        _ => {
            let is_date = (1..=12).contains(&digits(&text[4..], 2)?)
                && (1..=31).contains(&digits(&text[6..], 2)?);
            if !is_date {
                return None;
            }
            8
        }
    };
    match text.get(end) {
        // A time, which ends with the segment or the parameter.
        Some(b'T' | b't') if text.get(end + 1).is_some_and(u8::is_ascii_digit) => {
            let rest = text[end..].iter().position(|byte| *byte == b'/');
            Some(rest.map_or(text.len(), |length| end + length))
        }
        Some(byte) if byte.is_ascii_alphanumeric() => None,
        _ => Some(end),
    }
}

/// How long the number of one or two digits is with which `text` begins, if it is in `range`.
fn part(text: &[u8], range: RangeInclusive<u32>) -> Option<usize> {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let is_part = (1..=2).contains(&length) && range.contains(&digits(text, length)?);
    is_part.then_some(length)
}

/// The number that the first `count` bytes are.
fn digits(text: &[u8], count: usize) -> Option<u32> {
    text.get(..count)?.iter().try_fold(0, |number, byte| {
        byte.is_ascii_digit()
            .then(|| number * 10 + u32::from(byte - b'0'))
    })
}

/// Parameters of calendars, whose numbers are parts of dates.
fn is_date_name(name: &str) -> bool {
    ["year", "month", "day", "week", "date", "yr", "mon"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url(path: &str) -> Url {
        Url::parse("https://h").unwrap().join(path).unwrap()
    }

    #[track_caller]
    fn check_shape(path: &str, expected: Option<Trap>) {
        assert_eq!(by_shape(&url(path)), expected, "{path}");
    }

    #[test]
    fn paths_that_repeat_themselves() {
        check_shape("/a/b/c", None);
        check_shape("/x1/y2/z3/w4", None);
        check_shape("/a/a/b", None);
        check_shape("/a/a/a", Some(Trap::RepeatedSegment));
        check_shape("/a//a/a/", Some(Trap::RepeatedSegment));
        check_shape("/x/y/x/y/x?a=1&b=2", None);
        check_shape("/x/y/x/y/x/y", Some(Trap::RepeatedSegment));
        check_shape("/x/a/b/a/b/a/b/y", Some(Trap::RepeatedSegment));
        check_shape("/a/b/a/b/c/a/b", None);
        check_shape("/de/a/de/b/de/c", None);
        check_shape("/de/a/de/b/de/c/de", Some(Trap::RepeatedSegment));
        check_shape("/tiles/0/0/0/0", None);
        check_shape("/1/2/1/2/1/2", Some(Trap::RepeatedSegment));
    }

    #[test]
    fn depth_and_parameters_have_bounds() {
        let deep = |count: usize| (0..count).map(|n| format!("/d{n}")).collect::<String>();
        check_shape(&deep(MAX_SEGMENTS), None);
        check_shape(&deep(MAX_SEGMENTS + 1), Some(Trap::DeepPath));
        check_shape(&"/a".repeat(1_000), Some(Trap::DeepPath));
        let many = |count: usize| format!("/?{}", "a=1&".repeat(count));
        check_shape(&many(MAX_PARAMETERS), None);
        check_shape(&many(MAX_PARAMETERS + 1), Some(Trap::ManyParameters));
    }

    #[test]
    fn what_has_a_date_is_told_without_it() {
        let check = |path: &str, expected: Option<&str>| {
            assert_eq!(without_dates(&url(path)).as_deref(), expected, "{path}");
        };
        for date in [
            "2026-11",
            "2026-11-25",
            "2026-1-5",
            "20261125",
            "2026_11",
            "2026.11.25",
            "2026-11-25T10:00",
            "2026/11/25",
            "2026/1",
        ] {
            check(&format!("/cal/{date}"), Some("h/cal/{date}"));
            check(&format!("/cal/{date}/x"), Some("h/cal/{date}/x"));
            check(
                &format!("/cal?day={date}&a=1"),
                Some("h/cal?day={date}&a=1"),
            );
            check(&format!("/log-{date}"), Some("h/log-{date}"));
        }
        check("/2026-11-25.html", Some("h/{date}.html"));
        check("/2026/11/2026-11-25/", Some("h/{date}/{date}/"));
        check("/2026/11/post-7", Some("h/{date}/post-7"));
        check("/c?year=2026&month=1", Some("h/c?year={date}&month={date}"));
        check("/c?Week=5&q=1", Some("h/c?Week={date}&q=1"));
        for other in [
            "2026",
            "2026-13",
            "2026-0",
            "2026-111",
            "20261399",
            "20261140",
            "202611",
            "0026-11",
            "2026-11x",
            "12345678",
            "12026-11",
            "p1234-56",
            "p2026-11",
            "page/2026",
            "2026/1234",
            "\u{e9}\u{e9}-11",
        ] {
            check(&format!("/{other}"), None);
            check(&format!("/c?day={other}x"), None);
        }
        check("/c?month=may&day=", None);
        check("https://h:2026/11", None);
    }

    #[test]
    fn a_calendar_is_one_family_and_a_blog_is_many() {
        let families = |path: &dyn Fn(u32) -> String| {
            let all = (0..100).map(|n| without_dates(&url(&path(n))).expect("a date"));
            all.collect::<std::collections::BTreeSet<_>>().len()
        };
        let (month, year) = (|n: u32| n % 12 + 1, |n: u32| 2026 + n / 12);
        assert_eq!(families(&|n| format!("/{}/{:02}", year(n), month(n))), 1);
        assert_eq!(families(&|n| format!("/{}/{}/1/", year(n), month(n))), 1);
        assert_eq!(
            families(&|n| format!("/c?m={}-{:02}", year(n), month(n))),
            1
        );
        let blog = |n| format!("/{}/{:02}/post-{n}", year(n), month(n));
        assert_eq!(families(&blog), 100);
    }

    proptest! {
        #[test]
        fn nothing_panics_and_no_date_is_left(
            path in "(/|[0-9]{1,4}|20[0-9]{2}[-/._][01][0-9]|[-_.aT]|\u{e9}){0,40}",
            query in "([&=]|month|[0-9]{1,8}|2026-[01][0-9]|[-.aT]){0,40}",
        ) {
            let url = Url::parse(&format!("http://h/{path}?{query}")).unwrap();
            by_shape(&url);
            if let Some(family) = without_dates(&url) {
                prop_assert!(family.contains(DATE));
                let path = family.split('?').next().unwrap_or_default();
                let mut again = String::new();
                prop_assert!(!copy_without_dates(path, &mut again), "a date is left in {path}");
                prop_assert_eq!(again, path);
            }
        }
    }
}
