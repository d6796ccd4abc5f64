use super::{
    Base, Place, Sink,
    foreign::{Foreign, Space},
    tag::Tag,
};
use crate::{
    LinkKind, Problem, charset, css,
    link::Draft,
    text::{self, Cursor},
};
use html5gum::{Emitter, Error, State, Tokenizer};
use std::{borrow::Cow, convert::Infallible};

/// How much text is gathered before it is passed on.
const TEXT_BYTES: usize = 16 << 10;

/// Goes through one document and puts what it finds into the [`Sink`].
pub struct Collector<'s, 'l, 't> {
    pub(super) sink: &'s mut Sink<'l>,
    /// This document's number: that of its base.
    pub(super) document: u32,
    /// How many documents are around it.
    pub(super) depth: usize,
    /// For a nested document, the place of the tag that holds it.
    outer: Option<Place>,
    cursor: Cursor<'t>,
    /// The byte behind what was read.
    position: usize,
    /// The byte at which the current tag starts.
    tag_start: usize,
    tag: Tag,
    /// The last start tag that led to raw text, which its end tag must match.
    raw_tag: Vec<u8>,
    foreign: Foreign,
    /// Open templates, whose contents are inert.
    templates: usize,
    /// What becomes of the text that is being read.
    capture: Capture,
    text: Vec<u8>,
    /// Where the element whose text is captured starts.
    capture_place: Place,
    /// The link whose text is being read.
    pub(super) anchor: Option<usize>,
    /// The form that is open is not sent with GET.
    pub(super) is_form_post: bool,
}

/// The document around a nested one.
pub struct Outer {
    pub document: u32,
    pub depth: usize,
    pub place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Capture {
    /// Text that a reader sees.
    Visible,
    Title,
    Style,
    /// Scripts, the contents of a text area and the like.
    Nothing,
}

impl<'s, 'l, 't> Collector<'s, 'l, 't> {
    /// Reads one document.
    pub fn run(html: &'t str, outer: Option<Outer>, sink: &'s mut Sink<'l>) {
        let document = sink.bases.len() as u32;
        sink.bases.push(Base {
            parent: outer.as_ref().map(|outer| outer.document),
            href: None,
        });
        let collector = Collector {
            sink,
            document,
            depth: outer.as_ref().map_or(0, |outer| outer.depth + 1),
            outer: outer.map(|outer| outer.place),
            cursor: Cursor::new(html),
            position: 0,
            tag_start: 0,
            tag: Tag::default(),
            raw_tag: Vec::new(),
            foreign: Foreign::default(),
            templates: 0,
            capture: Capture::Visible,
            text: Vec::new(),
            capture_place: (1, 1),
            anchor: None,
            is_form_post: false,
        };
        let Ok(()) = Tokenizer::new_with_emitter(html, collector).finish();
    }

    /// Whether the document is the page itself.
    pub fn is_outermost(&self) -> bool {
        self.depth == 0
    }

    /// Where the current tag stands.
    pub fn place(&mut self) -> Place {
        match self.outer {
            Some(place) => place,
            None => self.cursor.at(self.tag_start),
        }
    }

    /// Whether the current tag is of HTML, SVG or MathML.
    pub fn space(&self) -> Space {
        self.foreign.tag()
    }

    /// Whether the current tag ends among the first bytes of the document, those that are searched for its encoding.
    pub fn is_early(&self) -> bool {
        self.position <= charset::PRESCAN_BYTES
    }

    /// Adds a link of the current tag.
    pub fn add(
        &mut self,
        kind: LinkKind,
        reference: &str,
        tag: &Tag,
        attribute: &'static str,
    ) -> Option<&mut Draft> {
        let place = self.place();
        let draft = Draft::new(
            kind,
            reference,
            element(&tag.name),
            attribute,
            self.sink.limits,
        );
        let at = self.sink.add(self.document, place, draft)?;
        Some(&mut self.sink.drafts[at].1)
    }

    /// Adds the URLs of a style attribute.
    pub fn add_style(&mut self, style: &str, tag: &Tag) {
        if css::may_have_urls(style) {
            let place = self.place();
            self.add_css(style, place, element(&tag.name), "style");
        }
    }

    fn add_css(
        &mut self,
        style: &str,
        place: Place,
        element: Cow<'static, str>,
        attribute: &'static str,
    ) {
        for found in css::urls(style) {
            let draft = css::draft(&found, element.clone(), attribute, self.sink.limits);
            if self.sink.add(self.document, place, draft).is_none() {
                break;
            }
        }
    }

    /// Reads a document that an attribute of the current tag holds.
    pub fn nest(&mut self, html: &str) {
        let place = self.place();
        if self.depth >= self.sink.limits.nesting {
            let limit = self.sink.limits.nesting;
            self.sink.problem(Problem::TooDeep {
                line: place.0,
                limit,
            });
            return;
        }
        let outer = Outer {
            document: self.document,
            depth: self.depth,
            place,
        };
        Collector::run(html, Some(outer), self.sink);
    }

