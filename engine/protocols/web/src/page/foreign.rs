use super::tag::Tag;

/// How deep SVG and MathML are followed into one another; deeper is taken for the same.
const DEPTH_LIMIT: usize = 64;

/// Whether the parser is in SVG or MathML, where other rules hold (HTML standard, section 13.2.6.5), as far as tags
/// alone tell.
#[derive(Default)]
pub struct Foreign {
    /// What is open: a root of foreign content, or a place in it where HTML is allowed again.
    open: Vec<Open>,
}

enum Open {
    Svg,
    Math,
    /// An integration point, by the name of its element.
    Html(Vec<u8>),
}

impl Foreign {
    pub fn is_foreign(&self) -> bool {
        matches!(self.open.last(), Some(Open::Svg | Open::Math))
    }

    /// Whether anything foreign is open, though HTML may be allowed in it again.
    pub fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    pub fn is_svg(&self) -> bool {
        matches!(self.open.last(), Some(Open::Svg))
    }

    /// Follows a start tag. Call it before the tag is looked at: some elements end foreign content.
    pub fn start(&mut self, tag: &Tag) {
        if self.open.is_empty() && !matches!(&*tag.name, b"svg" | b"math") {
            return;
        }
        if self.is_foreign() && breaks_out(tag) {
            while self.is_foreign() {
                self.open.pop();
            }
        }
        if tag.is_self_closing || self.open.len() >= DEPTH_LIMIT {
            return;
        }
        match (&*tag.name, self.open.last()) {
            (b"svg", _) => self.open.push(Open::Svg),
            (b"math", _) => self.open.push(Open::Math),
            (name @ (b"foreignobject" | b"desc" | b"title"), Some(Open::Svg))
            | (name @ (b"mi" | b"mo" | b"mn" | b"ms" | b"mtext"), Some(Open::Math)) => {
                self.open.push(Open::Html(name.to_vec()));
            }
            (name @ b"annotation-xml", Some(Open::Math)) => {
                let encoding = tag.get(b"encoding").unwrap_or_default();
                let is = |kind: &str| encoding.eq_ignore_ascii_case(kind);
                if is("text/html") || is("application/xhtml+xml") {
                    self.open.push(Open::Html(name.to_vec()));
                }
            }
            _ => {}
        }
    }

    /// Follows an end tag.
    pub fn end(&mut self, name: &[u8]) {
        let closes = |open: &Open| match open {
            Open::Svg => name == b"svg",
            Open::Math => name == b"math",
            Open::Html(point) => name == point,
        };
        if let Some(at) = self.open.iter().rposition(closes) {
            self.open.truncate(at);
        }
    }
}

/// Whether a start tag ends foreign content.
fn breaks_out(tag: &Tag) -> bool {
    match &*tag.name {
        b"b" | b"big" | b"blockquote" | b"body" | b"br" | b"center" | b"code" | b"dd" | b"div"
        | b"dl" | b"dt" | b"em" | b"embed" | b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6"
        | b"head" | b"hr" | b"i" | b"img" | b"li" | b"listing" | b"menu" | b"meta" | b"nobr"
        | b"ol" | b"p" | b"pre" | b"ruby" | b"s" | b"small" | b"span" | b"strong" | b"strike"
        | b"sub" | b"sup" | b"table" | b"tt" | b"u" | b"ul" | b"var" => true,
        b"font" => tag.has(b"color") || tag.has(b"face") || tag.has(b"size"),
        _ => false,
    }
}
