//! The cookies of one chain of redirects (RFC 6265).

use holdfast_host::UnixTime;
use http::{HeaderMap, header};
use std::time::Duration;
use url::{Host, Url};

/// Most cookies of a jar; the oldest goes when another comes.
pub const MAX_COOKIES: usize = 64;
/// Longest cookie, name and value together; longer ones are ignored (RFC 6265bis, section 5.6).
pub const MAX_COOKIE_BYTES: usize = 4096;
/// Longest attribute; longer ones are ignored, not their cookie (the same).
const MAX_ATTRIBUTE_BYTES: usize = 1024;
/// Most `Set-Cookie` fields that are read of one response.
const MAX_FIELDS: usize = 64;
/// The longest life of a cookie: 400 days (RFC 6265bis, section 5.5).
const MAX_AGE: Duration = Duration::from_secs(400 * 86_400);

/// A cookie, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// Its name; may be empty.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The host it goes to, or above which hosts it goes to.
    pub domain: String,
    /// Whether it goes to `domain` alone, not to what is below.
    pub is_host_only: bool,
    /// Where on the host it goes.
    pub path: String,
    /// Whether it travels over TLS only.
    pub is_secure: bool,
    /// When it ends, by the wall clock; `None`: with the jar.
    pub expires: Option<UnixTime>,
    /// The order of creation.
    created: u64,
}

/// Cookies that live as long as one chain of redirects.
///
/// It is no browser's jar: it knows no list of public suffixes, and only refuses a `Domain` without a dot. A cookie
/// could thus be set for all of `co.uk`, and would be seen by the other hosts of this one chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CookieJar {
    cookies: Vec<Cookie>,
    created: u64,
}

impl CookieJar {
    /// An empty jar.
    pub fn new() -> Self {
        Self::default()
    }

    /// The cookies that are kept, oldest first.
    pub fn cookies(&self) -> &[Cookie] {
        &self.cookies
    }

    /// Takes in what a response for `url` sets. What is malformed or not the server's to set is ignored, as the
    /// standard has it.
    pub fn store(&mut self, url: &Url, headers: &HeaderMap, now: UnixTime) {
        for value in headers
            .get_all(header::SET_COOKIE)
            .into_iter()
            .take(MAX_FIELDS)
        {
            if let Ok(text) = std::str::from_utf8(value.as_bytes()) {
                self.store_one(url, text, now);
            }
        }
    }

    /// Takes in one `Set-Cookie` field (RFC 6265, sections 5.2 and 5.3).
    pub fn store_one(&mut self, url: &Url, field: &str, now: UnixTime) {
        let Some((cookie, is_dead)) = parse(url, field, now) else {
            return;
        };
        let is_same = |old: &Cookie| {
            old.name == cookie.name && old.domain == cookie.domain && old.path == cookie.path
        };
        let old = self.cookies.iter().position(is_same);
        if is_dead {
            if let Some(at) = old {
                self.cookies.remove(at);
            }
            return;
        }
        match old {
            // It keeps its age, and with it its place.
            Some(at) => {
                let created = self.cookies[at].created;
                self.cookies[at] = Cookie { created, ..cookie };
            }
            None => {
                if self.cookies.len() == MAX_COOKIES {
                    self.cookies.remove(0);
                }
                let created = self.created;
                self.created += 1;
                self.cookies.push(Cookie { created, ..cookie });
            }
        }
    }

