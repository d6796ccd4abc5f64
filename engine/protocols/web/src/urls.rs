//! Which URL a reference means, whether it can be checked, and which URLs are the same.
//!
//! Parsing and resolution are the WHATWG URL standard's, by the crate `url`. On top of it: length limits, the schemes
//! that a link can have, and a key for "the same target" by RFC 3986, section 6.2.2.

use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;
use url::{ParseError, Url};

/// What a reference points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Something that can be fetched.
    Web(WebTarget),
    /// Something that cannot be checked by fetching it.
    Other(Scheme),
}

impl Target {
    /// What a URL is.
    pub fn of(url: Url) -> Target {
        match Scheme::of(url.scheme()) {
            Scheme::Http => Target::Web(split(url)),
            scheme => Target::Other(scheme),
        }
    }

    /// The URL to fetch, for what can be fetched.
    pub fn url(&self) -> Option<&Url> {
        self.web().map(|web| &web.url)
    }

    /// What can be fetched.
    pub fn web(&self) -> Option<&WebTarget> {
        match self {
            Target::Web(web) => Some(web),
            Target::Other(_) => None,
        }
    }
}

/// A URL of the schemes `http` and `https`, and the fragment that was taken off it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebTarget {
    /// The URL without a fragment.
    pub url: Url,
    /// The fragment without its `#`, as the URL standard writes it; `None` if there was no `#`.
    pub fragment: Option<String>,
}

/// The scheme of a URL, as far as it decides what can be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// `http` or `https`: the only ones that can be checked.
    Http,
    /// `about`, such as `about:blank`.
    About,
    /// `blob`: an object of a running page.
    Blob,
    /// `data`: the resource itself.
    Data,
    /// `file`.
    File,
    /// `ftp`, which no current browser fetches.
    Ftp,
    /// `javascript`: a script.
    Javascript,
    /// `mailto`.
    Mailto,
    /// `sms`.
    Sms,
    /// `tel`.
    Tel,
    /// `ws` or `wss`.
    Websocket,
    /// Any other.
    Other,
}

impl Scheme {
    /// The scheme named `name`, in lower case.
    pub fn of(name: &str) -> Scheme {
        match name {
            "http" | "https" => Scheme::Http,
            "about" => Scheme::About,
            "blob" => Scheme::Blob,
            "data" => Scheme::Data,
            "file" => Scheme::File,
            "ftp" => Scheme::Ftp,
            "javascript" => Scheme::Javascript,
            "mailto" => Scheme::Mailto,
            "sms" => Scheme::Sms,
            "tel" => Scheme::Tel,
            "ws" | "wss" => Scheme::Websocket,
            _ => Scheme::Other,
        }
    }

    /// Whether a link of this scheme can be checked by fetching it.
    pub fn is_checkable(self) -> bool {
        self == Scheme::Http
    }

    /// Whether the rest of such a URL is no address, and may be long and odd without being wrong.
    fn is_opaque(self) -> bool {
        matches!(
            self,
            Scheme::About
                | Scheme::Blob
                | Scheme::Data
                | Scheme::Javascript
                | Scheme::Mailto
                | Scheme::Sms
                | Scheme::Tel
        )
    }
}

/// Why a reference has no target.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum UrlProblem {
    /// There is nothing where a URL is required.
    #[error("the URL is empty")]
    Empty,
    /// Longer than [`Limits::url_bytes`](crate::Limits::url_bytes).
    #[error("the URL has {bytes} bytes, more than {limit}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The host is missing, as in `http://`.
    #[error("the URL has no host")]
    EmptyHost,
    /// The host is no domain name: it has a forbidden character, or breaks the rules of IDNA (UTS 46).
    #[error("the host is not a valid domain name")]
    InvalidDomain,
    /// The host of a scheme other than those of the web has a forbidden character.
    #[error("the host has a forbidden character")]
    InvalidHostCharacter,
    /// The host ends in a number, but is no IPv4 address.
    #[error("the host is not a valid IPv4 address")]
    InvalidIpv4,
    /// The host is in brackets, but is no IPv6 address.
    #[error("the host is not a valid IPv6 address")]
    InvalidIpv6,
    /// The port is no number below 65,536.
    #[error("the port is not valid")]
    InvalidPort,
    /// A relative reference, and the base cannot be one.
    #[error("the reference is relative, and its base cannot have paths")]
    RelativeWithoutBase,
    /// Any other failure of the URL parser.
    #[error("the URL is not valid")]
    Invalid,
}

