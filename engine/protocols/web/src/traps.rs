//! Crawler traps: places where a site makes ever more URLs.
//!
//! Some show in a URL by itself ([`by_shape`]): the same segments over and over, as a relative link that misses a
//! slash makes them, or more depth or parameters than a person's site has. Others show only in number: calendars
//! that link to the next month forever, session identifiers in URLs, one script or folder with endless children.
//! Those are counted by a [`TrapGuard`], one for each host.
//!
//! A guard is a plain value: the same URLs in the same order give the same answers.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use thiserror::Error;
use url::Url;

/// From when on a URL is taken for part of a trap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrapLimits {
    /// Segments of a path.
    pub depth: usize,
    /// How often the same segments may follow each other.
    pub repeats: usize,
    /// Parameters of a query.
    pub parameters: usize,
    /// Bytes of a query.
    pub query_bytes: usize,
    /// URLs of a host that differ only in a date.
    pub dates: u32,
    /// URLs of a host that differ only in a session identifier.
    pub sessions: u32,
    /// URLs of a host that differ only in their query.
    pub queries: u32,
    /// URLs of a host in one folder, those in folders below it not included.
    pub siblings: u32,
    /// Counters that a guard keeps; each takes some forty bytes.
    pub counters: usize,
}

impl Default for TrapLimits {
    fn default() -> Self {
        TrapLimits {
            depth: 32,
            repeats: 3,
            parameters: 32,
            query_bytes: 2_048,
            // Ten years of months, or a year and a half of days.
            dates: 500,
            sessions: 3,
            queries: 10_000,
            siblings: 20_000,
            counters: 16_384,
        }
    }
}

/// Why a URL is taken for part of a trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trap {
    /// More than [`TrapLimits::depth`] segments.
    #[error("the path is too deep")]
    Depth,
    /// The same segments follow each other at least [`TrapLimits::repeats`] times.
    #[error("the path repeats itself")]
    Repeats,
    /// More than [`TrapLimits::parameters`].
    #[error("the query has too many parameters")]
    Parameters,
    /// The query is longer than [`TrapLimits::query_bytes`].
    #[error("the query is too long")]
    QueryLength,
    /// [`TrapLimits::dates`] URLs like this were taken that have another date.
    #[error("a calendar without end")]
    Calendar,
    /// [`TrapLimits::sessions`] URLs like this were taken that have another session identifier.
    #[error("the same page with ever new session identifiers")]
    Session,
    /// [`TrapLimits::queries`] URLs with this path were taken.
    #[error("the same path with ever new queries")]
    Queries,
    /// [`TrapLimits::siblings`] URLs in this folder were taken.
    #[error("a folder with ever new pages")]
    Siblings,
}

/// The trap that a URL shows by itself, if any.
pub fn by_shape(url: &Url, limits: &TrapLimits) -> Option<Trap> {
    let segments: Vec<&str> = segments(url.path()).collect();
    if segments.len() > limits.depth {
        return Some(Trap::Depth);
    }
    if repeats(&segments, limits.repeats) {
        return Some(Trap::Repeats);
    }
    let query = url.query().unwrap_or_default();
    if query.len() > limits.query_bytes {
        return Some(Trap::QueryLength);
    }
    if parameters(query).count() > limits.parameters {
        return Some(Trap::Parameters);
    }
    None
}

/// Counts what the URLs of one host have in common, and says which is one too many.
///
/// It counts in bounded memory: if there is no room for a counter, the lower half of them is forgotten. A trap is a
/// large number by nature, and stays.
#[derive(Clone, Debug)]
pub struct TrapGuard {
    limits: TrapLimits,
    counts: BTreeMap<Key, u32>,
}

/// What is counted: a trap, and the hash of what its URLs have in common.
type Key = (Trap, u64);

impl TrapGuard {
    /// A guard that has seen nothing.
    pub fn new(limits: TrapLimits) -> Self {
        TrapGuard {
            limits,
            counts: BTreeMap::new(),
        }
    }

    /// Takes a URL of the host that was not given before, or says which trap it belongs to. What is refused is not
    /// counted.
    ///
    /// # Errors
    ///
    /// The trap.
    pub fn admit(&mut self, url: &Url) -> Result<(), Trap> {
        if let Some(trap) = by_shape(url, &self.limits) {
            return Err(trap);
        }
        let families = families(url);
        for (trap, family) in &families {
            let count = self.counts.get(&(*trap, *family)).copied().unwrap_or(0);
            if count >= self.limit(*trap) {
                return Err(*trap);
            }
        }
        for family in families {
            self.count(family);
        }
        Ok(())
    }

    /// How many counters it holds.
    pub fn counters(&self) -> usize {
        self.counts.len()
    }

