//! What is asked of a model site, and what it answers.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use std::time::Duration;

/// One request as a site sees it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a Method,
    /// Path and query, as sent.
    pub target: &'a str,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// How often this client has asked for this target so far, this request included: 1 at first.
    pub attempt: u32,
}

impl Request<'_> {
    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(self.target, |(path, _)| path)
    }

    /// The value of a parameter of the query, as it is written there.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Whether a cookie, written `name=value`, came along.
    fn has_cookie(&self, cookie: &str) -> bool {
        let fields = self.headers.get_all(header::COOKIE).iter();
        let mut texts = fields.filter_map(|field| field.to_str().ok());
        texts.any(|text| text.split(';').any(|pair| pair.trim() == cookie))
    }

    /// Whether the client says that it decodes `coding`.
    fn accepts(&self, coding: &str) -> bool {
        let fields = self.headers.get_all(header::ACCEPT_ENCODING).iter();
        let mut texts = fields.filter_map(|field| field.to_str().ok());
        texts.any(|text| {
            text.split(',').any(|part| {
                let mut parts = part.split(';').map(str::trim);
                let named = parts
                    .next()
                    .is_some_and(|name| name.eq_ignore_ascii_case(coding) || name == "*");
                named && !parts.any(|weight| weight == "q=0")
            })
        })
    }
}

/// What a site does about a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It answers in HTTP.
    Reply(Reply),
    /// It does not.
    Fault(Fault),
}

impl Answer {
    /// The reply's status; `None` for a fault.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Answer::Reply(reply) => Some(reply.status),
            Answer::Fault(_) => None,
        }
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Answer::Reply(reply)
    }
}

impl From<Fault> for Answer {
    fn from(fault: Fault) -> Self {
        Answer::Fault(fault)
    }
}

/// What a site does to a connection instead of answering. Over HTTP/2 each of these resets the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Takes the request and says nothing, for as long as the client waits.
    Hang,
    /// Drops the connection: a reset or an end, as the network likes.
    Drop,
    /// Writes these bytes, which need not be HTTP, and drops the connection.
    Raw(Bytes),
}

/// An answer in HTTP.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields, without those that say how long the body is.
    pub headers: HeaderMap,
    /// What it carries.
    pub body: Body,
    /// How long the site thinks before it sends the head.
    pub delay: Duration,
}

impl Reply {
    /// A reply without a body.
    pub fn empty(status: u16) -> Self {
        Reply {
            status: StatusCode::from_u16(status).expect("the model's statuses have three digits"),
            headers: HeaderMap::new(),
            body: Body::Full(Bytes::new()),
            delay: Duration::ZERO,
        }
    }

    /// A reply of that type.
    pub fn of(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Reply::empty(status)
            .with("content-type", content_type)
            .carrying(Body::Full(body.into()))
    }

    /// A page in UTF-8.
    pub fn html(status: u16, html: impl Into<Bytes>) -> Self {
        Reply::of(status, "text/html; charset=utf-8", html)
    }

    /// A redirect.
    pub fn redirect(status: u16, location: &str) -> Self {
        Reply::empty(status).with("location", location)
    }

    /// The same with one more field.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        // Bytes above ASCII are allowed in a field, and some sites send them in `Location`.
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("no line ends in a field");
        self.headers.append(HeaderName::from_static(name), value);
        self
    }

    /// The same with another body.
    pub fn carrying(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
}

/// What a reply carries.
#[derive(Clone, Debug)]
pub enum Body {
    /// Everything, its length told.
    Full(Bytes),
    /// Everything, its length not told beforehand.
    Chunked(Bytes),
    /// A few bytes, and the end of the connection where more were announced.
    Truncated {
        /// What comes.
        sent: Bytes,
        /// The length that is told.
        announced: u64,
    },
    /// The same bytes again and again, for as long as the client reads.
    Endless(Bytes),
    /// A byte, a pause, the next byte.
    Drip {
        /// All of it; its length is told.
        bytes: Bytes,
        /// The pause.
        pause: Duration,
    },
}

/// How one path of a site behaves.
#[derive(Clone, Debug)]
pub(super) enum Behaviour {
    /// The same to everyone.
    Always(Answer),
    /// Two faces: one for `HEAD`, one for all other methods.
    ByMethod { head: Answer, other: Answer },
    /// One answer after the other, then the last one for ever.
    InTurn { first: Vec<Answer>, then: Answer },
    /// Depends on a cookie, written `name=value`.
    ByCookie {
        cookie: &'static str,
        without: Answer,
        with: Answer,
    },
    /// Encoded for those who say that they decode it.
    ByCoding {
        coding: &'static str,
        encoded: Answer,
        plain: Answer,
    },
    /// Redirects to itself with a number that grows.
    Growing,
    /// A page whose links lead to pages of the same kind, without an end.
    Trap(Trap),
}

