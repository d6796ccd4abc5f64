//! Chains of redirects.

use crate::{
    BodyPolicy, Client, CookieJar, FetchError, Head, Request, Response, Timings,
    client::authorize,
    exchange::{Call, Choose},
    mutant::Mutant,
};
use bytes::Bytes;
use holdfast_host::BoxFuture;
use http::{HeaderMap, Method, StatusCode, header};
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use thiserror::Error;
use url::Url;

/// How much of a bad `Location` an error tells.
const MAX_TOLD: usize = 200;

/// Is asked before every hop, the first included; robots.txt is obeyed here.
///
/// Time spent in it is in no timeout: it has its own.
pub trait Gate: Send + Sync {
    /// Whether `hop` may be fetched.
    fn admit<'a>(&'a self, hop: &'a Url) -> BoxFuture<'a, Result<(), Refusal>>;

    /// The least time between the start of the request before and that of a hop, at the hop's origin; asked after
    /// `admit`. The origin's own gap holds beside it, so the longer of the two.
    fn gap(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether a redirect that leads somewhere is followed, given the cookies that the chain has by then. If it is not,
    /// the chain ends with the redirect as its response and as its last hop.
    fn follows(&self, _hop: &Hop, _cookies: &CookieJar) -> bool {
        true
    }
}

/// Admits everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenGate;

impl Gate for OpenGate {
    fn admit<'a>(&'a self, _hop: &'a Url) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Why a gate does not admit a hop.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{detail}")]
pub struct Refusal {
    /// A stable name for machines.
    pub name: &'static str,
    /// For people.
    pub detail: String,
}

/// A redirect that was followed, or that ended the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// What was asked for.
    pub url: Url,
    /// What it was answered.
    pub status: StatusCode,
    /// `Location` as it came; bytes that are no UTF-8 are read as Latin-1.
    pub location: String,
    /// Where that leads, the fragment that is passed on included; `None` when it leads nowhere.
    pub target: Option<Url>,
    /// Whether links should be changed to the target: 301 and 308.
    pub is_permanent: bool,
    /// The server's address.
    pub remote: SocketAddr,
    /// How long it took.
    pub timings: Timings,
}

/// How a chain went.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The redirects, in order.
    pub hops: Vec<Hop>,
    /// What was asked for last.
    pub url: Url,
    /// The cookies of the chain.
    pub cookies: CookieJar,
    /// The head at its end, also where the body could not be read: the page is there, whatever is wrong with it.
    pub head: Option<Head>,
    /// The response at its end, or why there is none.
    pub outcome: Result<Response, FetchError>,
}

pub(crate) async fn follow(
    client: &Client,
    request: &Request,
    gate: &dyn Gate,
    choose: &Choose<'_>,
) -> Fetched {
    let mut chain = Chain {
        client,
        hops: Vec::new(),
        cookies: CookieJar::new(),
        seen: BTreeSet::new(),
        method: request.method.clone(),
        url: request.url.clone(),
        headers: request.headers.clone(),
        body: request.body.clone(),
    };
    authorize(&mut chain.headers, &request.url);
    let last = Mutex::new(None);
    let outcome = chain
        .run(gate, &|head: &Head| {
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(head.clone());
            choose(head)
        })
        .await;
    Fetched {
        hops: chain.hops,
        url: chain.url,
        cookies: chain.cookies,
        head: last.into_inner().unwrap_or_else(PoisonError::into_inner),
        outcome,
    }
}

struct Chain<'a> {
    client: &'a Client,
    hops: Vec<Hop>,
    cookies: CookieJar,
    /// Method, URL without fragment and cookies of each request: who asks the same again gets the same again.
    seen: BTreeSet<(String, String, Option<String>)>,
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Bytes,
}

