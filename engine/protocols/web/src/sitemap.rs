//! Sitemaps and feeds: lists of URLs that a site gives to robots.
//!
//! Read are sitemaps and sitemap indexes of sitemaps.org 0.9 with the extensions for languages (`xhtml:link`),
//! images and videos, sitemaps that are plain text, RSS 2.0 (and what resembles it) and Atom (RFC 4287). Elements
//! are told by their local names, whatever their prefix: files with a wrong namespace are frequent, and what they
//! mean is plain.

use crate::{
    Limits, Link, LinkKind, Problem, charset,
    limits::Problems,
    link::Draft,
    page::relation_kind,
    text::{self, Cursor},
};
use quick_xml::{
    Reader,
    escape::resolve_predefined_entity,
    events::{BytesStart, Event},
};
use std::borrow::Cow;
use url::Url;

/// URLs that a sitemap may have (sitemaps.org).
pub const URL_LIMIT: usize = 50_000;
/// Bytes that a sitemap may have before compression (sitemaps.org).
pub const BYTE_LIMIT: usize = 50 << 20;
/// How deep elements are nested at most in what is read.
const DEPTH_LIMIT: usize = 32;
/// Bytes of one element's text that are kept.
const TEXT_LIMIT_BYTES: usize = 16 << 10;
/// Bytes of a date that are kept: RFC 3339 and RFC 822 need fewer.
const DATE_LIMIT_BYTES: usize = 64;

/// What kind of list it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A sitemap: `<urlset>`.
    UrlSet,
    /// A list of sitemaps: `<sitemapindex>`.
    Index,
    /// A sitemap in plain text, one URL a line.
    Text,
    /// An RSS feed.
    Rss,
    /// An Atom feed.
    Atom,
    /// None of these; nothing was read.
    #[default]
    Unknown,
}

/// What a sitemap or a feed lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sitemap {
    /// What kind it is.
    pub kind: Kind,
    /// Its URLs, in order, at most [`Limits::links`].
    pub entries: Vec<Entry>,
    /// What is wrong with it as a whole.
    pub problems: Vec<Problem>,
}

/// A URL in a sitemap or feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The URL and where it stands. In a sitemap a relative one is an error.
    pub link: Link,
    /// When it was last changed, as it is written; RFC 3339 in sitemaps and Atom, RFC 822 in RSS.
    pub modified: Option<String>,
}

/// Reads a document of any kind, as it was fetched from `document`.
pub fn read(bytes: &[u8], content_type: Option<&str>, document: &Url, limits: &Limits) -> Sitemap {
    let start = bytes
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(bytes)
        .trim_ascii_start();
    // Markup starts with `<`, also in UTF-16; a URL does not.
    let is_markup = matches!(
        start,
        [b'<', ..] | [0xff, 0xfe, b'<', ..] | [0xfe, 0xff, _, b'<', ..]
    );
    let decoded = if is_markup {
        charset::decode_xml(bytes, content_type)
    } else {
        charset::decode_text(bytes, content_type)
    };
    let mut sitemap = if is_markup {
        parse_xml(&decoded.text, document, limits)
    } else {
        parse_text(&decoded.text, limits)
    };
    if decoded.had_errors {
        let encoding = decoded.charset.encoding.name().to_owned();
        sitemap.problems.push(Problem::Undecodable { encoding });
    }
    sitemap
}

/// Reads a sitemap in plain text: a URL a line.
pub fn parse_text(text: &str, limits: &Limits) -> Sitemap {
    let mut collector = Collector::new(text, Kind::Text, limits);
    let mut offset = 0;
    for line in text.split_inclusive(['\n', '\r']) {
        let url = text::trim(line);
        if !url.is_empty() {
            collector.add(LinkKind::SitemapPage, url, "", "", offset);
        }
        offset += line.len();
    }
    collector.finish(None)
}

