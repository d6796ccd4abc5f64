use crate::{Limits, Target, UrlProblem, text, urls};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt};
use url::Url;

/// One reference of a document to something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Which link of its document it is, from 0 in document order.
    pub ordinal: u32,
    /// What it is for.
    pub kind: LinkKind,
    /// The reference as it is written, character references decoded, at most
    /// [`Limits::raw_bytes`] of it.
    pub raw: String,
    /// What it points to, or what is wrong with it.
    pub target: Result<Target, UrlProblem>,
    /// The element it stands in, in lower case; of a header its name.
    pub element: Cow<'static, str>,
    /// The attribute it stands in; empty if it is the content of its element.
    pub attribute: Cow<'static, str>,
    /// The line of its tag, from 1; 0 in a header.
    pub line: u32,
    /// The column of its tag in characters, from 1; 0 in a header.
    pub column: u32,
    /// The text that a reader clicks, or what stands for an image, white space collapsed, at most
    /// [`Limits::text_chars`] characters.
    pub text: String,
    /// What its `rel` says.
    pub rel: Rel,
    /// The language that `hreflang` says.
    pub hreflang: Option<String>,
}

/// What a link is for. The names in serialised form do not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// `<a href>`.
    Anchor,
    /// `<area href>`.
    Area,
    /// `<link rel=stylesheet>`.
    Stylesheet,
    /// `<link rel=icon>` and its kin.
    Icon,
    /// `<link rel=canonical>`.
    Canonical,
    /// `<link rel=alternate>`.
    Alternate,
    /// `<link rel=next>`.
    Next,
    /// `<link rel=prev>`.
    Prev,
    /// `<link rel=manifest>`.
    Manifest,
    /// `<link rel=preload>` or `modulepreload` or `prefetch`, `imagesrcset` included.
    Preload,
    /// `<link>` with another relation.
    OtherLink,
    /// `<img>`, `<source>` in a picture, `<input type=image>`, SVG `<image>`.
    Image,
    /// `<script src>`.
    Script,
    /// `<iframe>` and `<frame>`.
    Frame,
    /// `<embed src>` and `<object data>`.
    Embed,
    /// `<audio>`, `<video>`, `<source>` and `<track>`.
    Media,
    /// `<video poster>`.
    Poster,
    /// The target of a form that is sent with GET; it can be checked.
    FormGet,
    /// The target of a form that is sent with POST, or of a dialog; a GET says nothing about it.
    FormPost,
    /// The source of a quotation or of a change (`cite`).
    Cite,
    /// `<a ping>`: a target of POST requests.
    Ping,
    /// `<meta http-equiv=refresh>` or the header `Refresh`.
    Refresh,
    /// A `<meta>` for those who show the page elsewhere: `og:image`, `og:url`, `twitter:image` and their kin.
    Social,
    /// SVG `<use>` and other references of SVG.
    Svg,
    /// `url()` in a style sheet or a `style` attribute.
    Css,
    /// `@import` in a style sheet.
    CssImport,
    /// The header `Link` (RFC 8288), with a relation that is none of the above.
    HeaderLink,
    /// The header `Location`.
    Location,
    /// A page in a sitemap.
    SitemapPage,
    /// A sitemap in a sitemap index or in robots.txt.
    Sitemap,
    /// An image in a sitemap.
    SitemapImage,
    /// A video, its player or its thumbnail in a sitemap.
    SitemapVideo,
    /// An entry of an RSS or Atom feed.
    Feed,
}

impl LinkKind {
    /// Whether a GET of the target says whether the link works.
    pub fn is_checkable(self) -> bool {
        !matches!(self, LinkKind::FormPost | LinkKind::Ping)
    }

    /// Whether the target is a document that a reader goes to, as opposed to a part of this one.
    pub fn is_navigation(self) -> bool {
        matches!(
            self,
            LinkKind::Anchor
                | LinkKind::Area
                | LinkKind::Canonical
                | LinkKind::Alternate
                | LinkKind::Next
                | LinkKind::Prev
                | LinkKind::Frame
                | LinkKind::Refresh
                | LinkKind::Location
                | LinkKind::SitemapPage
                | LinkKind::Feed
        )
    }
}