impl Behaviour {
    /// The answer to `request`.
    pub(super) fn answer(&self, request: &Request<'_>) -> Answer {
        match self {
            Behaviour::Always(answer) => answer.clone(),
            Behaviour::ByMethod { head, other } => match *request.method == Method::HEAD {
                true => head.clone(),
                false => other.clone(),
            },
            Behaviour::InTurn { first, then } => {
                let turn = request.attempt.max(1) as usize - 1;
                first.get(turn).unwrap_or(then).clone()
            }
            Behaviour::ByCookie {
                cookie,
                without,
                with,
            } => match request.has_cookie(cookie) {
                true => with.clone(),
                false => without.clone(),
            },
            Behaviour::ByCoding {
                coding,
                encoded,
                plain,
            } => match request.accepts(coding) {
                true => encoded.clone(),
                false => plain.clone(),
            },
            Behaviour::Growing => {
                let number: u64 = request
                    .parameter("n")
                    .and_then(|n| n.parse().ok())
                    .unwrap_or(0);
                let next = format!("{}?n={}", request.path(), number.saturating_add(1));
                Reply::redirect(302, &next).into()
            }
            Behaviour::Trap(trap) => trap.page(request).into(),
        }
    }
}

impl<T: Into<Answer>> From<T> for Behaviour {
    fn from(answer: T) -> Self {
        Behaviour::Always(answer.into())
    }
}

/// A way of luring crawlers on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trap {
    /// Each month links to the next.
    Calendar,
    /// A relative link that adds one more segment of the same name.
    Segments,
    /// Each page has a new session in its links.
    Session,
}

impl Trap {
    fn page(self, request: &Request<'_>) -> Reply {
        let path = request.path();
        let link = match self {
            Trap::Calendar => {
                let mut numbers = path.rsplit('/').map(|part| part.parse::<u64>());
                let month = numbers.next().and_then(Result::ok).unwrap_or(0);
                let year = numbers.next().and_then(Result::ok).unwrap_or(2024);
                let begins = path.trim_end_matches(|c: char| c.is_ascii_digit() || c == '/');
                let (year, month) = match month >= 12 {
                    true => (year.saturating_add(1), 1),
                    false => (year, month + 1),
                };
                format!("{begins}/{year}/{month}")
            }
            Trap::Segments => "again/".to_string(),
            Trap::Session => {
                let number: u64 = request
                    .parameter("sid")
                    .and_then(|n| n.parse().ok())
                    .unwrap_or(0);
                // A step that is coprime to the range: as if drawn anew each time.
                format!("{path}?sid={}", (number + 7_919) % 1_000_003 + 100_000)
            }
        };
        Reply::html(
            200,
            format!(
                "<!doctype html>\n<title>More</title>\n<p><a href=\"{link}\">More of the same</a>\n"
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(behaviour: &Behaviour, target: &str, headers: &[(&str, &str)], attempt: u32) -> Reply {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            map.append(name, value.parse().unwrap());
        }
        let answer = behaviour.answer(&Request {
            method: &Method::GET,
            target,
            headers: &map,
            attempt,
        });
        match answer {
            Answer::Reply(reply) => reply,
            Answer::Fault(fault) => panic!("{fault:?}"),
        }
    }

    #[test]
    fn answers_come_in_turn_and_the_last_one_stays() {
        let behaviour = Behaviour::InTurn {
            first: vec![Reply::empty(503).into(), Reply::empty(429).into()],
            then: Reply::empty(200).into(),
        };
        let statuses = [1, 2, 3, 4].map(|n| ask(&behaviour, "/", &[], n).status.as_u16());
        assert_eq!(statuses, [503, 429, 200, 200]);
    }

    #[test]
    fn a_cookie_is_found_among_others_and_only_whole() {
        let behaviour = Behaviour::ByCookie {
            cookie: "seen=1",
            without: Reply::empty(403).into(),
            with: Reply::empty(200).into(),
        };
        let status = |cookie| {
            ask(&behaviour, "/", &[("cookie", cookie)], 1)
                .status
                .as_u16()
        };
        assert_eq!(status("a=b; seen=1"), 200);
        assert_eq!(status("seen=12"), 403);
        assert_eq!(status("unseen=1"), 403);
    }

    #[test]
    fn a_coding_with_weight_zero_is_not_accepted() {
        let behaviour = Behaviour::ByCoding {
            coding: "gzip",
            encoded: Reply::empty(200).into(),
            plain: Reply::empty(204).into(),
        };
        let status = |value| {
            let headers = [("accept-encoding", value)];
            ask(&behaviour, "/", &headers, 1).status.as_u16()
        };
        assert_eq!(status("br, gzip"), 200);
        assert_eq!(status("gzip; q=0"), 204);
        assert_eq!(status("br"), 204);
    }

    #[test]
    fn traps_lead_on() {
        let link = |trap, target| {
            let Body::Full(html) = ask(&Behaviour::Trap(trap), target, &[], 1).body else {
                panic!("a trap's pages are whole")
            };
            let html = String::from_utf8(html.to_vec()).unwrap();
            html.split('"').nth(1).unwrap().to_string()
        };
        assert_eq!(link(Trap::Calendar, "/cal/2024/12"), "/cal/2025/1");
        assert_eq!(link(Trap::Calendar, "/cal"), "/cal/2024/1");
        assert_eq!(link(Trap::Segments, "/x/"), "again/");
        assert_eq!(link(Trap::Session, "/s?sid=1"), "/s?sid=107920");
    }
}