    /// Adds to the text of the link that is open.
    pub fn push_anchor_text(&mut self, piece: &str) {
        if let Some(at) = self.anchor
            && let Some((_, draft)) = self.sink.drafts.get_mut(at)
        {
            draft.push_text(piece, self.sink.limits);
        }
    }

    /// Opens the link that was added last: text from here on is its.
    pub fn open_anchor(&mut self) {
        self.anchor = self.sink.drafts.len().checked_sub(1);
    }

    fn start_tag(&mut self, tag: &Tag) -> Option<State> {
        self.foreign.start(tag);
        if tag.is_cut {
            let (line, _) = self.place();
            let limit = self.sink.limits.attribute_bytes;
            self.sink.problem(Problem::AttributeTooLong { line, limit });
        }
        if tag.has_more {
            let (line, _) = self.place();
            let limit = self.sink.limits.attributes;
            self.sink
                .problem(Problem::TooManyAttributes { line, limit });
        }
        let is_inert = self.templates > 0;
        if !is_inert {
            self.element(tag);
        }
        if &*tag.name == b"template" && self.space() == Space::Html {
            // A declarative shadow root is shown; a template in it is one of its own.
            if is_inert || !tag.has(b"shadowrootmode") {
                self.templates += 1;
            }
        }
        let (state, capture) = self.raw_text(tag, is_inert)?;
        self.capture = capture;
        self.sink.has_title |= capture == Capture::Title;
        self.capture_place = match capture {
            Capture::Style => self.place(),
            _ => (0, 0),
        };
        self.raw_tag.clear();
        self.raw_tag.extend_from_slice(&tag.name);
        state
    }

    /// How the text behind a start tag is read, if not as usual.
    fn raw_text(&self, tag: &Tag, is_inert: bool) -> Option<(Option<State>, Capture)> {
        let unless_inert = |capture| if is_inert { Capture::Nothing } else { capture };
        let name = &*tag.name;
        if self.space() != Space::Html {
            // Markup to the tokenizer, but no text that anybody reads.
            return match name {
                _ if tag.is_self_closing => None,
                b"style" => Some((None, unless_inert(self.style_capture(tag)))),
                b"script" => Some((None, Capture::Nothing)),
                _ => None,
            };
        }
        Some(match name {
            b"title" => {
                let is_first = self.is_outermost() && !self.sink.has_title;
                let capture = if is_first {
                    Capture::Title
                } else {
                    Capture::Nothing
                };
                (Some(State::RcData), unless_inert(capture))
            }
            b"textarea" => (Some(State::RcData), Capture::Nothing),
            b"style" => (Some(State::RawText), unless_inert(self.style_capture(tag))),
            b"xmp" | b"iframe" | b"noembed" | b"noframes" => {
                (Some(State::RawText), Capture::Nothing)
            }
            b"script" => (Some(State::ScriptData), Capture::Nothing),
            b"plaintext" => (Some(State::PlainText), unless_inert(Capture::Visible)),
            _ => return None,
        })
    }

    /// A `<style>` of another type than CSS is data.
    fn style_capture(&self, tag: &Tag) -> Capture {
        let is_css = tag
            .get(b"type")
            .is_none_or(|kind| kind.is_empty() || kind.eq_ignore_ascii_case("text/css"));
        if is_css {
            Capture::Style
        } else {
            Capture::Nothing
        }
    }

    fn end_tag(&mut self, tag: &Tag) {
        self.foreign.end(&tag.name);
        if self.capture != Capture::Visible && tag.name == self.raw_tag {
            self.capture = Capture::Visible;
        }
        match &*tag.name {
            b"a" => self.anchor = None,
            b"form" => self.is_form_post = false,
            b"template" => self.templates = self.templates.saturating_sub(1),
            _ => {}
        }
    }

    /// Passes on the text that was gathered.
    fn flush_text(&mut self) {
        if self.text.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut self.text);
        let piece = String::from_utf8_lossy(&bytes);
        match self.capture {
            Capture::Visible => {
                self.push_anchor_text(&piece);
                if let Some(shingles) = &mut self.sink.shingles {
                    shingles.push(&piece);
                }
            }
            Capture::Title => {
                text::push_collapsed(
                    &mut self.sink.title,
                    &mut self.sink.title_chars,
                    &piece,
                    self.sink.limits.title_chars,
                );
            }
            Capture::Style => {
                let place = self.capture_place;
                self.add_css(&piece, place, Cow::Borrowed("style"), "");
            }
            Capture::Nothing => {}
        }
        self.text = bytes;
        self.text.clear();
    }