impl From<ParseError> for UrlProblem {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::EmptyHost => UrlProblem::EmptyHost,
            ParseError::IdnaError => UrlProblem::InvalidDomain,
            ParseError::InvalidDomainCharacter => UrlProblem::InvalidHostCharacter,
            ParseError::InvalidIpv4Address => UrlProblem::InvalidIpv4,
            ParseError::InvalidIpv6Address => UrlProblem::InvalidIpv6,
            ParseError::InvalidPort => UrlProblem::InvalidPort,
            ParseError::RelativeUrlWithoutBase
            | ParseError::RelativeUrlWithCannotBeABaseBase
            | ParseError::SetHostOnCannotBeABaseUrl => UrlProblem::RelativeWithoutBase,
            _ => UrlProblem::Invalid,
        }
    }
}

/// What `reference` points to when it stands in a document with this base URL.
///
/// White space around it is no part of it. An empty reference is the base itself: whether that is meant, the place
/// where it stands must say.
///
/// # Errors
///
/// What is wrong with it. A URL of a scheme that cannot be checked is not looked at more closely: `mailto:` or
/// `data:` followed by anything is no error.
pub fn resolve(reference: &str, base: &Url, url_bytes: usize) -> Result<Target, UrlProblem> {
    let reference = trim(reference);
    match scheme_of(reference) {
        Some(scheme) if scheme.is_opaque() => Ok(Target::Other(scheme)),
        _ if reference.len() > url_bytes => judge_long(reference, url_bytes),
        _ => Ok(Target::of(base.join(reference)?)),
    }
}

/// What is known of a reference that is longer than the limit.
pub(crate) fn judge_long(reference: &str, url_bytes: usize) -> Result<Target, UrlProblem> {
    match scheme_of(trim(reference)) {
        Some(scheme) if scheme.is_opaque() => Ok(Target::Other(scheme)),
        _ => Err(UrlProblem::TooLong {
            bytes: reference.len(),
            limit: url_bytes,
        }),
    }
}

/// A URL by itself, as it is given on a command line or in a sitemap.
///
/// # Errors
///
/// As [`resolve`]; a relative reference is [`UrlProblem::RelativeWithoutBase`].
pub fn parse(absolute: &str, url_bytes: usize) -> Result<Target, UrlProblem> {
    let absolute = trim(absolute);
    if absolute.is_empty() {
        return Err(UrlProblem::Empty);
    }
    match scheme_of(absolute) {
        Some(scheme) if scheme.is_opaque() => Ok(Target::Other(scheme)),
        _ if absolute.len() > url_bytes => judge_long(absolute, url_bytes),
        _ => Ok(Target::of(Url::parse(absolute)?)),
    }
}

/// Takes the fragment off a URL.
pub fn split(mut url: Url) -> WebTarget {
    let fragment = url.fragment().map(str::to_owned);
    if fragment.is_some() {
        url.set_fragment(None);
    }
    WebTarget { url, fragment }
}

/// What the URL standard strips from both ends: C0 controls and space.
fn trim(reference: &str) -> &str {
    reference.trim_matches(|c: char| c <= ' ')
}

/// The scheme that a reference spells out itself.
fn scheme_of(reference: &str) -> Option<Scheme> {
    // The longest name that `Scheme` knows is `javascript`; tabs and newlines inside it are ignored, as the URL
    // standard does.
    let mut name = [0_u8; 10];
    let mut len = 0;
    for byte in reference.bytes() {
        match byte {
            b':' if len > 0 => {
                return std::str::from_utf8(&name[..len]).ok().map(Scheme::of);
            }
            b'\t' | b'\n' | b'\r' => {}
            b'a'..=b'z' | b'A'..=b'Z' if len < name.len() => {
                name[len] = byte.to_ascii_lowercase();
                len += 1;
            }
            _ => return None,
        }
    }
    None
}

/// What two URLs have in common if and only if they are the same target.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UrlKey(String);

