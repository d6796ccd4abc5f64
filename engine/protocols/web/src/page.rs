//! What an HTML page links to, what can be pointed to in it, and what it says about itself.
//!
//! The page is tokenized by html5gum, by the HTML standard; what the tokenizer needs to know of the tree (raw text,
//! foreign content, templates) is followed without building one. Scripts are not run: `<noscript>` is read as a
//! browser without scripts reads it, and what a script would write is not seen.

mod collector;
mod element;
mod foreign;
mod tag;

use crate::{
    Fragments, Limits, Link, LinkKind, Problem, UrlProblem, charset,
    header::RobotsMeta,
    limits::Problems,
    link::Draft,
    soft404::{Fingerprint, Shingles},
    text,
};
use collector::Collector;
use url::Url;

pub(crate) use element::relation_kind;

/// What one HTML document says.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Its links, in document order.
    pub links: Vec<Link>,
    /// The names that fragments can point to.
    pub fragments: Fragments,
    /// Its `<title>`, white space collapsed.
    pub title: Option<String>,
    /// What its `<meta name=robots>` say.
    pub robots: RobotsMeta,
    /// The label of its first `<meta charset>`, in lower case.
    pub meta_charset: Option<String>,
    /// Whether that stands among the first [`charset::PRESCAN_BYTES`] bytes, as the HTML standard demands.
    pub is_meta_charset_early: bool,
    /// The URL against which its links are resolved: its own, or that of its `<base href>`.
    pub base: Option<Url>,
    /// What its visible words are like, if that was asked for.
    pub fingerprint: Option<Fingerprint>,
    /// What is wrong with it as a whole.
    pub problems: Vec<Problem>,
}

impl Page {
    /// Its first `<link rel=canonical>`.
    pub fn canonical(&self) -> Option<&Link> {
        self.links
            .iter()
            .find(|link| link.kind == LinkKind::Canonical)
    }
}

/// What to read of a page.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How much at most.
    pub limits: Limits,
    /// Take the [`Page::fingerprint`], which costs about as much as the rest.
    pub fingerprint: bool,
}

/// Reads a page as it was fetched from `document`, given its `Content-Type`, if it had one.
pub fn read(bytes: &[u8], content_type: Option<&str>, document: &Url, options: &Options) -> Page {
    let decoded = charset::decode_html(bytes, content_type);
    let mut page = parse(&decoded.text, document, options);
    if decoded.had_errors {
        page.problems.push(Problem::Undecodable {
            encoding: decoded.charset.encoding.name().to_owned(),
        });
    }
    page
}

/// Reads a page whose text is known.
pub fn parse(html: &str, document: &Url, options: &Options) -> Page {
    let mut sink = Sink {
        limits: &options.limits,
        page: Page::default(),
        drafts: Vec::new(),
        bases: Vec::new(),
        problems: Problems::default(),
        title: String::new(),
        title_chars: 0,
        has_title: false,
        shingles: options.fingerprint.then(|| Shingles::new(document)),
    };
    Collector::run(html, None, &mut sink);
    sink.finish(document)
}

/// Where a tag stands: line and column, from 1.
type Place = (u32, u32);

/// What the documents of a page (itself and those in `srcdoc`) have in common: what was found.
struct Sink<'l> {
    limits: &'l Limits,
    page: Page,
    /// Links, each with the document whose base it has.
    drafts: Vec<(u32, Draft)>,
    bases: Vec<Base>,
    problems: Problems,
    title: String,
    title_chars: usize,
    has_title: bool,
    shingles: Option<Shingles>,
}

/// What is known of a document's base URL before the end.
struct Base {
    /// The document around it; its base is this one's, if it has no own.
    parent: Option<u32>,
    /// Its first `<base href>`, and the line of that.
    href: Option<(String, u32)>,
}

impl Sink<'_> {
    /// Adds a link; `None` if there is no room for it.
    fn add(&mut self, document: u32, place: Place, mut draft: Draft) -> Option<usize> {
        if self.drafts.len() >= self.limits.links {
            let limit = self.limits.links;
            self.problems
                .add_once(Problem::TooManyLinks { limit }, self.limits);
            return None;
        }
        let at = self.drafts.len();
        draft.link.ordinal = at as u32;
        (draft.link.line, draft.link.column) = place;
        self.drafts.push((document, draft));
        Some(at)
    }

    fn problem(&mut self, problem: Problem) {
        self.problems.add(problem, self.limits);
    }

    fn finish(mut self, document: &Url) -> Page {
        let mut bases: Vec<Url> = Vec::with_capacity(self.bases.len());
        for base in std::mem::take(&mut self.bases) {
            // Parents stand before their children.
            let fallback = base
                .parent
                .map_or(document, |parent| &bases[parent as usize]);
            let own = match base.href {
                None => fallback.clone(),
                Some((href, line)) => match resolve_base(&href, fallback, self.limits) {
                    Ok(own) => own,
                    Err(reason) => {
                        let own = fallback.clone();
                        self.problem(Problem::InvalidBase { line, reason });
                        own
                    }
                },
            };
            bases.push(own);
        }
        let limits = self.limits;
        self.page.links = self
            .drafts
            .into_iter()
            .map(|(document, draft)| draft.resolve(&bases[document as usize], limits))
            .collect();
        self.title.truncate(self.title.trim_end().len());
        self.page.title = self.has_title.then_some(self.title);
        self.page.base = bases.into_iter().next();
        self.page.fingerprint = self.shingles.map(Shingles::finish);
        self.page.problems = self.problems.into_vec();
        self.page
    }
}

/// The base URL that a `<base href>` sets (HTML standard, section 4.2.3, "set the frozen base URL").
fn resolve_base(href: &str, fallback: &Url, limits: &Limits) -> Result<Url, UrlProblem> {
    let href = text::trim(href);
    if href.len() > limits.url_bytes {
        return Err(UrlProblem::TooLong {
            bytes: href.len(),
            limit: limits.url_bytes,
        });
    }
    let base = fallback.join(href)?;
    match base.scheme() {
        "data" | "javascript" => Err(UrlProblem::Invalid),
        _ if base.cannot_be_a_base() => Err(UrlProblem::RelativeWithoutBase),
        _ => Ok(base),
    }
}