/// Reads a sitemap, a sitemap index or a feed in XML.
pub fn parse_xml(xml: &str, document: &Url, limits: &Limits) -> Sitemap {
    let mut collector = Collector::new(xml, Kind::Unknown, limits);
    let mut reader = Reader::from_str(xml);
    // Mismatched end tags are told by our own stack, and are no reason to stop.
    reader.config_mut().check_end_names = false;
    reader.config_mut().allow_unmatched_ends = true;
    let mut start = 0;
    loop {
        let event = reader.read_event();
        let is_going_on = match event {
            Ok(Event::Eof) => break,
            Ok(Event::Start(tag)) => {
                let goes_on = collector.open(&tag, start);
                if !goes_on || collector.path.len() < DEPTH_LIMIT {
                    goes_on
                } else {
                    collector.too_deep(start);
                    false
                }
            }
            Ok(Event::Empty(tag)) => {
                let goes_on = collector.open(&tag, start);
                collector.close();
                goes_on
            }
            Ok(Event::End(_)) => {
                collector.close();
                true
            }
            Ok(Event::Text(text)) => {
                collector.push(&String::from_utf8_lossy(&text));
                true
            }
            Ok(Event::CData(data)) => {
                collector.push(&String::from_utf8_lossy(&data));
                true
            }
            Ok(Event::GeneralRef(reference)) => {
                match reference.resolve_char_ref() {
                    Ok(Some(c)) => collector.push(c.encode_utf8(&mut [0; 4])),
                    _ => {
                        let name = String::from_utf8_lossy(&reference).into_owned();
                        match resolve_predefined_entity(&name) {
                            Some(text) => collector.push(text),
                            None => collector.push(&format!("&{name};")),
                        }
                    }
                }
                true
            }
            Ok(Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_)) => true,
            Err(error) => {
                let place = usize::try_from(reader.error_position()).unwrap_or(usize::MAX);
                collector.malformed(place.max(start), error.to_string());
                false
            }
        };
        if !is_going_on {
            break;
        }
        start = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
    }
    if !collector.path.is_empty() && collector.problems.is_empty() {
        collector.malformed(xml.len(), "the document ends within an element".to_owned());
    }
    collector.finish(Some(document))
}

/// Gathers what a list has.
struct Collector<'a> {
    limits: &'a Limits,
    kind: Kind,
    cursor: Cursor<'a>,
    /// The elements that are open, the innermost last.
    path: Vec<Name>,
    /// The text of the innermost element, and where that starts.
    text: String,
    text_start: usize,
    /// Entries, each with its last change.
    drafts: Vec<(Draft, Option<String>)>,
    /// How many of them there were when the `<url>`, `<item>` or such that is open started.
    group: usize,
    /// The first date of that element.
    modified: Option<String>,
    problems: Vec<Problem>,
}

/// The elements that matter, by local name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    /// `<url>`, `<sitemap>`, `<item>`, `<entry>`.
    Group,
    Loc,
    Image,
    Video,
    /// `<content_loc>`, `<player_loc>`, `<thumbnail_loc>`.
    VideoLoc,
    /// `<lastmod>`, `<pubDate>`, `<updated>`, `<date>`.
    Modified,
    /// `<link>` of a feed, with the URL as its text.
    Link,
    /// `<guid>` that says it is a URL.
    Permalink,
    Other,
}

impl<'a> Collector<'a> {
    fn new(text: &'a str, kind: Kind, limits: &'a Limits) -> Self {
        Collector {
            limits,
            kind,
            cursor: Cursor::new(text),
            path: Vec::new(),
            text: String::new(),
            text_start: 0,
            drafts: Vec::new(),
            group: 0,
            modified: None,
            problems: Vec::new(),
        }
    }

