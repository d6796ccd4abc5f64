//! Response headers that link, and the small grammars that headers and `<meta>` share.

use crate::{Limits, Link, LinkKind, Rel, link::Draft, page::relation_kind, text};
use std::borrow::Cow;
use url::Url;

/// The value of a parameter of a header such as `text/html; charset=utf-8`, quoted or not (RFC 9110, section
/// 5.6.6). The first of the name counts.
pub fn parameter<'a>(value: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let mut parameters = Parameters { rest: value };
    // What stands before the first semicolon is the value itself.
    parameters.skip_to_next();
    parameters
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// `; name=value` pairs, until something else comes.
struct Parameters<'a> {
    rest: &'a str,
}

impl<'a> Parameters<'a> {
    /// Skips to the next semicolon that is not quoted.
    fn skip_to_next(&mut self) {
        let mut is_quoted = false;
        let mut is_escaped = false;
        for (at, byte) in self.rest.bytes().enumerate() {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if is_quoted => is_escaped = true,
                b'"' => is_quoted = !is_quoted,
                b';' if !is_quoted => {
                    self.rest = &self.rest[at..];
                    return;
                }
                _ => {}
            }
        }
        self.rest = "";
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = (&'a str, Cow<'a, str>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.rest = blank(self.rest).strip_prefix(';')?;
            self.rest = blank(self.rest);
            let end = self
                .rest
                .find(|c: char| matches!(c, '=' | ';' | ',') || c.is_ascii_whitespace());
            let (name, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
            self.rest = blank(rest);
            let Some(value) = self.rest.strip_prefix('=') else {
                if name.is_empty() {
                    if self.rest.starts_with(';') {
                        continue;
                    }
                    return None;
                }
                return Some((name, Cow::Borrowed("")));
            };
            let value = blank(value);
            if let Some(quoted) = value.strip_prefix('"') {
                let (value, rest) = unquote(quoted);
                self.rest = rest;
                return Some((name, value));
            }
            let end = value.find(|c: char| matches!(c, ';' | ',') || c.is_ascii_whitespace());
            let (value, rest) = value.split_at(end.unwrap_or(value.len()));
            self.rest = rest;
            return Some((name, Cow::Borrowed(value)));
        }
    }
}

fn blank(text: &str) -> &str {
    text.trim_ascii_start()
}

/// The contents of a quoted string behind its first quote, and what follows.
fn unquote(text: &str) -> (Cow<'_, str>, &str) {
    let Some(end) = text.find(['"', '\\']) else {
        return (Cow::Borrowed(text), "");
    };
    if text[end..].starts_with('"') {
        return (Cow::Borrowed(&text[..end]), &text[end + 1..]);
    }
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (Cow::Owned(out), &text[at + 1..]),
            '\\' => out.extend(chars.next().map(|(_, c)| c)),
            _ => out.push(c),
        }
    }
    (Cow::Owned(out), "")
}

/// The links of a `Link` header's value (RFC 8288, section 3), as lenient as its appendix B.2. Links without a
/// relation, those that are about another document (`anchor`), and hints for the network (`preconnect`,
/// `dns-prefetch`) are no links of the document that was fetched from `document`.
///
/// A header that occurs several times is one, its values joined with commas; links are numbered from `ordinal`.
pub fn links(value: &str, document: &Url, ordinal: u32, limits: &Limits) -> Vec<Link> {
    let mut links = Vec::new();
    let mut rest = value;
    while links.len() < limits.links {
        rest = rest.trim_start_matches(|c: char| c == ',' || c.is_ascii_whitespace());
        let Some(target) = rest.strip_prefix('<') else {
            break;
        };
        let Some(end) = target.find('>') else { break };
        let reference = &target[..end];
        let mut parameters = Parameters {
            rest: &target[end + 1..],
        };
        let (mut rel, mut hreflang, mut title, mut is_of_another) = (None, None, None, false);
        for (name, value) in &mut parameters {
            match name {
                _ if name.eq_ignore_ascii_case("rel") => rel = rel.or(Some(value)),
                _ if name.eq_ignore_ascii_case("hreflang") => hreflang = hreflang.or(Some(value)),
                _ if name.eq_ignore_ascii_case("title") => title = title.or(Some(value)),
                _ if name.eq_ignore_ascii_case("anchor") => is_of_another = true,
                _ => {}
            }
        }
        // Whatever it is that comes instead of a comma is skipped.
        rest = parameters
            .rest
            .find(',')
            .map_or("", |at| &parameters.rest[at..]);
        let Some(kind) = rel.as_deref().and_then(relation_kind) else {
            continue;
        };
        if is_of_another {
            continue;
        }
        let kind = if kind == LinkKind::OtherLink {
            LinkKind::HeaderLink
        } else {
            kind
        };
        let mut draft = Draft::new(kind, reference, Cow::Borrowed("link"), "", limits);
        // A reference of RFC 3986, where nothing is the document itself.
        draft.may_be_empty = true;
        draft.link.ordinal = ordinal.saturating_add(links.len() as u32);
        draft.link.rel = Rel::parse(rel.as_deref().unwrap_or_default());
        draft.link.hreflang = hreflang.map(|lang| text::prefix(&lang, 64).to_owned());
        draft.push_text(title.as_deref().unwrap_or_default(), limits);
        links.push(draft.resolve(document, limits));
    }
    links
}