impl UrlKey {
    /// The key as a text, itself a URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key as a text.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Debug for UrlKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for UrlKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The key of a URL's target: the URL without its fragment, in the normal form of RFC 3986, sections 6.2.2.1 and
/// 6.2.2.2: percent-escapes in upper case, and none for unreserved characters. Scheme, host, port and dot
/// segments are normalised by the URL parser already.
///
/// Nothing is done that could join two targets: an empty query, the order of parameters, a slash at the end,
/// `www.` and `index.html` all stay as they are.
pub fn key(url: &Url) -> UrlKey {
    let text = url.as_str();
    let text = match text.find('#') {
        Some(at) => &text[..at],
        None => text,
    };
    UrlKey(crate::text::normalise_escapes(text).into_owned())
}

/// Path and query of a URL, as a request line and [`Robots::allows`](crate::Robots::allows) take it.
pub fn path_and_query(url: &Url) -> &str {
    &url[url::Position::BeforePath..url::Position::AfterQuery]
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 8192;

    #[track_caller]
    fn check(reference: &str, expected: Result<(&str, Option<&str>), Result<Scheme, UrlProblem>>) {
        let base = Url::parse("https://example.com/a/b?q#f").unwrap();
        let found = match resolve(reference, &base, LIMIT) {
            Ok(Target::Web(web)) => Ok((web.url.to_string(), web.fragment)),
            Ok(Target::Other(scheme)) => Err(Ok(scheme)),
            Err(problem) => Err(Err(problem)),
        };
        let expected = expected.map(|(url, f)| (url.to_owned(), f.map(str::to_owned)));
        assert_eq!(found, expected, "{reference:?}");
    }

    #[test]
    fn references_resolve() {
        check("c", Ok(("https://example.com/a/c", None)));
        check(" c\n", Ok(("https://example.com/a/c", None)));
        check("../../x", Ok(("https://example.com/x", None)));
        check("//other/y", Ok(("https://other/y", None)));
        check("?z", Ok(("https://example.com/a/b?z", None)));
        check("#g", Ok(("https://example.com/a/b?q", Some("g"))));
        check("#", Ok(("https://example.com/a/b?q", Some(""))));
        check("", Ok(("https://example.com/a/b?q", None)));
        check(
            "HTTP://B\u{fc}cher.example:80/%7e x",
            Ok(("http://xn--bcher-kva.example/%7e%20x", None)),
        );
        check("\\\\h\\p", Ok(("https://h/p", None)));
        check("https:c", Ok(("https://example.com/a/c", None)));
    }

    #[test]
    fn what_cannot_be_fetched_is_no_error() {
        check("mailto:someone at example", Err(Ok(Scheme::Mailto)));
        check("TEL:+1 (23)", Err(Ok(Scheme::Tel)));
        check("java\nscript:void(0)", Err(Ok(Scheme::Javascript)));
        check(
            &format!("data:,{}", "x".repeat(1 << 20)),
            Err(Ok(Scheme::Data)),
        );
        check("about:blank", Err(Ok(Scheme::About)));
        check("ftp://h/p", Err(Ok(Scheme::Ftp)));
        check("file:///etc", Err(Ok(Scheme::File)));
        check("wss://h/p", Err(Ok(Scheme::Websocket)));
        check("whatsapp://send", Err(Ok(Scheme::Other)));
        check("magnet:?xt=1", Err(Ok(Scheme::Other)));
        assert!(!Scheme::Ftp.is_checkable() && Scheme::Http.is_checkable());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let base = Url::parse("about:blank").unwrap();
        assert_eq!(
            resolve("x", &base, LIMIT),
            Err(UrlProblem::RelativeWithoutBase)
        );
        assert_eq!(parse("x", LIMIT), Err(UrlProblem::RelativeWithoutBase));
        assert_eq!(parse(" ", LIMIT), Err(UrlProblem::Empty));
        check("http://", Err(Err(UrlProblem::EmptyHost)));
        check("http://a b/", Err(Err(UrlProblem::InvalidDomain)));
        check("http://h:99999/", Err(Err(UrlProblem::InvalidPort)));
        check("http://1.2.3.256/", Err(Err(UrlProblem::InvalidIpv4)));
        check("http://[::g]/", Err(Err(UrlProblem::InvalidIpv6)));
        check("http://xn--a/", Err(Err(UrlProblem::InvalidDomain)));
        let long = "x".repeat(LIMIT + 1);
        let problem = UrlProblem::TooLong {
            bytes: LIMIT + 1,
            limit: LIMIT,
        };
        check(&long, Err(Err(problem)));
        assert!(resolve(&long[1..], &Url::parse("http://h/").unwrap(), LIMIT).is_ok());
    }

    #[track_caller]
    fn check_key(url: &str, expected: &str) {
        let key = key(&Url::parse(url).unwrap());
        assert_eq!(key.as_str(), expected);
        let again = super::key(&Url::parse(expected).unwrap());
        assert_eq!(again, key, "the key of a key is itself");
    }

    #[test]
    fn the_same_target_has_one_key() {
        check_key(
            "HTTP://Example.COM:80/a/./b/../c#frag",
            "http://example.com/a/c",
        );
        check_key("http://h/%7euser%2f%c3%a9", "http://h/~user%2F%C3%A9");
        check_key("http://h/\u{e9}", "http://h/%C3%A9");
        check_key("http://h/?", "http://h/?");
        check_key("http://h/?b=1&a=%41", "http://h/?b=1&a=A");
        check_key("http://h/100%", "http://h/100%");
        check_key("http://h/%2541", "http://h/%2541");
        check_key("http://\u{fc}.example/", "http://xn--tda.example/");
    }

    #[test]
    fn path_and_query_is_what_a_request_line_has() {
        let url = Url::parse("http://u:p@h:8080/a?b#c").unwrap();
        assert_eq!(path_and_query(&url), "/a?b");
        let url = Url::parse("http://h").unwrap();
        assert_eq!(path_and_query(&url), "/");
    }
}
