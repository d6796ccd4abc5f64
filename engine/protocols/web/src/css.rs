//! The URLs in a style sheet, by the tokenizer of CSS Syntax Level 3, section 4, as far as URLs need it.
//!
//! Found are `url()`, quoted or not, `src()`, the strings of `@import` and those of `image-set()`. Not links, and
//! left out, are the names of `@namespace` and references to elements of the same document (`url(#gradient)`).

use crate::{
    Limits, Link, LinkKind, Problem,
    limits::Problems,
    link::Draft,
    text::{Cursor, is_space},
};
use std::borrow::Cow;
use url::Url;

/// A URL as it stands in a style sheet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CssUrl<'a> {
    /// The reference, escapes decoded.
    pub url: Cow<'a, str>,
    /// Whether it is another style sheet, from `@import`.
    pub is_import: bool,
    /// The byte at which its token starts.
    pub offset: usize,
}

/// The URLs of a style sheet, of the contents of a `<style>` or of a `style` attribute, in order.
///
/// An `@import` is found wherever it stands, although browsers ignore one behind other rules: its author meant it.
pub fn urls(css: &str) -> Urls<'_> {
    Urls {
        css,
        at: 0,
        depth: 0,
        image_set: None,
        rule: Rule::Other,
    }
}

/// The answer of [`urls`].
#[derive(Clone, Debug)]
pub struct Urls<'a> {
    css: &'a str,
    at: usize,
    /// Open parentheses.
    depth: usize,
    /// The depth inside an `image-set()`.
    image_set: Option<usize>,
    rule: Rule,
}

/// The at-rule whose prelude is being read, if it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Import,
    Namespace,
    Other,
}

/// What a style sheet by itself links to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StyleSheet {
    /// Its links, in order.
    pub links: Vec<Link>,
    /// What is wrong with it as a whole.
    pub problems: Vec<Problem>,
}

/// The links of a style sheet that was fetched from `document`.
pub fn parse(css: &str, document: &Url, limits: &Limits) -> StyleSheet {
    let mut sheet = StyleSheet::default();
    let mut problems = Problems::default();
    let mut cursor = Cursor::new(css);
    for found in urls(css) {
        if sheet.links.len() >= limits.links {
            problems.add(
                Problem::TooManyLinks {
                    limit: limits.links,
                },
                limits,
            );
            break;
        }
        let mut draft = draft(&found, Cow::Borrowed("style"), "", limits);
        draft.link.ordinal = sheet.links.len() as u32;
        (draft.link.line, draft.link.column) = cursor.at(found.offset);
        sheet.links.push(draft.resolve(document, limits));
    }
    sheet.problems = problems.into_vec();
    sheet
}

pub(crate) fn draft(
    found: &CssUrl<'_>,
    element: Cow<'static, str>,
    attribute: &'static str,
    limits: &Limits,
) -> Draft {
    let kind = if found.is_import {
        LinkKind::CssImport
    } else {
        LinkKind::Css
    };
    Draft::new(kind, &found.url, element, attribute, limits)
}

impl<'a> Iterator for Urls<'a> {
    type Item = CssUrl<'a>;

