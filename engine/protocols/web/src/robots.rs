//! The robots exclusion protocol (RFC 9309).
//!
//! A [`Robots`] is what one robots.txt says to one crawler. [`Robots::for_status`] is the access rule by the
//! status of the answer, [`Robots::parse`] reads a file, [`Robots::allows`] asks.
//!
//! Beyond the RFC's grammar, which permits crawlers to be lenient (section 2.2.4: "Crawlers MAY interpret other
//! records"; section 2.2: parsers should be as lenient as possible), this is accepted, as Google's parser does:
//! - white space instead of the colon after a known key (`disallow /x`);
//! - `useragent` and `user agent` for `user-agent`; `dissallow`, `dissalow`, `disalow`, `diasllow` and `disallaw` for
//!   `disallow`; `site-map` for `sitemap`;
//! - a part of a byte order mark at the start;
//! - a user agent with a version or more words (`FooBot/2.1 (x)`): its product token counts;
//! - `\r`, `\n` and `\r\n` as line ends, mixed.
//!
//! Unlike Google's parser, keys must be whole (`allowance: /` is nothing), escapes of unreserved characters are the
//! characters (section 2.2.2), and `index.html` at the end of a rule means itself.

mod parse;
mod pattern;

use parse::Line;
use pattern::Pattern;
use std::{fmt, sync::Arc};
use thiserror::Error;

/// How much of a file is read: RFC 9309, section 2.5, wants at least 500 KiB. A line that this limit cuts is ignored.
pub const PARSE_LIMIT_BYTES: usize = 500 << 10;
/// How long a line may be; a longer one is cut. A URL of 2,083 characters, each as an escape of four characters,
/// twice.
pub const LINE_LIMIT_BYTES: usize = 16 << 10;
/// The longest [`Robots::crawl_delay`], in seconds; longer ones are cut to it.
pub const CRAWL_DELAY_LIMIT_SECONDS: f64 = 300.0;
/// How many [`Robots::sitemaps`] are kept.
pub const SITEMAP_LIMIT: usize = 1_000;

/// What one robots.txt says to one crawler. A clone is cheap.
#[derive(Clone)]
pub struct Robots {
    access: Access,
    crawl_delay: Option<f64>,
    sitemaps: Arc<[String]>,
    is_cut: bool,
}

#[derive(Clone)]
enum Access {
    All,
    Nothing,
    Rules(Arc<[Rule]>),
}

struct Rule {
    pattern: Pattern,
    is_allow: bool,
}

/// What the status of the answer to `GET /robots.txt` means, after redirects (RFC 9309, section 2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusRule {
    /// 2xx: the body says it.
    Parse,
    /// 3xx: follow at least five redirects, across hosts as well, and apply this host's rules; a longer chain is
    /// [`StatusRule::AllowAll`] (section 2.3.1.2).
    Follow,
    /// 4xx: there is no such file, everything is allowed (section 2.3.1.3).
    AllowAll,
    /// 5xx or no answer at all: nothing is allowed for now (section 2.3.1.4).
    DisallowAll,
}

impl StatusRule {
    /// The rule for a status code; `None` is "no answer": no connection, no name, a timeout.
    ///
    /// 429 counts as a server error, although its number says otherwise: the server exists, has not said what it
    /// allows, and wants fewer requests; taking that for "everything is allowed" would answer it with more. Google
    /// does the same.
    ///
    /// Anything that is no status of a final answer counts as no answer.
    pub fn of(status: Option<u16>) -> StatusRule {
        match status {
            Some(200..=299) => StatusRule::Parse,
            Some(300..=399) => StatusRule::Follow,
            Some(429) => StatusRule::DisallowAll,
            Some(400..=499) => StatusRule::AllowAll,
            _ => StatusRule::DisallowAll,
        }
    }
}

/// A name that no `user-agent` line can have (RFC 9309, section 2.2.1).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a product token has letters, '-' and '_' only: {token:?}")]
pub struct InvalidToken {
    /// What was given.
    pub token: String,
}

/// The name by which a crawler is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProductToken(Box<str>);

impl ProductToken {
    /// A token: letters, `-` and `_`, at least one.
    ///
    /// # Errors
    ///
    /// It has others, or none.
    pub fn new(token: &str) -> Result<Self, InvalidToken> {
        if !token.is_empty() && token.bytes().all(is_token_byte) {
            Ok(ProductToken(token.to_ascii_lowercase().into()))
        } else {
            Err(InvalidToken {
                token: token.to_owned(),
            })
        }
    }

    /// In lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'-' || byte == b'_'
}

impl Robots {
    /// Everything is allowed.
    pub fn allow_all() -> Robots {
        Robots::from_access(Access::All)
    }

    /// Nothing is allowed, but `/robots.txt` itself.
    pub fn disallow_all() -> Robots {
        Robots::from_access(Access::Nothing)
    }

    fn from_access(access: Access) -> Robots {
        Robots {
            access,
            crawl_delay: None,
            sitemaps: Arc::new([]),
            is_cut: false,
        }
    }