    /// The `Cookie` header for a request of `url`; `None` when there is nothing to send (RFC 6265, section 5.4).
    pub fn header(&self, url: &Url, now: UnixTime) -> Option<String> {
        let host = url.host_str()?;
        let mut sent: Vec<&Cookie> = self
            .cookies
            .iter()
            .filter(|cookie| {
                let is_host = match cookie.is_host_only {
                    true => cookie.domain == host,
                    false => is_within(url, &cookie.domain),
                };
                is_host
                    && path_matches(url.path(), &cookie.path)
                    && (!cookie.is_secure || url.scheme() == "https")
                    && cookie.expires.is_none_or(|end| end > now)
            })
            .collect();
        // Longer paths first, then older cookies.
        sent.sort_by_key(|cookie| (std::cmp::Reverse(cookie.path.len()), cookie.created));
        let pairs: Vec<String> = sent
            .iter()
            .map(|cookie| match cookie.name.is_empty() {
                true => cookie.value.clone(),
                false => format!("{}={}", cookie.name, cookie.value),
            })
            .collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

/// The cookie of a field, and whether it only ends one that was set before.
fn parse(url: &Url, field: &str, now: UnixTime) -> Option<(Cookie, bool)> {
    let is_control = |c: char| c.is_ascii_control() && c != '\t';
    if field.contains(is_control) {
        return None;
    }
    let mut parts = field.split(';');
    let pair = parts.next()?;
    let (name, value) = pair.split_once('=').unwrap_or(("", pair));
    let (name, value) = (trim(name), trim(value));
    if name.is_empty() && value.is_empty() || name.len() + value.len() > MAX_COOKIE_BYTES {
        return None;
    }
    let host = url.host_str()?;
    let mut cookie = Cookie {
        name: name.to_owned(),
        value: value.to_owned(),
        domain: host.to_owned(),
        is_host_only: true,
        path: default_path(url.path()).to_owned(),
        is_secure: false,
        expires: None,
        created: 0,
    };
    let (mut expires, mut max_age, mut has_path) = (None, None, false);
    for attribute in parts {
        let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        let (key, value) = (trim(key), trim(value));
        if value.len() > MAX_ATTRIBUTE_BYTES {
            continue;
        }
        // The last of several counts.
        match key.to_ascii_lowercase().as_str() {
            "expires" => expires = cookie_date(value).or(expires),
            "max-age" => max_age = seconds(value).or(max_age),
            "domain" => {
                let domain = value.strip_prefix('.').unwrap_or(value);
                if domain.is_empty() {
                    (cookie.domain, cookie.is_host_only) = (host.to_owned(), true);
                } else {
                    cookie.domain = domain.to_ascii_lowercase();
                    cookie.is_host_only = false;
                }
            }
            "path" => {
                has_path = value.starts_with('/');
                let path = if has_path {
                    value
                } else {
                    default_path(url.path())
                };
                cookie.path = path.to_owned();
            }
            "secure" => cookie.is_secure = true,
            _ => {}
        }
    }
    if !cookie.is_host_only {
        if !is_within(url, &cookie.domain) {
            return None;
        }
        if !cookie.domain.contains('.') {
            if cookie.domain != host {
                return None;
            }
            cookie.is_host_only = true;
        }
    }
    // RFC 6265bis: only what came over TLS may be kept for TLS, and names that promise something must keep it.
    let is_https = url.scheme() == "https";
    let lower = cookie.name.to_ascii_lowercase();
    let is_broken_promise = (cookie.is_secure && !is_https)
        || (lower.starts_with("__secure-") && !cookie.is_secure)
        || (lower.starts_with("__host-")
            && !(cookie.is_secure && cookie.is_host_only && has_path && cookie.path == "/"));
    if is_broken_promise {
        return None;
    }
    let latest = add(now, MAX_AGE);
    cookie.expires = match max_age {
        Some(age) => Some(add(now, age)),
        None => expires,
    }
    .map(|end: UnixTime| end.min(latest));
    let is_dead = cookie.expires.is_some_and(|end| end <= now);
    Some((cookie, is_dead))
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn add(time: UnixTime, duration: Duration) -> UnixTime {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    UnixTime::from_nanos(time.as_nanos().saturating_add(nanos))
}

/// A `Max-Age`; zero and less is "at once".
fn seconds(text: &str) -> Option<Duration> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    if digits.len() < text.len() {
        return Some(Duration::ZERO);
    }
    // More digits than fit are a very long time.
    Some(digits.parse().map_or(MAX_AGE, Duration::from_secs))
}

/// RFC 6265, section 5.1.3: the host is the domain or below it. Addresses are not below anything.
fn is_within(url: &Url, domain: &str) -> bool {
    match url.host() {
        Some(Host::Domain(host)) => host
            .strip_suffix(domain)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
        _ => url.host_str() == Some(domain),
    }
}

/// RFC 6265, section 5.1.4.
fn default_path(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(end) => &path[..end],
    }
}

fn path_matches(path: &str, cookie_path: &str) -> bool {
    path.strip_prefix(cookie_path)
        .is_some_and(|rest| rest.is_empty() || cookie_path.ends_with('/') || rest.starts_with('/'))
}

/// A date in any of the shapes that servers write (RFC 6265, section 5.1.1).
fn cookie_date(text: &str) -> Option<UnixTime> {
    let is_delimiter =
        |c: char| !(c.is_ascii_alphanumeric() || c == ':' || !c.is_ascii()) || c == '\x7f';
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in text.split(is_delimiter).filter(|token| !token.is_empty()) {
        if time.is_none()
            && let Some(found) = time_of_day(token)
        {
            time = Some(found);
        } else if day.is_none()
            && let Some(found) = leading_number(token, 1, 2)
        {
            day = Some(found);
        } else if month.is_none()
            && let Some(found) = month_number(token)
        {
            month = Some(found);
        } else if year.is_none()
            && let Some(found) = leading_number(token, 2, 4)
        {
            year = Some(found);
        }
    }
    let year = match year? {
        year @ 70..=99 => year + 1900,
        year @ 0..=69 => year + 2000,
        year => year,
    };
    let (month, day, (hour, minute, second)) = (month?, day?, time?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        2 => 28 + u64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if year < 1601 || day < 1 || day > days_in_month || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if year < 1970 {
        return Some(UnixTime::from_nanos(0));
    }
    // Days before the year, then before the month.
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    let before_year = (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969);
    let before_month = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][month - 1]
        + u64::from(is_leap && month > 2);
    let days = before_year + before_month + day - 1;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(UnixTime::from_nanos(seconds.saturating_mul(1_000_000_000)))
}

/// The number that a token begins with, of `least` to `most` digits; what follows must not be a digit.
fn leading_number(token: &str, least: usize, most: usize) -> Option<u64> {
    let digits = token.bytes().take_while(u8::is_ascii_digit).count();
    if !(least..=most).contains(&digits) {
        return None;
    }
    token[..digits].parse().ok()
}

fn time_of_day(token: &str) -> Option<(u64, u64, u64)> {
    let mut fields = token.splitn(3, ':');
    let hour = fields.next()?;
    let minute = fields.next()?;
    // Nothing but digits before the last field, where other things may follow.
    let exact = |field: &str| {
        let is_number = (1..=2).contains(&field.len()) && field.bytes().all(|b| b.is_ascii_digit());
        if is_number { field.parse().ok() } else { None }
    };
    Some((
        exact(hour)?,
        exact(minute)?,
        leading_number(fields.next()?, 1, 2)?,
    ))
}

fn month_number(token: &str) -> Option<usize> {
    const MONTHS: [&str; 12] = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ];
    let start = token.get(..3)?.to_ascii_lowercase();
    MONTHS
        .iter()
        .position(|month| *month == start)
        .map(|n| n + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: UnixTime = UnixTime::from_nanos(1_700_000_000_000_000_000);

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    /// What is sent to `to` after `from` set `fields`.
    #[track_caller]
    fn check(from: &str, fields: &[&str], to: &str, expected: Option<&str>) {
        let mut jar = CookieJar::new();
        for field in fields {
            jar.store_one(&url(from), field, NOW);
        }
        assert_eq!(jar.header(&url(to), NOW).as_deref(), expected, "{jar:?}");
    }

    #[test]
    fn hosts() {
        let a = "http://www.a.test/";
        check(a, &["k=v"], a, Some("k=v"));
        check(a, &["k=v"], "http://www.a.test:8080/", Some("k=v"));
        check(a, &["k=v"], "http://sub.www.a.test/", None);
        check(
            a,
            &["k=v; Domain=.A.test"],
            "http://other.a.test/",
            Some("k=v"),
        );
        check(a, &["k=v; Domain=a.test"], "http://nota.test/", None);
        check(a, &["k=v; Domain=b.test"], "http://b.test/", None);
        check(
            a,
            &["k=v; Domain=other.a.test"],
            "http://other.a.test/",
            None,
        );
        check(a, &["k=v; Domain=test"], "http://b.test/", None);
        check(
            a,
            &["k=v; Domain=b.test; Domain=a.test"],
            "http://a.test/",
            Some("k=v"),
        );
        check(
            "http://localhost/",
            &["k=v; Domain=localhost"],
            "http://localhost/",
            Some("k=v"),
        );
        check(
            "http://1.2.3.4/",
            &["k=v; Domain=3.4"],
            "http://1.2.3.4/",
            None,
        );
        check(
            "http://1.2.3.4/",
            &["k=v; Domain=1.2.3.4"],
            "http://1.2.3.4/",
            Some("k=v"),
        );
        check("http://[::1]/", &["k=v"], "http://[::1]/", Some("k=v"));
    }

    #[test]
    fn paths() {
        let a = "http://a.test/dir/page";
        check(a, &["k=v"], "http://a.test/dir/other", Some("k=v"));
        check(a, &["k=v"], "http://a.test/", None);
        check(a, &["k=v"], "http://a.test/directory", None);
        check(a, &["k=v; Path=/"], "http://a.test/", Some("k=v"));
        check(a, &["k=v; path=none"], "http://a.test/dir", Some("k=v"));
        check(a, &["k=v; Path=/x"], "http://a.test/x", Some("k=v"));
        let fields = [
            "a=1; Path=/",
            "b=2; Path=/dir",
            "c=3; Path=/",
            "a=4; Path=/",
        ];
        check(a, &fields, a, Some("b=2; a=4; c=3"));
    }

    #[test]
    fn shapes() {
        let a = "http://a.test/";
        check(a, &["  k \t=  v w  ; x"], a, Some("k=v w"));
        check(a, &["only"], a, Some("only"));
        check(a, &["=only"], a, Some("only"));
        check(a, &["k="], a, Some("k="));
        check(a, &["=", "", ";", "k=\x01"], a, None);
        check(
            a,
            &[&format!("k={}", "v".repeat(4_095))],
            a,
            Some(&format!("k={}", "v".repeat(4_095))),
        );
        check(a, &[&format!("k={}", "v".repeat(4_096))], a, None);
    }

    #[test]
    fn promises() {
        let (plain, tls) = ("http://a.test/", "https://a.test/");
        check(tls, &["k=v; Secure"], tls, Some("k=v"));
        check(tls, &["k=v; Secure"], plain, None);
        check(plain, &["k=v; Secure"], tls, None);
        check(tls, &["__Secure-k=v"], tls, None);
        check(
            tls,
            &["__Host-k=v; Secure; Path=/"],
            tls,
            Some("__Host-k=v"),
        );
        check(tls, &["__Host-k=v; Secure"], tls, None);
        check(
            tls,
            &["__Host-k=v; Secure; Path=/; Domain=a.test"],
            tls,
            None,
        );
    }

    #[test]
    fn ends() {
        let a = "http://a.test/";
        check(a, &["k=v; Max-Age=1"], a, Some("k=v"));
        check(a, &["k=v", "k=w; Max-Age=0"], a, None);
        check(a, &["k=v", "k=w; Max-Age=-5"], a, None);
        check(a, &["k=v", "k=w; Max-Age=x"], a, Some("k=w"));
        check(a, &["k=v; Max-Age=99999999999999999999"], a, Some("k=v"));
        check(
            a,
            &["k=v", "k=w; Expires=Thu, 01 Jan 1970 00:00:00 GMT"],
            a,
            None,
        );
        check(
            a,
            &["k=v; Max-Age=9; Expires=Thu, 01 Jan 1970 00:00:00 GMT"],
            a,
            Some("k=v"),
        );
        let mut jar = CookieJar::new();
        jar.store_one(&url(a), "k=v; Max-Age=10", NOW);
        assert_eq!(
            jar.header(&url(a), add(NOW, Duration::from_secs(9)))
                .as_deref(),
            Some("k=v")
        );
        assert_eq!(jar.header(&url(a), add(NOW, Duration::from_secs(10))), None);
    }

    #[test]
    fn dates() {
        let at = |text: &str| cookie_date(text).map(|time| time.as_nanos() / 1_000_000_000);
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "06 november 1994 8:49:37x",
        ] {
            assert_eq!(at(text), Some(784_111_777), "{text}");
        }
        assert_eq!(at("29 Feb 2000 00:00:00"), Some(951_782_400));
        assert_eq!(at("31 Dec 69 23:59:59"), Some(3_155_759_999));
        assert_eq!(at("1 Jan 1650 00:00:00"), Some(0));
        for text in [
            "",
            "29 Feb 2001 00:00:00",
            "1 Jan 1600 00:00:00",
            "1 Jan 2000",
            "1 Jan 2000 24:00:00",
        ] {
            assert_eq!(at(text), None, "{text}");
        }
    }

    #[test]
    fn a_jar_is_bounded() {
        let mut jar = CookieJar::new();
        for n in 0..1_000 {
            jar.store_one(&url("http://a.test/"), &format!("k{n}=v"), NOW);
        }
        assert_eq!(jar.cookies().len(), MAX_COOKIES);
        assert_eq!(jar.cookies()[0].name, "k936");
    }

    proptest! {
        #[test]
        fn no_field_makes_it_panic(field in "[a-z=;, :0-9\\PC]{0,60}", date in "[A-Za-z0-9: -]{0,40}") {
            let mut jar = CookieJar::new();
            let a = url("https://a.test/x");
            jar.store_one(&a, &field, NOW);
            jar.store_one(&a, &format!("k=v; Expires={date}"), NOW);
            let _ = jar.header(&a, NOW);
        }
    }
}