    fn next(&mut self) -> Option<CssUrl<'a>> {
        loop {
            let offset = self.at;
            let byte = *self.css.as_bytes().get(offset)?;
            let url = match byte {
                b'/' if self.rest().starts_with("/*") => {
                    let end = self.css[offset + 2..].find("*/");
                    self.at = end.map_or(self.css.len(), |end| offset + 2 + end + 2);
                    continue;
                }
                b'"' | b'\'' => {
                    let string = self.string();
                    let is_url = self.rule == Rule::Import || self.image_set == Some(self.depth);
                    string.filter(|_| is_url)
                }
                b'#' | b'0'..=b'9' => {
                    // A hash, or a number with its unit: what follows is no function's name.
                    self.at += 1;
                    while matches!(self.peek(), Some(b'0'..=b'9' | b'.')) {
                        self.at += 1;
                    }
                    self.name();
                    None
                }
                b'@' => {
                    self.at += 1;
                    let name = self.name();
                    self.rule = match &*name {
                        _ if name.eq_ignore_ascii_case("import") => Rule::Import,
                        _ if name.eq_ignore_ascii_case("namespace") => Rule::Namespace,
                        _ => Rule::Other,
                    };
                    None
                }
                b'(' => {
                    self.at += 1;
                    self.depth += 1;
                    None
                }
                b')' => {
                    self.at += 1;
                    self.close();
                    None
                }
                b';' | b'{' | b'}' => {
                    self.at += 1;
                    self.rule = Rule::Other;
                    self.image_set = None;
                    self.depth = 0;
                    None
                }
                b'\\' | b'-' | b'_' | b'a'..=b'z' | b'A'..=b'Z' | 0x80.. => self.name_or_function(),
                _ => {
                    self.at += 1;
                    None
                }
            };
            let Some(url) = url else { continue };
            let rule = self.rule;
            if rule == Rule::Import {
                self.rule = Rule::Other;
            }
            // `url(#x)` is an element of the same document, whatever its base.
            if rule != Rule::Namespace && !url.starts_with('#') {
                return Some(CssUrl {
                    url,
                    is_import: rule == Rule::Import,
                    offset,
                });
            }
        }
    }
}

impl<'a> Urls<'a> {
    fn rest(&self) -> &'a str {
        &self.css[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.css.as_bytes().get(self.at).copied()
    }

    fn close(&mut self) {
        if self.image_set == Some(self.depth) {
            self.image_set = None;
        }
        self.depth = self.depth.saturating_sub(1);
    }