    fn limit(&self, trap: Trap) -> u32 {
        match trap {
            Trap::Calendar => self.limits.dates,
            Trap::Session => self.limits.sessions,
            Trap::Queries => self.limits.queries,
            Trap::Siblings => self.limits.siblings,
            Trap::Depth | Trap::Repeats | Trap::Parameters | Trap::QueryLength => u32::MAX,
        }
    }

    fn count(&mut self, key: Key) {
        if let Some(count) = self.counts.get_mut(&key) {
            *count += 1;
            return;
        }
        if self.counts.len() >= self.limits.counters {
            self.forget_half();
        }
        if self.counts.len() < self.limits.counters {
            self.counts.insert(key, 1);
        }
    }

    /// Forgets the lower half of the counters; of equal ones, those that come first.
    fn forget_half(&mut self) {
        let mut counts: Vec<u32> = self.counts.values().copied().collect();
        let half = counts.len().div_ceil(2);
        if half == 0 {
            return;
        }
        let (_, median, _) = counts.select_nth_unstable(half - 1);
        let median = *median;
        let mut left = half;
        self.counts.retain(|_, count| {
            let goes = *count <= median && left > 0;
            left -= usize::from(goes);
            !goes
        });
    }
}

/// What a URL has in common with others, for each trap that it may belong to.
fn families(url: &Url) -> Vec<Key> {
    let path = url.path();
    let query = url.query().unwrap_or_default();
    let mut families = Vec::with_capacity(4);
    if let Some(family) = without_dates(path, query) {
        families.push((Trap::Calendar, family));
    }
    if let Some(family) = without_session(path, query) {
        families.push((Trap::Session, family));
    }
    if url.query().is_some() {
        families.push((Trap::Queries, Hash::new().add(path).0));
    } else {
        let folder = &path[..path.rfind('/').map_or(0, |at| at + 1)];
        families.push((Trap::Siblings, Hash::new().add(folder).0));
    }
    families
}

/// The parts of a path between slashes, but for empty ones.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// Names and values of a query.
fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').unwrap_or((part, "")))
}

/// Whether the same segments follow each other `times` times. One number over and over does not count: maps have
/// `/0/0/0`.
fn repeats(segments: &[&str], times: usize) -> bool {
    if times < 2 {
        return false;
    }
    for period in 1..=segments.len() / times {
        // How many segments in a row are what they were one period before.
        let mut same = 0;
        for at in period..segments.len() {
            let is_number = period == 1 && segments[at].bytes().all(|byte| byte.is_ascii_digit());
            same = if segments[at] == segments[at - period] && !is_number {
                same + 1
            } else {
                0
            };
            if same >= period * (times - 1) {
                return true;
            }
        }
    }
    false
}

/// The hash of a URL without its dates; `None` if it has none.
fn without_dates(path: &str, query: &str) -> Option<u64> {
    let mut hash = Hash::new();
    let mut has_date = false;
    let segments: Vec<&str> = segments(path).collect();
    let mut at = 0;
    while at < segments.len() {
        let length = date_segments(&segments[at..]);
        if length > 0 {
            has_date = true;
            hash = hash.add("\0");
            at += length;
        } else {
            hash = hash.add(segments[at]);
            at += 1;
        }
    }
    hash = hash.add("?");
    for (name, value) in parameters(query) {
        hash = hash.add(name);
        if is_date(value) || is_date_name(name) && is_number(value) {
            has_date = true;
        } else {
            hash = hash.add(value);
        }
    }
    has_date.then_some(hash.0)
}

/// How many segments at the start of these are a date: `2026/11`, `2026/11/25`, or one such as `2026-11-25`.
fn date_segments(segments: &[&str]) -> usize {
    let within = |segment: Option<&&str>, range: std::ops::RangeInclusive<u32>| {
        segment.is_some_and(|s| s.len() <= 2 && number(s).is_some_and(|n| range.contains(&n)))
    };
    if segments.first().is_some_and(|segment| is_date(segment)) {
        1
    } else if segments.first().is_some_and(|segment| is_year(segment)) {
        match (
            within(segments.get(1), 1..=12),
            within(segments.get(2), 1..=31),
        ) {
            (true, true) => 3,
            (true, false) => 2,
            _ => 0,
        }
    } else {
        0
    }
}

/// `2026-11`, `2026-11-25`, `20261125`, with or without a time behind it, or with `_` or `.` as the separator.
fn is_date(text: &str) -> bool {
    let part = |range: std::ops::Range<usize>| text.get(range);
    if !part(0..4).is_some_and(is_year) {
        return false;
    }
    let within = |text: Option<&str>, most: u32| {
        text.filter(|text| text.len() == 2)
            .and_then(number)
            .is_some_and(|number| (1..=most).contains(&number))
    };
    match part(4..5) {
        Some("-" | "_" | ".") => {
            within(part(5..7), 12)
                && match part(7..8) {
                    None => true,
                    Some("-" | "_" | ".") => within(part(8..10), 31),
                    Some(_) => false,
                }
        }
        _ => text.len() == 8 && is_number(text) && within(part(4..6), 12) && within(part(6..8), 31),
    }
}