    /// Enters an element; `false` if there is no use in going on.
    fn open(&mut self, tag: &BytesStart<'_>, start: usize) -> bool {
        let local = tag.local_name();
        let local = local.as_ref();
        self.text.clear();
        self.text_start = start;
        if self.path.is_empty() && self.kind == Kind::Unknown {
            self.kind = match local {
                b"urlset" => Kind::UrlSet,
                b"sitemapindex" => Kind::Index,
                b"rss" | b"RDF" => Kind::Rss,
                b"feed" => Kind::Atom,
                _ => {
                    let root = String::from_utf8_lossy(local);
                    let root = text::prefix(&root, 64).to_owned();
                    self.problems.push(Problem::UnknownRoot { root });
                    return false;
                }
            };
            self.path.push(Name::Other);
            return true;
        }
        let name = self.name(local, tag);
        if name == Name::Group {
            self.group = self.drafts.len();
            self.modified = None;
        }
        self.path.push(name);
        if matches!(local, b"link" | b"enclosure") {
            self.link_element(tag, local, start);
        }
        true
    }

    fn name(&self, local: &[u8], tag: &BytesStart<'_>) -> Name {
        match (self.kind, local) {
            (Kind::UrlSet, b"url") | (Kind::Index, b"sitemap") => Name::Group,
            (Kind::Rss, b"item") | (Kind::Atom, b"entry") => Name::Group,
            (Kind::UrlSet | Kind::Index, b"loc") => Name::Loc,
            (Kind::UrlSet | Kind::Index, b"lastmod") => Name::Modified,
            (Kind::UrlSet, b"image") => Name::Image,
            (Kind::UrlSet, b"video") => Name::Video,
            (Kind::UrlSet, b"content_loc" | b"player_loc" | b"thumbnail_loc") => Name::VideoLoc,
            (Kind::Rss, b"pubDate" | b"date") | (Kind::Atom, b"updated") => Name::Modified,
            (Kind::Rss, b"link") => Name::Link,
            (Kind::Rss, b"guid") => {
                // A permalink unless it says otherwise; only taken where the item has no link.
                match attribute(tag, b"isPermaLink").as_deref() {
                    Some("false") => Name::Other,
                    _ => Name::Permalink,
                }
            }
            _ => Name::Other,
        }
    }

    /// A link in attributes: Atom's `<link href>`, `<xhtml:link rel=alternate hreflang href>`, `<enclosure url>`.
    fn link_element(&mut self, tag: &BytesStart<'_>, local: &[u8], start: usize) {
        if local == b"enclosure" {
            if let (Kind::Rss, Some(url)) = (self.kind, attribute(tag, b"url")) {
                self.add(LinkKind::Media, &url, "enclosure", "url", start);
            }
            return;
        }
        let Some(href) = attribute(tag, b"href") else {
            return;
        };
        let rel = attribute(tag, b"rel");
        let is_alternate = rel
            .as_deref()
            .is_none_or(|rel| rel.eq_ignore_ascii_case("alternate"));
        let kind = match self.kind {
            Kind::UrlSet => LinkKind::Alternate,
            Kind::Atom | Kind::Rss if is_alternate => LinkKind::Feed,
            Kind::Atom | Kind::Rss => match rel.as_deref().and_then(relation_kind) {
                Some(kind) => kind,
                None => return,
            },
            _ => return,
        };
        let hreflang = attribute(tag, b"hreflang");
        if self.add(kind, &href, "link", "href", start)
            && let Some((draft, _)) = self.drafts.last_mut()
        {
            draft.link.hreflang = hreflang.map(|lang| text::prefix(&lang, 64).to_owned());
        }
    }

    fn push(&mut self, piece: &str) {
        let room = TEXT_LIMIT_BYTES.saturating_sub(self.text.len());
        self.text.push_str(text::prefix(piece, room));
    }