    /// Reads a name, and the URL that it introduces, if it is `url(` or `src(`.
    fn name_or_function(&mut self) -> Option<Cow<'a, str>> {
        let start = self.at;
        let name = self.name();
        if self.at == start {
            // A backslash before the end of a line.
            self.at += 1;
            return None;
        }
        if self.peek() != Some(b'(') {
            return None;
        }
        self.at += 1;
        self.depth += 1;
        let is = |function: &str| name.eq_ignore_ascii_case(function);
        if is("url") || is("src") {
            self.skip_space();
            match self.peek() {
                Some(b'"' | b'\'') => self.string(),
                _ if is("url") => {
                    let url = self.unquoted();
                    self.depth = self.depth.saturating_sub(1);
                    url
                }
                _ => None,
            }
        } else {
            if is("image-set") || is("-webkit-image-set") {
                self.image_set = Some(self.depth);
            }
            None
        }
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
    }

    /// Consumes a name (section 4.3.11).
    fn name(&mut self) -> Cow<'a, str> {
        let start = self.at;
        let bytes = self.css.as_bytes();
        while bytes.get(self.at).copied().is_some_and(is_name) {
            self.at += 1;
        }
        if !self.starts_escape() {
            return Cow::Borrowed(&self.css[start..self.at]);
        }
        let mut name = self.css[start..self.at].to_owned();
        while let Some(byte) = self.peek() {
            if self.starts_escape() {
                self.at += 1;
                name.push(self.escape());
            } else if is_name(byte) {
                let end = self.css[self.at..].bytes().position(|byte| !is_name(byte));
                let end = end.map_or(self.css.len(), |end| self.at + end);
                name.push_str(&self.css[self.at..end]);
                self.at = end;
            } else {
                break;
            }
        }
        Cow::Owned(name)
    }

    /// Whether an escape that is valid starts here (section 4.3.8).
    fn starts_escape(&self) -> bool {
        match self.css.as_bytes()[self.at..] {
            [b'\\', next, ..] => !matches!(next, b'\n' | b'\r' | b'\x0c'),
            [b'\\'] => true,
            _ => false,
        }
    }

    /// Consumes an escape behind its backslash (section 4.3.7).
    fn escape(&mut self) -> char {
        let digits = self
            .rest()
            .bytes()
            .take(6)
            .take_while(u8::is_ascii_hexdigit)
            .count();
        if digits == 0 {
            let Some(c) = self.rest().chars().next() else {
                return char::REPLACEMENT_CHARACTER;
            };
            self.at += c.len_utf8();
            return c;
        }
        let code = u32::from_str_radix(&self.rest()[..digits], 16);
        self.at += digits;
        if self.rest().starts_with("\r\n") {
            self.at += 2;
        } else if self.peek().is_some_and(is_space) {
            self.at += 1;
        }
        let c = code.ok().filter(|code| *code != 0).and_then(char::from_u32);
        c.unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    /// Consumes a string (section 4.3.5); `None` for one that a line end breaks off.
    fn string(&mut self) -> Option<Cow<'a, str>> {
        let quote = self.peek()?;
        self.at += 1;
        let mut start = self.at;
        let mut decoded = None::<String>;
        loop {
            match self.peek() {
                // The end of the style sheet closes what is open.
                None => break,
                Some(byte) if byte == quote => break,
                Some(b'\n' | b'\r' | b'\x0c') => return None,
                Some(b'\\') => {
                    let decoded = decoded.get_or_insert_default();
                    decoded.push_str(&self.css[start..self.at]);
                    self.at += 1;
                    if self.rest().starts_with("\r\n") {
                        self.at += 2;
                    } else if matches!(self.peek(), Some(b'\n' | b'\r' | b'\x0c')) {
                        self.at += 1;
                    } else if self.peek().is_some() {
                        decoded.push(self.escape());
                    }
                    start = self.at;
                }
                Some(_) => self.at += 1,
            }
        }
        let last = &self.css[start..self.at];
        self.at = (self.at + 1).min(self.css.len());
        Some(match decoded {
            None => Cow::Borrowed(last),
            Some(mut decoded) => {
                decoded.push_str(last);
                Cow::Owned(decoded)
            }
        })
    }

    /// Consumes a URL without quotes, up to and with its parenthesis (section 4.3.6); `None` for a bad one.
    fn unquoted(&mut self) -> Option<Cow<'a, str>> {
        let mut start = self.at;
        let mut decoded = None::<String>;
        loop {
            match self.peek() {
                None | Some(b')') => break,
                Some(byte) if is_space(byte) => break,
                Some(b'"' | b'\'' | b'(' | 0..=8 | 0x0b | 0x0e..=0x1f | 0x7f) => {
                    return self.skip_bad_url();
                }
                Some(b'\\') if self.starts_escape() => {
                    let decoded = decoded.get_or_insert_default();
                    decoded.push_str(&self.css[start..self.at]);
                    self.at += 1;
                    decoded.push(self.escape());
                    start = self.at;
                }
                Some(b'\\') => return self.skip_bad_url(),
                Some(_) => self.at += 1,
            }
        }
        let last = &self.css[start..self.at];
        self.skip_space();
        match self.peek() {
            None => {}
            Some(b')') => self.at += 1,
            Some(_) => return self.skip_bad_url(),
        }
        Some(match decoded {
            None => Cow::Borrowed(last),
            Some(mut decoded) => {
                decoded.push_str(last);
                Cow::Owned(decoded)
            }
        })
    }

    /// Consumes the remnants of a bad URL (section 4.3.14).
    fn skip_bad_url(&mut self) -> Option<Cow<'a, str>> {
        while let Some(byte) = self.peek() {
            if self.starts_escape() {
                self.at += 1;
                self.escape();
                continue;
            }
            self.at += 1;
            if byte == b')' {
                break;
            }
        }
        None
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | 0x80..)
}