/// What `rel` says of a link, as far as somebody who follows links wants to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rel {
    /// `nofollow`: the author does not vouch for it.
    pub nofollow: bool,
    /// `ugc`: user-generated content.
    pub ugc: bool,
    /// `sponsored`.
    pub sponsored: bool,
    /// `external`.
    pub external: bool,
}

impl Rel {
    /// Reads a `rel` attribute.
    pub fn parse(value: &str) -> Rel {
        let mut rel = Rel::default();
        for token in value.split_ascii_whitespace() {
            let is = |name: &str| token.eq_ignore_ascii_case(name);
            rel.nofollow |= is("nofollow");
            rel.ugc |= is("ugc");
            rel.sponsored |= is("sponsored");
            rel.external |= is("external");
        }
        rel
    }
}

/// A link before its document's base URL is known.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub link: Link,
    /// The whole reference, where `link.raw` is only its start.
    long: Option<Box<str>>,
    /// What is known of it without its base.
    verdict: Option<Result<Target, UrlProblem>>,
    /// Nothing may be written, and then means the document itself.
    pub may_be_empty: bool,
    /// Characters in `link.text`, white space at its end included.
    text_chars: usize,
}

impl Draft {
    /// What is written at a place, to be resolved later.
    pub fn new(
        kind: LinkKind,
        reference: &str,
        element: Cow<'static, str>,
        attribute: &'static str,
        limits: &Limits,
    ) -> Draft {
        let reference = text::trim(reference);
        let raw = text::prefix(reference, limits.raw_bytes);
        // What is longer than a URL may be is judged at once and not kept.
        let is_too_long = reference.len() > limits.url_bytes;
        let long = (raw.len() < reference.len() && !is_too_long).then(|| reference.into());
        let verdict = is_too_long.then(|| urls::judge_long(reference, limits.url_bytes));
        Draft {
            link: Link {
                ordinal: 0,
                kind,
                raw: raw.to_owned(),
                target: Err(UrlProblem::Empty),
                element,
                attribute: Cow::Borrowed(attribute),
                line: 0,
                column: 0,
                text: String::new(),
                rel: Rel::default(),
                hreflang: None,
            },
            long,
            verdict,
            may_be_empty: kind.may_be_empty(),
            text_chars: 0,
        }
    }

    /// Makes it a link of a document with this base URL.
    pub fn resolve(self, base: &Url, limits: &Limits) -> Link {
        self.resolve_by(|reference| urls::resolve(reference, base, limits.url_bytes))
    }

    /// Makes it a link of a document that has none but complete URLs.
    pub fn resolve_absolute(self, limits: &Limits) -> Link {
        self.resolve_by(|reference| urls::parse(reference, limits.url_bytes))
    }

    fn resolve_by(mut self, resolve: impl FnOnce(&str) -> Result<Target, UrlProblem>) -> Link {
        let reference = self.long.as_deref().unwrap_or(&self.link.raw);
        self.link.target = match self.verdict {
            Some(verdict) => verdict,
            None if reference.is_empty() && !self.may_be_empty => Err(UrlProblem::Empty),
            None => resolve(reference),
        };
        let text = self.link.text.trim_end().len();
        self.link.text.truncate(text);
        self.link
    }

    /// Adds to its text.
    pub fn push_text(&mut self, piece: &str, limits: &Limits) {
        text::push_collapsed(
            &mut self.link.text,
            &mut self.text_chars,
            piece,
            limits.text_chars,
        );
    }
}

impl LinkKind {
    /// Whether an empty reference means the document itself: it does where a reader follows it or a form is sent, and
    /// is an error where something is loaded.
    fn may_be_empty(self) -> bool {
        matches!(
            self,
            LinkKind::Anchor
                | LinkKind::Area
                | LinkKind::FormGet
                | LinkKind::FormPost
                | LinkKind::Refresh
        )
    }
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
