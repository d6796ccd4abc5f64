//! A model of a web whose truth is known: hosts, pages, links in every place that HTML has, and what goes wrong there.
//!
//! A [`Web`] is drawn from a seed and is then a value: it has no clock, no sockets and no state, and answers a
//! [`Request`] with an [`Answer`]. [`serve`] puts it on a [`Host`](holdfast_host::Host)'s listeners, on loopback as in
//! the simulator, and writes down what is asked. [`Truth`] says what a correct checker must find, where honest checkers
//! may differ all that is right, and [`Conduct`] what a polite one does not do.
//!
//! What the model promises: every target has one expectation, every fault is linked from a page that a crawl reaches,
//! and the same seed and shape give the same web to the last byte.

mod answer;
mod build;
mod cases;
mod place;
pub mod serve;
mod shape;
mod text;
mod truth;

pub use answer::{Answer, Body, Fault, Reply, Request};
pub use build::resolve;
pub use place::{DECOYS, PLACES, Place};
pub use shape::{Addresses, StaticShape};
pub use truth::{Expectation, Mismatch, Score, Truth, Verdict, normal};

use answer::Behaviour;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

/// A web. Clones share it.
#[derive(Clone)]
pub struct Web(Arc<Model>);

struct Model {
    origins: Vec<Origin>,
    truth: Truth,
    links: Vec<Link>,
    /// The URLs that links name by number.
    names: Vec<String>,
}

/// A certificate that an origin shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certificate {
    /// From the authority that clients are told to trust.
    Good,
    /// The same, long over.
    Expired,
    /// The same, for another name.
    WrongHost,
    /// From nobody but itself.
    SelfSigned,
    /// From an authority that nobody knows.
    UnknownAuthority,
}

impl Certificate {
    /// All of them.
    pub const ALL: [Certificate; 5] = [
        Certificate::Good,
        Certificate::Expired,
        Certificate::WrongHost,
        Certificate::SelfSigned,
        Certificate::UnknownAuthority,
    ];
}

/// A scheme, a host and a port, and all that is there.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Its root, e.g. `http://site-7.example/`.
    base: String,
    /// As in a `Host` field: the port only where it is not the scheme's own.
    authority: String,
    certificate: Option<Certificate>,
    exists: bool,
    listens: bool,
    /// URLs of the HTML pages that a crawl from the root reaches.
    pages: Vec<String>,
    conduct: Conduct,
    /// By path and query.
    paths: BTreeMap<String, Behaviour>,
    /// By the beginning of a path; after `paths`.
    prefixes: Vec<(String, Behaviour)>,
    fallback: Behaviour,
}

impl Origin {
    /// Its root, e.g. `http://site-7.example/`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Its host, and its port where that is not the scheme's own, as clients name it.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The certificate that it shows; `None` without TLS.
    pub fn certificate(&self) -> Option<Certificate> {
        self.certificate
    }

    /// Whether its name resolves.
    pub fn exists(&self) -> bool {
        self.exists
    }

    /// Whether somebody listens there.
    pub fn listens(&self) -> bool {
        self.listens
    }

    /// URLs of the HTML pages that a crawl from the root reaches, the root first.
    pub fn pages(&self) -> &[String] {
        &self.pages
    }

    /// What a polite client heeds here.
    pub fn conduct(&self) -> &Conduct {
        &self.conduct
    }
}

/// What a polite client heeds at one origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conduct {
    /// Beginnings of paths that robots.txt disallows to everyone.
    pub forbidden: Vec<String>,
    /// Whether nothing but robots.txt may be asked for.
    pub forbids_all: bool,
    /// The least time between two requests' starts.
    pub min_gap: Duration,
    /// Beginnings of paths that go on for ever, with how many requests a careful crawler makes there at most.
    pub traps: Vec<(String, usize)>,
}

impl Conduct {
    /// Whether `target` (path and query) must not be asked for.
    pub fn forbids(&self, target: &str) -> bool {
        let all = self.forbids_all && target != "/robots.txt";
        all || self.forbidden.iter().any(|begin| target.starts_with(begin))
    }
}

/// A link of the web.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    source: u32,
    target: u32,
    /// Where on the page it is.
    pub place: Place,
}

impl Web {
    /// Its origins. A number of an origin is an index into this.
    pub fn origins(&self) -> &[Origin] {
        &self.0.origins
    }

    /// The origin that clients name so in a `Host` field; case does not matter.
    pub fn origin_of(&self, authority: &str) -> Option<usize> {
        let mut origins = self.0.origins.iter();
        origins.position(|origin| origin.authority.eq_ignore_ascii_case(authority))
    }

    /// What is known of every target.
    pub fn truth(&self) -> &Truth {
        &self.0.truth
    }

    /// What is known of the targets that pages of one origin link to, and of what only looks like a link there.
    pub fn truth_of(&self, origin: usize) -> Truth {
        let base = &self.0.origins[origin].base;
        let links = self.links().filter(|(page, _, _)| page.starts_with(base));
        let mut linked: BTreeSet<String> = links.map(|(_, target, _)| target.to_string()).collect();
        let decoys = self.truth().iter().filter(|e| e.verdicts.is_empty());
        let ours = decoys.filter(|e| e.target.starts_with(base));
        linked.extend(ours.map(|e| e.target.clone()));
        self.0.truth.only(&linked)
    }

    /// Every link: the page that holds it, its target, its place.
    pub fn links(&self) -> impl Iterator<Item = (&str, &str, Place)> {
        let name = |number: u32| self.0.names[number as usize].as_str();
        let links = self.0.links.iter();
        links.map(move |link| (name(link.source), name(link.target), link.place))
    }

    /// What `origin` does about `request`: a function of the two, and of nothing else.
    pub fn answer(&self, origin: usize, request: &Request<'_>) -> Answer {
        self.behaviour(origin, request.target, request.path())
            .answer(request)
    }

    /// Whether asking for `target` once is enough: it does not fail first and work later.
    pub fn is_steady(&self, origin: usize, target: &str) -> bool {
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        match self.behaviour(origin, target, path) {
            Behaviour::Always(Answer::Reply(reply)) => {
                let status = reply.status.as_u16();
                let whole = matches!(reply.body, Body::Full(_) | Body::Chunked(_));
                whole && status < 500 && status != 429
            }
            Behaviour::ByCoding { .. } | Behaviour::Growing | Behaviour::Trap(_) => true,
            _ => false,
        }
    }

    fn behaviour(&self, origin: usize, target: &str, path: &str) -> &Behaviour {
        let origin = &self.0.origins[origin];
        let exact = origin.paths.get(target).or_else(|| origin.paths.get(path));
        exact.unwrap_or_else(|| {
            let mut prefixes = origin.prefixes.iter();
            let under = prefixes.find(|(begin, _)| path.starts_with(begin));
            under.map_or(&origin.fallback, |(_, behaviour)| behaviour)
        })
    }
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Model { origins, links, .. } = &*self.0;
        write!(f, "Web({} origins, {} links)", origins.len(), links.len())
    }
}