fn is_year(text: &str) -> bool {
    text.len() == 4 && number(text).is_some_and(|year| year >= 1000)
}

fn is_number(text: &str) -> bool {
    number(text).is_some()
}

fn number(text: &str) -> Option<u32> {
    // `parse` takes a sign as well.
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// Parameters of calendars, whose numbers are parts of dates.
fn is_date_name(name: &str) -> bool {
    ["year", "month", "day", "week", "date", "yr", "mon"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
}

/// The hash of a URL without its session identifiers; `None` if it has none.
fn without_session(path: &str, query: &str) -> Option<u64> {
    let mut hash = Hash::new();
    let mut has_session = false;
    for segment in segments(path) {
        // Java's servers write `/page;jsessionid=...`.
        let mut parts = segment.split(';');
        hash = hash.add(parts.next().unwrap_or_default());
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            if is_session(name, value) {
                has_session = true;
            } else {
                hash = hash.add(part);
            }
        }
    }
    hash = hash.add("?");
    for (name, value) in parameters(query) {
        if is_session(name, value) {
            has_session = true;
        } else {
            hash = hash.add(name).add(value);
        }
    }
    has_session.then_some(hash.0)
}

/// Whether a parameter is a session identifier: by a name that means nothing else, or by a name that often does
/// together with a value that looks like one.
pub fn is_session(name: &str, value: &str) -> bool {
    const CERTAIN: [&str; 7] = [
        "jsessionid",
        "phpsessid",
        "aspsessionid",
        "oscsid",
        "zenid",
        "cftoken",
        "sessid",
    ];
    const LIKELY: [&str; 5] = ["sid", "session", "sessionid", "session_id", "s"];
    let name = name.to_ascii_lowercase();
    if CERTAIN.contains(&&*name) || name.starts_with("aspsessionid") {
        return !value.is_empty();
    }
    LIKELY.contains(&&*name) && is_random(value)
}

/// Sixteen characters or more, letters and digits, both.
fn is_random(value: &str) -> bool {
    let is_name = value
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    value.len() >= 16
        && is_name
        && value.bytes().any(|byte| byte.is_ascii_digit())
        && value.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// FNV-1a over texts, each closed by an octet that no URL has.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Hash {
    fn new() -> Self {
        Hash(0xcbf2_9ce4_8422_2325)
    }

    fn add(self, text: &str) -> Self {
        let octets = text.bytes().chain([0xff]);
        Hash(octets.fold(self.0, |hash, octet| {
            (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(path: &str) -> Url {
        Url::parse("https://h").unwrap().join(path).unwrap()
    }

    #[track_caller]
    fn check_shape(path: &str, expected: Option<Trap>) {
        assert_eq!(
            by_shape(&url(path), &TrapLimits::default()),
            expected,
            "{path}"
        );
    }

    #[test]
    fn shapes() {
        check_shape("/a/b/c", None);
        check_shape("/x1/y2/z3/w4", None);
        check_shape("/a/a/b", None);
        check_shape("/a/a/a", Some(Trap::Repeats));
        check_shape("/x/a/b/a/b/a/b/y", Some(Trap::Repeats));
        check_shape("/a/b/a/b/c/a/b", None);
        check_shape("/tiles/0/0/0", None);
        check_shape("/1/2/1/2/1/2", Some(Trap::Repeats));
        let deep: String = (0..33).map(|n| format!("/d{n}")).collect();
        check_shape(&deep, Some(Trap::Depth));
        check_shape(&deep[..deep.len() - 4], None);
        let many: String = (0..33).map(|n| format!("p{n}=1&")).collect();
        check_shape(&format!("/?{many}"), Some(Trap::Parameters));
        check_shape(
            &format!("/?q={}", "x".repeat(2_048)),
            Some(Trap::QueryLength),
        );
    }

    #[test]
    fn dates_are_told_from_numbers() {
        for date in [
            "2026-11",
            "2026-11-25",
            "20261125",
            "2026_11",
            "2026.11.25",
            "2026-11-25T10:00",
        ] {
            assert!(is_date(date), "{date}");
        }
        for other in [
            "2026",
            "2026-13",
            "2026-1",
            "20261399",
            "202611",
            "0026-11",
            "2026-11x",
            "12345678",
            "\u{e9}\u{e9}-11",
        ] {
            assert!(!is_date(other), "{other}");
        }
        assert_eq!(date_segments(&["2026", "11", "25", "x"]), 3);
        assert_eq!(date_segments(&["2026", "11", "x"]), 2);
        assert_eq!(date_segments(&["2026", "x"]), 0);
        assert_eq!(date_segments(&["x", "2026", "11"]), 0);
    }

    /// How many of `count` URLs a guard takes, and why no more.
    fn admitted(
        limits: TrapLimits,
        count: u32,
        path: impl Fn(u32) -> String,
    ) -> (u32, Option<Trap>) {
        let mut guard = TrapGuard::new(limits);
        for n in 0..count {
            if let Err(trap) = guard.admit(&url(&path(n))) {
                return (n, Some(trap));
            }
        }
        (count, None)
    }

    #[test]
    fn calendars_end() {
        let limits = TrapLimits {
            dates: 20,
            ..TrapLimits::default()
        };
        let check = |path: &dyn Fn(u32) -> String, expected| {
            assert_eq!(admitted(limits.clone(), 100, path), expected, "{}", path(0));
        };
        let (month, year) = (|n: u32| n % 12 + 1, |n: u32| 2026 + n / 12);
        check(
            &|n| format!("/cal/{}/{:02}", year(n), month(n)),
            (20, Some(Trap::Calendar)),
        );
        check(
            &|n| format!("/cal/{}/{}/1/", year(n), month(n)),
            (20, Some(Trap::Calendar)),
        );
        check(
            &|n| format!("/cal?month={}-{:02}", year(n), month(n)),
            (20, Some(Trap::Calendar)),
        );
        check(
            &|n| format!("/cal?year={}&month={}", year(n), month(n)),
            (20, Some(Trap::Calendar)),
        );
        // A blog has dates as well, but each with its own page.
        check(
            &|n| format!("/blog/{}/{:02}/post-{n}", year(n), month(n)),
            (100, None),
        );
        check(&|n| format!("/items/{n}"), (100, None));
    }

    #[test]
    fn session_identifiers_are_seen_through() {
        let check = |path: &dyn Fn(u32) -> String, expected| {
            assert_eq!(
                admitted(TrapLimits::default(), 100, path),
                expected,
                "{}",
                path(0)
            );
        };
        check(
            &|n| format!("/a;jsessionid=A{n}?x=1"),
            (3, Some(Trap::Session)),
        );
        check(
            &|n| format!("/a?PHPSESSID={n}&x=1"),
            (3, Some(Trap::Session)),
        );
        check(
            &|n| format!("/a?sid=0123456789abcdef{n}"),
            (3, Some(Trap::Session)),
        );
        check(&|n| format!("/a?sid={n}"), (100, None));
        check(&|n| format!("/p{n}?PHPSESSID={n}"), (100, None));
    }

    #[test]
    fn wide_places_end() {
        let limits = TrapLimits {
            queries: 50,
            siblings: 60,
            ..TrapLimits::default()
        };
        let check = |path: &dyn Fn(u32) -> String, expected| {
            assert_eq!(admitted(limits.clone(), 100, path), expected, "{}", path(0));
        };
        check(&|n| format!("/list?page={n}"), (50, Some(Trap::Queries)));
        check(&|n| format!("/trap/{n}"), (60, Some(Trap::Siblings)));
        check(&|n| format!("/t{n}/x"), (100, None));
    }

    #[test]
    fn memory_is_bounded_and_large_counts_stay() {
        let limits = TrapLimits {
            queries: 100,
            counters: 64,
            ..TrapLimits::default()
        };
        let mut guard = TrapGuard::new(limits);
        let mut refused = 0;
        for n in 0..10_000 {
            guard.admit(&url(&format!("/folder{n}/"))).unwrap();
            assert!(guard.counters() <= 64);
            if n % 5 == 0 {
                refused += u32::from(guard.admit(&url(&format!("/list?page={n}"))).is_err());
            }
        }
        assert_eq!(refused, 2_000 - 100);
        let mut none = TrapGuard::new(TrapLimits {
            counters: 0,
            ..TrapLimits::default()
        });
        assert_eq!(none.admit(&url("/a")), Ok(()));
    }

    #[test]
    fn what_is_refused_is_not_counted() {
        let limits = TrapLimits {
            sessions: 1,
            siblings: 2,
            ..TrapLimits::default()
        };
        let mut guard = TrapGuard::new(limits);
        assert_eq!(guard.admit(&url("/a;jsessionid=1")), Ok(()));
        for n in 2..9 {
            assert_eq!(
                guard.admit(&url(&format!("/a;jsessionid={n}"))),
                Err(Trap::Session)
            );
        }
        assert_eq!(guard.admit(&url("/b")), Ok(()));
        assert_eq!(guard.admit(&url("/c")), Err(Trap::Siblings));
    }
}