/// Whether a style attribute can contain a URL at all; most do not, and this is quick.
pub(crate) fn may_have_urls(css: &str) -> bool {
    // Everything that has one is a function.
    css.contains('(')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(css: &str, expected: &[&str]) {
        let found: Vec<String> = urls(css)
            .map(|url| format!("{}{}", if url.is_import { "@" } else { "" }, url.url))
            .collect();
        assert_eq!(found, expected, "{css:?}");
    }

    #[test]
    fn urls_are_found_quoted_or_not() {
        check("a{background:url(a.png)}", &["a.png"]);
        check(
            "a{background:URL( 'a b.png' ) , url(\t\"c\")}",
            &["a b.png", "c"],
        );
        check("a{b:url()}", &[""]);
        check("a{b:url(x", &["x"]);
        check("a{b:url('x", &["x"]);
        check("a{b:u\\72l(x) \\75 rl(y)}", &["x", "y"]);
        check("a{b:curl(x) url (y) #url(z) 1url(w) -url(v)}", &[]);
        check(
            "@font-face{src:local(x),url(f.woff2)format('woff2')}",
            &["f.woff2"],
        );
        check("a{filter:url(#f);mask:url(m.svg#f)}", &["m.svg#f"]);
        check("a{b:src('x') src(var(--y))}", &["x"]);
    }

    #[test]
    fn escapes_are_decoded() {
        check("a{b:url(a\\)b)}", &["a)b"]);
        check(
            "a{b:url(\\26 amp) url(\\000041B) url(\\0) url(\\110000)}",
            &["&amp", "AB", "\u{fffd}", "\u{fffd}"],
        );
        check("a{b:url('a\\\nb\\'c')}", &["ab'c"]);
        check("a{b:url(\\\u{e9}\u{e9})}", &["\u{e9}\u{e9}"]);
        check("a{b:url('x\\", &["x"]);
        check("a{b:url(x\\", &["x\u{fffd}"]);
    }

    #[test]
    fn what_is_no_url_is_skipped() {
        check("/* url(a) */ b{c:url(d)} /* url(e)", &["d"]);
        check("a{content:\"url(b)\"} c::after{content:'\\'url(d)'}", &[]);
        check("a{b:url(a b) url(c\"d) url(e(f) ;g:url(h)}", &["h"]);
        check("a{b:url('c\n);d:url(e)}", &["e"]);
        check(
            "@namespace svg url(http://www.w3.org/2000/svg);a{b:url(c)}",
            &["c"],
        );
        check("@namespace 'http://www.w3.org/2000/svg';", &[]);
        check("@charset 'utf-8';", &[]);
        check("a{b:url(a\\\nb) url(c)}", &["c"]);
        check("\\", &[]);
        check("\\\n", &[]);
    }

    #[test]
    fn imports_and_image_sets_take_strings() {
        check(
            "@import 'a.css' screen;@IMPORT url(b.css);@import \"c\"",
            &["@a.css", "@b.css", "@c"],
        );
        check("@im\\70ort 'x' supports(y: url(z))", &["@x", "z"]);
        check("@media print{a{content:'b'}}", &[]);
        check(
            "a{b:image-set('a' 1x, 'b' type('image/png') 2x, url(c) 3x), 'd'}",
            &["a", "b", "c"],
        );
        check("a{b:-webkit-image-set(\"a\" 1x);content:'b'}", &["a"]);
        check("a{b:image-set('a' 1x;content:'b'}", &["a"]);
    }

    #[test]
    fn a_style_sheet_is_a_document_of_its_own() {
        let document = Url::parse("https://h/css/a.css").unwrap();
        let css = "/*\n*/ @import '../b.css';\n  a{b:url(data:,x)}";
        let sheet = parse(css, &document, &Limits::default());
        let [import, data] = &*sheet.links else {
            panic!("{sheet:?}")
        };
        assert_eq!(
            import.target.as_ref().unwrap().url().unwrap().as_str(),
            "https://h/b.css"
        );
        assert_eq!(
            (import.kind, import.line, import.column),
            (LinkKind::CssImport, 2, 12)
        );
        assert_eq!(
            (data.kind, data.line, data.column, data.ordinal),
            (LinkKind::Css, 3, 7, 1)
        );
        let limits = Limits {
            links: 1,
            ..Limits::default()
        };
        let sheet = parse(css, &document, &limits);
        assert_eq!(sheet.problems, [Problem::TooManyLinks { limit: 1 }]);
        assert_eq!(sheet.links.len(), 1);
    }
}
