use super::tag::Tag;

/// How many elements of SVG and MathML are followed into one another; deeper ones are taken for their surroundings.
const DEPTH_LIMIT: usize = 64;

/// Whether the parser is in SVG or MathML, where other rules hold (HTML standard, section 13.2.6.5), as far as tags
/// alone tell.
#[derive(Default)]
pub struct Foreign {
    /// What is open: roots of foreign content, and places in it where HTML is allowed again.
    open: Vec<Open>,
    /// What the last start tag belongs to.
    tag: Space,
}

/// An open element, and what its contents are.
struct Open {
    name: Vec<u8>,
    contents: Space,
}

/// A namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Space {
    #[default]
    Html,
    Svg,
    Math,
}

impl Foreign {
    /// What text and tags that come now belong to.
    pub fn contents(&self) -> Space {
        self.open.last().map_or(Space::Html, |open| open.contents)
    }

    /// What the last start tag belongs to.
    pub fn tag(&self) -> Space {
        self.tag
    }

    /// Follows a start tag. Call it before the tag is looked at: some elements end foreign content.
    pub fn start(&mut self, tag: &Tag) {
        self.tag = Space::Html;
        let name = &*tag.name;
        if self.open.is_empty() && !matches!(name, b"svg" | b"math") {
            return;
        }
        if breaks_out(tag) {
            self.break_out();
        }
        let is_annotation = self
            .open
            .last()
            .is_some_and(|open| open.name == b"annotation-xml");
        self.tag = match (name, self.contents()) {
            (b"svg", Space::Html) => Space::Svg,
            (b"svg", Space::Math) if is_annotation => Space::Svg,
            (b"math", Space::Html) => Space::Math,
            (_, around) => around,
        };
        let contents = match (name, self.tag) {
            (b"foreignobject" | b"desc" | b"title", Space::Svg)
            | (b"mi" | b"mo" | b"mn" | b"ms" | b"mtext", Space::Math) => Space::Html,
            (b"annotation-xml", Space::Math) if is_html(tag) => Space::Html,
            (b"svg" | b"math", Space::Svg | Space::Math) | (b"annotation-xml", Space::Math) => {
                self.tag
            }
            // Any other element's contents are what it is.
            _ => return,
        };
        if !tag.is_self_closing && self.open.len() < DEPTH_LIMIT {
            self.open.push(Open {
                name: name.to_vec(),
                contents,
            });
        }
    }

    /// Goes back to where HTML is allowed.
    fn break_out(&mut self) {
        while self.contents() != Space::Html {
            self.open.pop();
        }
    }

    /// Follows an end tag.
    pub fn end(&mut self, name: &[u8]) {
        if matches!(name, b"p" | b"br") {
            // They make elements of HTML, although they are end tags.
            self.break_out();
        } else if let Some(at) = self.open.iter().rposition(|open| open.name == name) {
            self.open.truncate(at);
        }
    }
}

/// Whether an `annotation-xml` says that HTML is in it.
fn is_html(tag: &Tag) -> bool {
    let encoding = tag.get(b"encoding").unwrap_or_default();
    encoding.eq_ignore_ascii_case("text/html")
        || encoding.eq_ignore_ascii_case("application/xhtml+xml")
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