impl Chain<'_> {
    async fn run(&mut self, gate: &dyn Gate, choose: &Choose<'_>) -> Result<Response, FetchError> {
        let limit = self.client.config().limits.max_redirects;
        let mut left = self.client.config().timeouts.total;
        let choose = |head: &Head| match location(head) {
            Some(_) => BodyPolicy::Discard,
            None => choose(head),
        };
        loop {
            let cookies = self.next_cookies()?;
            gate.admit(&self.url)
                .await
                .map_err(FetchError::NotAdmitted)?;
            let call = Call {
                method: &self.method,
                url: &self.url,
                headers: &self.headers,
                cookies,
                body: &self.body,
                gap: gate.gap(),
            };
            let response = self.client.hop(&call, &choose, &mut left).await?;
            let now = self.client.host().unix_time();
            self.cookies.store(&self.url, &response.head.headers, now);
            let Some(location) = location(&response.head) else {
                return Ok(response);
            };
            let target = resolve(&self.url, &location, &response.head);
            self.hops.push(Hop {
                url: self.url.clone(),
                status: response.head.status,
                location,
                target: target.as_ref().ok().cloned(),
                is_permanent: matches!(response.head.status.as_u16(), 301 | 308),
                remote: response.remote,
                timings: response.timings,
            });
            let target = target?;
            if self.hops.len() > limit {
                return Err(FetchError::TooManyRedirects { limit });
            }
            if let Some(hop) = self.hops.last()
                && !gate.follows(hop, &self.cookies)
            {
                return Ok(response);
            }
            self.turn_to(target, response.head.status);
        }
    }

    /// The cookies of the next request, unless the same was asked with the same before.
    fn next_cookies(&mut self) -> Result<Option<String>, FetchError> {
        let now = self.client.host().unix_time();
        let cookies = self.cookies.header(&self.url, now);
        let without_fragment = &self.url[..url::Position::AfterQuery];
        let mutant = self.client.config().mutant;
        let with = match Mutant::LoopWithoutCookies.is_in(mutant) {
            true => None,
            false => cookies.clone(),
        };
        let key = (self.method.to_string(), without_fragment.to_owned(), with);
        match self.seen.insert(key) {
            true => Ok(cookies),
            false => Err(FetchError::RedirectLoop {
                url: Box::new(self.url.clone()),
            }),
        }
    }

    /// Changes the request as the redirect wants it (RFC 9110, section 15.4).
    fn turn_to(&mut self, target: Url, status: StatusCode) {
        let becomes_get = match status.as_u16() {
            303 => self.method != Method::HEAD,
            // As user agents have always done it, and the RFC allows.
            301 | 302 => self.method == Method::POST,
            _ => false,
        };
        if becomes_get {
            self.method = Method::GET;
            self.body = Bytes::new();
            for name in [
                header::CONTENT_TYPE,
                header::CONTENT_ENCODING,
                header::CONTENT_LANGUAGE,
                header::CONTENT_LOCATION,
            ] {
                self.headers.remove(name);
            }
        }
        // Conditions were about the page that was asked for first.
        for name in [
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            header::IF_MODIFIED_SINCE,
            header::IF_UNMODIFIED_SINCE,
            header::IF_RANGE,
        ] {
            self.headers.remove(name);
        }
        if self.url.origin() != target.origin() {
            self.headers.remove(header::AUTHORIZATION);
        }
        if self.url.scheme() == "https" && target.scheme() == "http" {
            self.headers.remove(header::REFERER);
        }
        self.url = target;
    }
}

/// The redirect that a head is: its `Location`, when the status makes it one that is followed. Of several the first
/// counts, as in browsers.
fn location(head: &Head) -> Option<String> {
    if !matches!(head.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let bytes = head.headers.get(header::LOCATION)?.as_bytes();
    Some(match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    })
}

fn resolve(base: &Url, location: &str, head: &Head) -> Result<Url, FetchError> {
    let bad = |detail: String| FetchError::BadRedirect {
        location: location.chars().take(MAX_TOLD).collect(),
        detail,
    };
    let mut all = head.headers.get_all(header::LOCATION).iter();
    let first = all.next();
    if all.any(|other| Some(other) != first) {
        return Err(bad("there are several that differ".to_owned()));
    }
    let mut target = base
        .join(location)
        .map_err(|error| bad(error.to_string()))?;
    if !matches!(target.scheme(), "http" | "https") {
        return Err(FetchError::RedirectScheme {
            scheme: target.scheme().to_owned(),
        });
    }
    // Else a server could let its visitors sign in elsewhere. On a URL with a host these cannot fail.
    let _ = target.set_username("");
    let _ = target.set_password(None);
    // RFC 9110, section 10.2.2.
    if target.fragment().is_none() {
        target.set_fragment(base.fragment());
    }
    Ok(target)
}