/// The link of a `Refresh` header, if it has one: a value without a URL reloads the document.
pub fn refresh_link(value: &str, document: &Url, ordinal: u32, limits: &Limits) -> Option<Link> {
    let url = refresh(value)?.url?;
    let mut draft = Draft::new(LinkKind::Refresh, url, Cow::Borrowed("refresh"), "", limits);
    draft.link.ordinal = ordinal;
    Some(draft.resolve(document, limits))
}

/// The link of a `Location` header (RFC 9110, section 10.2.2).
pub fn location_link(value: &str, document: &Url, limits: &Limits) -> Link {
    let draft = Draft::new(
        LinkKind::Location,
        value,
        Cow::Borrowed("location"),
        "",
        limits,
    );
    draft.resolve(document, limits)
}

/// What a `Refresh` header or a `<meta http-equiv=refresh>` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refresh<'a> {
    /// Seconds to wait; what does not fit is the largest number.
    pub seconds: u64,
    /// Where to go; `None` means the document itself.
    pub url: Option<&'a str>,
}

/// Reads it by the "shared declarative refresh steps" of the HTML standard (section 4.2.5.3); `None` if browsers
/// ignore it.
pub fn refresh(value: &str) -> Option<Refresh<'_>> {
    let value = blank(value);
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 && !value.starts_with('.') {
        return None;
    }
    let seconds = match &value[..digits] {
        "" => 0,
        number => number.parse().unwrap_or(u64::MAX),
    };
    let rest = value[digits..].trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    if rest.is_empty() {
        return Some(Refresh { seconds, url: None });
    }
    if !rest.starts_with(|c: char| matches!(c, ';' | ',') || c.is_ascii_whitespace()) {
        return None;
    }
    let rest = blank(rest);
    let rest = blank(rest.strip_prefix([';', ',']).unwrap_or(rest));
    if rest.is_empty() {
        return Some(Refresh { seconds, url: None });
    }
    let is_url = rest
        .get(..3)
        .is_some_and(|word| word.eq_ignore_ascii_case("url"));
    let url = match is_url
        .then(|| blank(&rest[3..]).strip_prefix('='))
        .flatten()
    {
        Some(url) => blank(url),
        None => rest,
    };
    let url = match url.chars().next() {
        Some(quote @ ('"' | '\'')) => url[1..].split(quote).next().unwrap_or_default(),
        _ => url,
    };
    Some(Refresh {
        seconds,
        url: Some(url.trim_ascii_end()),
    })
}

/// What a page says to robots about itself, in `<meta name=robots>` or the header `X-Robots-Tag`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RobotsMeta {
    /// `noindex` or `none`: it is not to be found.
    pub noindex: bool,
    /// `nofollow` or `none`: its links are not vouched for.
    pub nofollow: bool,
}

impl RobotsMeta {
    /// Adds what a list of directives says.
    pub fn add(&mut self, directives: &str) {
        for word in directives.split(|c: char| c == ',' || c.is_ascii_whitespace()) {
            let is = |name: &str| word.eq_ignore_ascii_case(name);
            self.noindex |= is("noindex") || is("none");
            self.nofollow |= is("nofollow") || is("none");
        }
    }