    /// Leaves an element.
    fn close(&mut self) {
        let Some(name) = self.path.pop() else { return };
        let text = std::mem::take(&mut self.text);
        let value = text::trim(&text);
        let start = self.text_start;
        match name {
            Name::Loc => {
                let (kind, element) = match (self.kind, self.path.last()) {
                    (_, Some(Name::Image)) => (LinkKind::SitemapImage, "image:loc"),
                    (Kind::Index, _) => (LinkKind::Sitemap, "loc"),
                    _ => (LinkKind::SitemapPage, "loc"),
                };
                self.add(kind, value, element, "", start);
            }
            Name::VideoLoc if self.path.last() == Some(&Name::Video) => {
                self.add(LinkKind::SitemapVideo, value, "video:loc", "", start);
            }
            Name::Link if !value.is_empty() => {
                self.add(LinkKind::Feed, value, "link", "", start);
            }
            // Some feeds have a name there without saying so.
            Name::Permalink
                if self.drafts.len() == self.group
                    && (value.starts_with("http:") || value.starts_with("https:")) =>
            {
                self.add(LinkKind::Feed, value, "guid", "", start);
            }
            Name::Modified if self.path.contains(&Name::Group) && self.modified.is_none() => {
                self.modified = Some(text::prefix(value, DATE_LIMIT_BYTES).to_owned());
            }
            Name::Group => {
                let modified = self.modified.take();
                for (draft, date) in &mut self.drafts[self.group..] {
                    let is_entry = matches!(
                        draft.link.kind,
                        LinkKind::SitemapPage | LinkKind::Sitemap | LinkKind::Feed
                    );
                    if is_entry {
                        date.clone_from(&modified);
                    }
                }
                self.group = self.drafts.len();
            }
            _ => {}
        }
        self.text = text;
        self.text.clear();
    }

    /// Adds a URL; `false` if there is no room.
    fn add(
        &mut self,
        kind: LinkKind,
        reference: &str,
        element: &'static str,
        attribute: &'static str,
        offset: usize,
    ) -> bool {
        if self.drafts.len() >= self.limits.links {
            let problem = Problem::TooManyLinks {
                limit: self.limits.links,
            };
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
            return false;
        }
        let mut draft = Draft::new(
            kind,
            reference,
            Cow::Borrowed(element),
            attribute,
            self.limits,
        );
        draft.link.ordinal = self.drafts.len() as u32;
        (draft.link.line, draft.link.column) = self.cursor.at(offset);
        self.drafts.push((draft, None));
        true
    }

    fn malformed(&mut self, offset: usize, reason: String) {
        let (line, _) = self.cursor.at(offset);
        let reason = text::prefix(&reason, 200).to_owned();
        self.problems.push(Problem::MalformedXml { line, reason });
    }

    fn too_deep(&mut self, offset: usize) {
        let (line, _) = self.cursor.at(offset);
        self.problems.push(Problem::ElementsTooDeep {
            line,
            limit: DEPTH_LIMIT,
        });
    }

    /// `document` is the base of a feed's URLs. Those of a sitemap must be complete, so that they have none.
    fn finish(self, document: Option<&Url>) -> Sitemap {
        let is_feed = matches!(self.kind, Kind::Rss | Kind::Atom);
        let base = document.filter(|_| is_feed);
        let entries = self.drafts.into_iter().map(|(draft, modified)| Entry {
            link: match base {
                Some(base) => draft.resolve(base, self.limits),
                None => draft.resolve_absolute(self.limits),
            },
            modified,
        });
        let mut problems = Problems::default();
        for problem in self.problems {
            problems.add(problem, self.limits);
        }
        Sitemap {
            kind: self.kind,
            entries: entries.collect(),
            problems: problems.into_vec(),
        }
    }
}

/// The value of an attribute, by its local name; of one that is malformed there is none.
fn attribute(tag: &BytesStart<'_>, name: &[u8]) -> Option<String> {
    let mut attributes = tag.attributes();
    let attributes = attributes.with_checks(false);
    for attribute in attributes.flatten() {
        if attribute.key.local_name().as_ref() == name {
            let raw = String::from_utf8_lossy(&attribute.value);
            let raw = text::prefix(&raw, TEXT_LIMIT_BYTES);
            let value = quick_xml::escape::unescape(raw);
            return Some(value.map_or_else(|_| raw.to_owned(), Cow::into_owned));
        }
    }
    None
}