    fn push_text(&mut self, piece: &[u8]) {
        match self.capture {
            Capture::Visible if self.anchor.is_none() && self.sink.shingles.is_none() => return,
            Capture::Visible if self.templates > 0 => return,
            Capture::Visible | Capture::Title => {
                // Pieces may end within a character: pass on up to the last line or word.
                if self.text.len() > TEXT_BYTES && piece.first().is_some_and(u8::is_ascii) {
                    self.flush_text();
                }
            }
            Capture::Style => {
                let limit = self.sink.limits.style_bytes;
                if self.text.len() + piece.len() > limit {
                    let line = self.capture_place.0;
                    self.sink
                        .problems
                        .add_once(Problem::StyleTooLong { line, limit }, self.sink.limits);
                    return;
                }
            }
            Capture::Nothing => return,
        }
        self.text.extend_from_slice(piece);
    }
}

/// An element's name, without an allocation for those that usually have links.
fn element(name: &[u8]) -> Cow<'static, str> {
    const KNOWN: [&str; 16] = [
        "a", "img", "link", "script", "source", "iframe", "form", "meta", "div", "area", "video",
        "input", "button", "use", "span", "section",
    ];
    match KNOWN.iter().find(|known| known.as_bytes() == name) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(text::prefix(&String::from_utf8_lossy(name), 64).to_owned()),
    }
}

impl Emitter for Collector<'_, '_, '_> {
    type Token = Infallible;

    fn set_last_start_tag(&mut self, last_start_tag: Option<&[u8]>) {
        self.raw_tag.clear();
        self.raw_tag
            .extend_from_slice(last_start_tag.unwrap_or_default());
    }

    fn emit_eof(&mut self) {
        self.flush_text();
    }

    #[inline]
    fn emit_error(&mut self, _: Error) {}

    #[inline]
    fn should_emit_errors(&mut self) -> bool {
        false
    }

    #[inline]
    fn pop_token(&mut self) -> Option<Infallible> {
        None
    }

    #[inline]
    fn emit_string(&mut self, piece: &[u8]) {
        self.push_text(piece);
    }

    #[inline]
    fn init_start_tag(&mut self) {
        self.tag.begin(false);
    }

    #[inline]
    fn init_end_tag(&mut self) {
        self.tag.begin(true);
    }

    #[inline]
    fn init_comment(&mut self) {}

    fn emit_current_tag(&mut self) -> Option<State> {
        self.flush_text();
        // Handed back below, with its buffers.
        let tag = std::mem::take(&mut self.tag);
        let state = if tag.is_end {
            self.end_tag(&tag);
            None
        } else {
            self.start_tag(&tag)
        };
        self.tag = tag;
        state
    }

    #[inline]
    fn emit_current_comment(&mut self) {}

    #[inline]
    fn emit_current_doctype(&mut self) {}

    #[inline]
    fn set_self_closing(&mut self) {
        self.tag.is_self_closing = true;
    }

    #[inline]
    fn set_force_quirks(&mut self) {}

    #[inline]
    fn push_tag_name(&mut self, piece: &[u8]) {
        self.tag.name.extend_from_slice(piece);
    }

    #[inline]
    fn push_comment(&mut self, _: &[u8]) {}

    #[inline]
    fn push_doctype_name(&mut self, _: &[u8]) {}

    #[inline]
    fn init_doctype(&mut self) {}

    #[inline]
    fn init_attribute(&mut self) {
        self.tag.begin_attribute(self.sink.limits.attributes);
    }

    #[inline]
    fn push_attribute_name(&mut self, piece: &[u8]) {
        self.tag.push_name(piece, self.sink.limits.attribute_bytes);
    }

    #[inline]
    fn push_attribute_value(&mut self, piece: &[u8]) {
        self.tag.push_value(piece, self.sink.limits.attribute_bytes);
    }

    #[inline]
    fn set_doctype_public_identifier(&mut self, _: &[u8]) {}

    #[inline]
    fn set_doctype_system_identifier(&mut self, _: &[u8]) {}

    #[inline]
    fn push_doctype_public_identifier(&mut self, _: &[u8]) {}

    #[inline]
    fn push_doctype_system_identifier(&mut self, _: &[u8]) {}

    #[inline]
    fn start_open_tag(&mut self) {
        self.tag_start = self.position - 1;
    }

    #[inline]
    fn current_is_appropriate_end_tag_token(&mut self) -> bool {
        self.tag.is_end && self.tag.name == self.raw_tag
    }

    fn adjusted_current_node_present_but_not_in_html_namespace(&mut self) -> bool {
        self.foreign.contents() != Space::Html
    }

    #[inline]
    fn move_position(&mut self, offset: isize) {
        self.position = self.position.wrapping_add_signed(offset);
    }
}