    /// Adds what a value of the header `X-Robots-Tag` says, if it is said to everybody or to this crawler: a
    /// value may begin with a crawler's name and a colon.
    pub fn add_header(&mut self, value: &str, crawler: &str) {
        match value.split_once(':') {
            // Dates of `unavailable_after` have colons, too, but not behind their first word.
            Some((name, directives)) if !name.contains(',') => {
                let name = name.trim_ascii();
                if name.eq_ignore_ascii_case(crawler) || name == "*" {
                    self.add(directives);
                }
            }
            _ => self.add(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_quoted_or_not() {
        let check = |value: &str, expected: Option<&str>| {
            assert_eq!(parameter(value, "charset").as_deref(), expected, "{value}");
        };
        check("text/html", None);
        check("text/html; charset=utf-8", Some("utf-8"));
        check("text/html;CHARSET = \"a\\\"b\" ; x", Some("a\"b"));
        check(
            "text/html;;; boundary=\";charset=no\"; charset=x; charset=y",
            Some("x"),
        );
        check("text/html; charset", Some(""));
        check("text/html; =x; charset=y", Some("y"));
        check("text/html; charset=\"open", Some("open"));
    }

    #[track_caller]
    fn check_links(value: &str, expected: &[(LinkKind, &str)]) {
        let document = Url::parse("https://h/a/b").unwrap();
        let found = links(value, &document, 0, &Limits::default());
        let found: Vec<_> = found
            .iter()
            .map(|link| {
                (
                    link.kind,
                    link.target.as_ref().unwrap().url().unwrap().as_str(),
                )
            })
            .collect();
        assert_eq!(found, expected, "{value}");
    }

    #[test]
    fn link_headers_are_read() {
        check_links("", &[]);
        check_links("<c>; rel=next", &[(LinkKind::Next, "https://h/a/c")]);
        check_links(
            "<https://o/x,y;z>; rel=\"prev start\"; title=\"a, <b>\", </s.css>;rel=StyleSheet,, <>; rel=canonical",
            &[
                (LinkKind::Prev, "https://o/x,y;z"),
                (LinkKind::Stylesheet, "https://h/s.css"),
                (LinkKind::Canonical, "https://h/a/b"),
            ],
        );
        check_links(
            "<a>; rel=preconnect, <b>, <c>; anchor=\"#x\"; rel=next",
            &[],
        );
        check_links(
            "<a>; rel=describedby",
            &[(LinkKind::HeaderLink, "https://h/a/a")],
        );
        check_links("<a; rel=next", &[]);
        check_links("a; rel=next, <b>; rel=next", &[]);
        check_links(
            "<a>; rel=next junk, <b>; rel=prev",
            &[
                (LinkKind::Next, "https://h/a/a"),
                (LinkKind::Prev, "https://h/a/b"),
            ],
        );
        let document = Url::parse("https://h/").unwrap();
        let link = &links(
            "</de>; rel=alternate; hreflang=de",
            &document,
            7,
            &Limits::default(),
        )[0];
        assert_eq!((link.hreflang.as_deref(), link.ordinal), (Some("de"), 7));
    }

    #[track_caller]
    fn check_refresh(value: &str, expected: Option<(u64, Option<&str>)>) {
        let found = refresh(value).map(|refresh| (refresh.seconds, refresh.url));
        assert_eq!(found, expected, "{value:?}");
    }

    #[test]
    fn refreshes_are_read_as_browsers_do() {
        check_refresh("0; url=/a", Some((0, Some("/a"))));
        check_refresh(" 5 ;URL = 'b c' d", Some((5, Some("b c"))));
        check_refresh("5,url=\"x", Some((5, Some("x"))));
        check_refresh("5", Some((5, None)));
        check_refresh("5;", Some((5, None)));
        check_refresh("5.7; x", Some((5, Some("x"))));
        check_refresh(".5 urlx", Some((0, Some("urlx"))));
        check_refresh("5 url", Some((5, Some("url"))));
        check_refresh("5; uri=x", Some((5, Some("uri=x"))));
        check_refresh("5x", None);
        check_refresh("", None);
        check_refresh("-1; url=x", None);
        check_refresh("99999999999999999999;url=x", Some((u64::MAX, Some("x"))));
    }

    #[test]
    fn robots_directives_add_up() {
        let mut robots = RobotsMeta::default();
        robots.add_header("otherbot: noindex", "holdfast");
        robots.add_header("unavailable_after: 25 Jun 2010 15:00:00 PST", "holdfast");
        assert_eq!(robots, RobotsMeta::default());
        robots.add_header("HoldFast: nofollow", "holdfast");
        robots.add("max-snippet:5, NoIndex");
        assert!(robots.noindex && robots.nofollow);
    }
}