    /// What an answer says to a crawler, by its status and body. A redirect that was not followed to its end allows
    /// everything, as section 2.3.1.2 permits.
    pub fn for_status(status: Option<u16>, body: &[u8], crawler: &ProductToken) -> Robots {
        match StatusRule::of(status) {
            StatusRule::Parse => Robots::parse(body, crawler),
            StatusRule::Follow | StatusRule::AllowAll => Robots::allow_all(),
            StatusRule::DisallowAll => Robots::disallow_all(),
        }
    }

    /// What a file says to a crawler: the rules of all groups that name it, or else of all groups for `*`.
    ///
    /// No more than [`PARSE_LIMIT_BYTES`] are read; [`Robots::is_cut`] tells.
    pub fn parse(file: &[u8], crawler: &ProductToken) -> Robots {
        let mut own = Group::default();
        let mut any = Group::default();
        let mut sitemaps = Vec::new();
        // Whether the group that is being read is for this crawler, and for `*`.
        let (mut is_own, mut is_any) = (false, false);
        let mut is_among_agents = false;
        for line in parse::lines(file) {
            match line {
                Line::UserAgent(value) => {
                    if !is_among_agents {
                        (is_own, is_any) = (false, false);
                        is_among_agents = true;
                    }
                    match parse::agent(value) {
                        parse::Agent::Any => {
                            is_any = true;
                            any.is_there = true;
                        }
                        parse::Agent::Token(token) => {
                            if token.eq_ignore_ascii_case(crawler.as_str().as_bytes()) {
                                is_own = true;
                                own.is_there = true;
                            }
                        }
                    }
                }
                Line::Rule { is_allow, value } => {
                    is_among_agents = false;
                    if (is_own || is_any)
                        && let Some(pattern) = Pattern::new(value)
                    {
                        let rule = Arc::new((pattern, is_allow));
                        for (group, is_for) in [(&mut own, is_own), (&mut any, is_any)] {
                            if is_for {
                                group.rules.push(rule.clone());
                            }
                        }
                    }
                }
                // Not of the RFC, and therefore not the end of a list of user agents; but it belongs to their group.
                Line::CrawlDelay(seconds) => {
                    for (group, is_for) in [(&mut own, is_own), (&mut any, is_any)] {
                        if is_for {
                            // Of several the longest: the politest reading.
                            let longest = group.crawl_delay.unwrap_or(0.0).max(seconds);
                            group.crawl_delay = Some(longest);
                        }
                    }
                }
                Line::Sitemap(value) => {
                    if sitemaps.len() < SITEMAP_LIMIT {
                        sitemaps.push(String::from_utf8_lossy(value).into_owned());
                    }
                }
            }
        }
        let group = if own.is_there { own } else { any };
        Robots {
            crawl_delay: group.crawl_delay,
            access: group.access(),
            sitemaps: sitemaps.into(),
            is_cut: file.len() > PARSE_LIMIT_BYTES,
        }
    }

    /// Whether the crawler may fetch a path with its query, such as `/a/b?c`, as
    /// [`urls::path_and_query`](crate::urls::path_and_query) gives it.
    ///
    /// The longest rule that matches decides, in octets; of equally long ones `allow` (section 2.2.2).
    /// `/robots.txt` is always allowed. Takes time in the length of the rules times that of the path at worst.
    pub fn allows(&self, path_and_query: &str) -> bool {
        let is_robots = path_and_query
            .strip_prefix("/robots.txt")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['?', '#']));
        if is_robots {
            return true;
        }
        match &self.access {
            Access::All => true,
            Access::Nothing => false,
            Access::Rules(rules) => {
                let path = pattern::normalise_path(path_and_query);
                // The rules stand in the order in which they decide.
                rules
                    .iter()
                    .find(|rule| rule.pattern.matches(&path))
                    .is_none_or(|rule| rule.is_allow)
            }
        }
    }

    /// Seconds to leave between two requests, if the file says so; at most [`CRAWL_DELAY_LIMIT_SECONDS`].
    pub fn crawl_delay(&self) -> Option<f64> {
        self.crawl_delay
    }

    /// The sitemaps that the file names, as they are written, in its order, at most [`SITEMAP_LIMIT`].
    pub fn sitemaps(&self) -> &[String] {
        &self.sitemaps
    }

    /// Whether the file is longer than [`PARSE_LIMIT_BYTES`], so that its end was not read.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }
}

impl fmt::Debug for Robots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Robots");
        match &self.access {
            Access::All => out.field("access", &"all"),
            Access::Nothing => out.field("access", &"nothing"),
            Access::Rules(rules) => out.field("rules", &rules.len()),
        };
        out.field("crawl_delay", &self.crawl_delay)
            .field("sitemaps", &self.sitemaps.len())
            .finish()
    }
}

#[derive(Default)]
struct Group {
    is_there: bool,
    rules: Vec<Arc<(Pattern, bool)>>,
    crawl_delay: Option<f64>,
}

impl Group {
    fn access(self) -> Access {
        if self.rules.is_empty() {
            return Access::All;
        }
        let mut rules: Vec<Rule> = self
            .rules
            .into_iter()
            .map(|rule| {
                let (pattern, is_allow) = Arc::unwrap_or_clone(rule);
                Rule { pattern, is_allow }
            })
            .collect();
        rules.sort_by(|a, b| {
            let by_length = b.pattern.octets().cmp(&a.pattern.octets());
            by_length.then(b.is_allow.cmp(&a.is_allow))
        });
        Access::Rules(rules.into())
    }
}
