//! Places that a crawler does not come out of.

use url::Url;

/// Path segments above which a URL is taken to be made by a machine that does not stop.
const MAX_SEGMENTS: usize = 40;
/// Times that a path segment may be repeated.
const MAX_REPEATED: usize = 3;
/// Parameters of a query above which it is taken to be made by a machine.
const MAX_PARAMETERS: usize = 40;
/// Links from a start page behind which dates are counted: archives are near, calendars go on for ever.
pub const NEAR: u32 = 10;
/// Different URLs with a date under one path, further away than that, that are followed.
pub const MAX_DATES: i64 = 100;

/// What is wrong with the shape of a URL, if something is.
pub fn shape(url: &Url) -> Option<&'static str> {
    let segments: Vec<&str> = url
        .path()
        .split('/')
        .filter(|segment| !segment.is_empty())
        .collect();
    if segments.len() > MAX_SEGMENTS {
        return Some("trap_deep_path");
    }
    let is_repeated = |segment: &&str| {
        let times = segments.iter().filter(|other| *other == segment).count();
        times > MAX_REPEATED
    };
    if segments.iter().any(is_repeated) {
        return Some("trap_repeated_segment");
    }
    let parameters = url.query().map_or(0, |query| query.split('&').count());
    (parameters > MAX_PARAMETERS).then_some("trap_many_parameters")
}

/// For a URL that has a date in it: what stands before that. Calendars have a page for every day there is.
pub fn calendar(url: &Url) -> Option<String> {
    let text = &url[url::Position::BeforeHost..url::Position::AfterQuery];
    let bytes = text.as_bytes();
    let digits = |from: usize, count: usize| {
        let part = bytes.get(from..from + count)?;
        let is_number = part.iter().all(u8::is_ascii_digit);
        let ends = !bytes.get(from + count).is_some_and(u8::is_ascii_digit);
        (is_number && ends).then(|| text[from..from + count].parse::<u32>().ok())?
    };
    for at in 0..bytes.len() {
        let begins = at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
        if !begins || !bytes[at].is_ascii_digit() {
            continue;
        }
        let Some(year) = digits(at, 4) else { continue };
        let is_year = (1900..2200).contains(&year);
        let is_separated = matches!(bytes.get(at + 4), Some(b'-' | b'/' | b'_'));
        let month = digits(at + 5, 2).or_else(|| digits(at + 5, 1));
        if is_year && is_separated && month.is_some_and(|month| (1..=12).contains(&month)) {
            return Some(text[..at].to_owned());
        }
    }
    let query = url.query()?;
    let has = |name: &str| {
        let mut parts = query.split('&');
        parts.any(|part| {
            part.split('=')
                .next()
                .is_some_and(|key| key.eq_ignore_ascii_case(name))
        })
    };
    let is_calendar = has("year") && (has("month") || has("day") || has("week"));
    is_calendar.then(|| url[url::Position::BeforeHost..url::Position::AfterPath].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_of_traps_are_seen() {
        let check = |url: &str| shape(&Url::parse(url).expect("a URL"));
        assert_eq!(check("http://a/x/y/x/y/x/y?a=1&b=2"), None);
        assert_eq!(
            check("http://a/x/y/x/y/x/y/x"),
            Some("trap_repeated_segment")
        );
        let deep = format!("http://a/{}", "a1/b2/".repeat(21).replace("a1", "a"));
        assert!(check(&deep).is_some());
        let many = format!("http://a/?{}", "a=1&".repeat(50));
        assert_eq!(check(&many), Some("trap_many_parameters"));
    }

    #[test]
    fn calendars_are_seen() {
        let check = |url: &str| calendar(&Url::parse(url).expect("a URL"));
        assert_eq!(check("http://a/cal/2026/11/25").as_deref(), Some("a/cal/"));
        assert_eq!(
            check("http://a/cal?day=2026-11-25").as_deref(),
            Some("a/cal?day=")
        );
        assert_eq!(
            check("http://a/c?year=2026&month=1").as_deref(),
            Some("a/c")
        );
        assert_eq!(check("http://a/page/2026"), None);
        assert_eq!(check("http://a/part/12026-11"), None);
        assert_eq!(check("http://a/p1234-56"), None);
    }
}
