//! Which encoding a document is in: the sniffing algorithm of the HTML standard (section 13.2.3.2) as far as it
//! needs no frequency analysis.

use crate::text::is_space;
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, X_USER_DEFINED};
use std::borrow::Cow;

/// How many bytes are searched for a `<meta charset>` (HTML standard, section 13.2.3.2).
pub const PRESCAN_BYTES: usize = 1024;

/// What said which encoding it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A byte order mark.
    ByteOrderMark,
    /// The `charset` of the header `Content-Type`.
    Header,
    /// A `<meta charset>` among the first [`PRESCAN_BYTES`], or an XML declaration.
    Document,
    /// Nobody: UTF-8 if it can be, or else windows-1252.
    Guess,
}

/// The encoding of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charset {
    /// The encoding.
    pub encoding: &'static Encoding,
    /// What said so.
    pub source: Source,
}

/// A document's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// The text without its byte order mark.
    pub text: Cow<'a, str>,
    /// The encoding it was in.
    pub charset: Charset,
    /// There were bytes that do not exist in it; each became U+FFFD.
    pub had_errors: bool,
}

/// Decodes an HTML document, given its `Content-Type`, if it had one.
pub fn decode_html<'a>(bytes: &'a [u8], content_type: Option<&str>) -> Decoded<'a> {
    decode(bytes, content_type, prescan)
}

/// Decodes an XML document; its declaration stands for the `<meta>`, and without one it is UTF-8.
pub fn decode_xml<'a>(bytes: &'a [u8], content_type: Option<&str>) -> Decoded<'a> {
    decode(bytes, content_type, |bytes| {
        Some(xml_declaration(bytes).unwrap_or(UTF_8))
    })
}

/// Decodes a style sheet: its `@charset` stands for the `<meta>` (CSS Syntax, section 3.2), and without one it is
/// UTF-8.
pub fn decode_css<'a>(bytes: &'a [u8], content_type: Option<&str>) -> Decoded<'a> {
    decode(bytes, content_type, |bytes| {
        Some(css_charset(bytes).unwrap_or(UTF_8))
    })
}

/// Decodes plain text.
pub fn decode_text<'a>(bytes: &'a [u8], content_type: Option<&str>) -> Decoded<'a> {
    decode(bytes, content_type, |_| None)
}

fn decode<'a>(
    bytes: &'a [u8],
    content_type: Option<&str>,
    declared: impl FnOnce(&[u8]) -> Option<&'static Encoding>,
) -> Decoded<'a> {
    let header = || {
        content_type
            .and_then(charset_of)
            .map(|e| (e, Source::Header))
    };
    let charset = Encoding::for_bom(bytes)
        .map(|(encoding, _)| (encoding, Source::ByteOrderMark))
        .or_else(header)
        .or_else(|| declared(bytes).map(|encoding| (encoding, Source::Document)))
        .unwrap_or_else(|| (guess(bytes), Source::Guess));
    let (encoding, source) = charset;
    let (text, had_errors) = encoding.decode_with_bom_removal(bytes);
    Decoded {
        text,
        charset: Charset { encoding, source },
        had_errors,
    }
}

/// The encoding that the `charset` parameter of a `Content-Type` names (WHATWG MIME sniffing, section 4.4, as far
/// as this parameter goes); `None` if there is none or nobody knows it.
pub fn charset_of(content_type: &str) -> Option<&'static Encoding> {
    crate::header::parameter(content_type, "charset")
        .and_then(|label| Encoding::for_label(label.as_bytes()))
}

/// UTF-8 if the bytes can be that. A document that was cut may end within a character.
fn guess(bytes: &[u8]) -> &'static Encoding {
    match std::str::from_utf8(bytes) {
        Ok(_) => UTF_8,
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => UTF_8,
        Err(_) => WINDOWS_1252,
    }
}

/// The encoding that a document declares in a `<meta>` near its start: "prescan a byte stream to determine its
/// encoding" of the HTML standard.
pub fn prescan(bytes: &[u8]) -> Option<&'static Encoding> {
    let bytes = &bytes[..bytes.len().min(PRESCAN_BYTES)];
    let mut rest = bytes;
    while !rest.is_empty() {
        if let Some(comment) = rest.strip_prefix(b"<!--") {
            // The two dashes of `<!-->` are those of its end as well.
            let end = rest[2..].windows(3).position(|three| three == b"-->");
            rest = end.map_or(&[][..], |at| &comment[(at + 1).min(comment.len())..]);
        } else if is_meta(rest) {
            let (found, behind) = meta(&rest[5..]);
            if found.is_some() {
                return found;
            }
            rest = behind;
        } else if is_tag(rest) {
            let name = rest.iter().position(|b| is_space(*b) || *b == b'>');
            let mut attributes = Attributes {
                rest: name.map_or(&[], |at| &rest[at..]),
            };
            while attributes.next().is_some() {}
            rest = attributes.rest;
        } else if matches!(rest, [b'<', b'!' | b'/' | b'?', ..]) {
            let end = rest.iter().position(|byte| *byte == b'>');
            rest = end.map_or(&[], |at| &rest[at..]);
        } else {
            rest = &rest[1..];
        }
    }
    None
}

fn is_meta(rest: &[u8]) -> bool {
    rest.get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"<meta"))
        && rest
            .get(5)
            .is_some_and(|byte| is_space(*byte) || *byte == b'/')
}

fn is_tag(rest: &[u8]) -> bool {
    match rest {
        [b'<', b'/', letter, ..] | [b'<', letter, ..] => letter.is_ascii_alphabetic(),
        _ => false,
    }
}

/// What a `<meta>` declares, and what is behind it.
fn meta(rest: &[u8]) -> (Option<&'static Encoding>, &[u8]) {
    let mut attributes = Attributes { rest };
    let (mut has_pragma, mut charset, mut is_from_content) = (false, None, false);
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for (name, value) in attributes.by_ref() {
        if seen.contains(&name) {
            continue;
        }
        match &*name {
            b"http-equiv" => has_pragma |= value == b"content-type",
            b"content" if charset.is_none() => {
                charset = content_charset(&value);
                is_from_content = charset.is_some();
            }
            b"charset" => {
                charset = Encoding::for_label(&value);
                is_from_content = false;
            }
            _ => {}
        }
        seen.push(name);
    }
    let charset = charset.filter(|_| has_pragma || !is_from_content);
    (charset.map(as_declared), attributes.rest)
}

/// What it means that a document that could be read so far says this of itself.
fn as_declared(encoding: &'static Encoding) -> &'static Encoding {
    if encoding == UTF_16BE || encoding == UTF_16LE {
        UTF_8
    } else if encoding == X_USER_DEFINED {
        WINDOWS_1252
    } else {
        encoding
    }
}

/// "Extracting a character encoding from a meta element" of the HTML standard; `content` is in lower case.
fn content_charset(content: &[u8]) -> Option<&'static Encoding> {
    let mut rest = content;
    loop {
        let at = rest.windows(7).position(|seven| seven == b"charset")?;
        rest = rest[at + 7..].trim_ascii_start();
        if let Some(value) = rest.strip_prefix(b"=") {
            let value = value.trim_ascii_start();
            let label = match value.first()? {
                quote @ (b'"' | b'\'') => {
                    let value = &value[1..];
                    &value[..value.iter().position(|byte| byte == quote)?]
                }
                _ => {
                    let end = value.iter().position(|b| is_space(*b) || *b == b';');
                    &value[..end.unwrap_or(value.len())]
                }
            };
            return Encoding::for_label(label);
        }
    }
}

/// "Get an attribute" of the prescan, as an iterator over names and values in lower case.
struct Attributes<'a> {
    rest: &'a [u8],
}

impl Iterator for Attributes<'_> {
    type Item = (Vec<u8>, Vec<u8>);

    fn next(&mut self) -> Option<Self::Item> {
        self.skip(|byte| is_space(byte) || byte == b'/');
        if matches!(self.rest.first()?, b'>') {
            return None;
        }
        // The first character belongs to the name, even if it is `=`.
        let end = self.rest.iter().enumerate().position(|(at, byte)| {
            is_space(*byte) || matches!(byte, b'/' | b'>') || *byte == b'=' && at > 0
        });
        let name = self.take(end);
        self.skip(is_space);
        if self.rest.first() != Some(&b'=') {
            return Some((name, Vec::new()));
        }
        self.rest = &self.rest[1..];
        self.skip(is_space);
        let value = match self.rest.first() {
            Some(&quote @ (b'"' | b'\'')) => {
                self.rest = &self.rest[1..];
                let end = self.rest.iter().position(|byte| *byte == quote);
                let value = self.take(end);
                self.rest = self.rest.get(1..).unwrap_or_default();
                value
            }
            _ => {
                let end = self.rest.iter().position(|b| is_space(*b) || *b == b'>');
                self.take(end)
            }
        };
        Some((name, value))
    }
}

impl Attributes<'_> {
    fn skip(&mut self, what: impl Fn(u8) -> bool) {
        let end = self.rest.iter().position(|byte| !what(*byte));
        self.rest = end.map_or(&[], |at| &self.rest[at..]);
    }

    fn take(&mut self, end: Option<usize>) -> Vec<u8> {
        let (taken, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        taken.to_ascii_lowercase()
    }
}

/// The `encoding` of an XML declaration.
fn xml_declaration(bytes: &[u8]) -> Option<&'static Encoding> {
    let start = &bytes[..bytes.len().min(PRESCAN_BYTES)];
    let declaration = start.strip_prefix(b"<?xml")?;
    let declaration = &declaration[..declaration.windows(2).position(|two| two == b"?>")?];
    let at = declaration
        .windows(8)
        .position(|eight| eight == b"encoding")?;
    let rest = declaration[at + 8..]
        .trim_ascii_start()
        .strip_prefix(b"=")?;
    let (quote, rest) = rest.trim_ascii_start().split_first()?;
    let end = rest.iter().position(|byte| byte == quote)?;
    Encoding::for_label(&rest[..end]).map(as_declared)
}

/// The encoding of a style sheet's `@charset`.
fn css_charset(bytes: &[u8]) -> Option<&'static Encoding> {
    let rest = bytes.strip_prefix(b"@charset \"")?;
    let rest = &rest[..rest.len().min(PRESCAN_BYTES)];
    let end = rest.windows(2).position(|two| two == b"\";")?;
    Encoding::for_label(&rest[..end]).map(as_declared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], content_type: Option<&str>, name: &str, source: Source, text: &str) {
        let decoded = decode_html(bytes, content_type);
        assert_eq!(decoded.charset.encoding.name(), name);
        assert_eq!(decoded.charset.source, source);
        assert_eq!(decoded.text, text);
    }

    #[test]
    fn the_first_who_knows_decides() {
        check(
            b"\xef\xbb\xbf\xc3\xa9",
            Some("text/html; charset=latin1"),
            "UTF-8",
            Source::ByteOrderMark,
            "\u{e9}",
        );
        check(b"\xff\xfea\0", None, "UTF-16LE", Source::ByteOrderMark, "a");
        check(
            b"\xe9",
            Some("text/html; Charset=\"ISO-8859-1\""),
            "windows-1252",
            Source::Header,
            "\u{e9}",
        );
        check(
            b"<meta charset=utf-8>\xe9",
            Some("text/html;charset=latin1"),
            "windows-1252",
            Source::Header,
            "<meta charset=utf-8>\u{e9}",
        );
        check(
            b"\xc3\xa9",
            Some("text/html; charset=klingon"),
            "UTF-8",
            Source::Guess,
            "\u{e9}",
        );
        check(b"\xe9x", None, "windows-1252", Source::Guess, "\u{e9}x");
        check(b"ab\xc3", None, "UTF-8", Source::Guess, "ab\u{fffd}");
        check(b"", None, "UTF-8", Source::Guess, "");
    }

    #[track_caller]
    fn check_prescan(html: &str, expected: Option<&str>) {
        let found = prescan(html.as_bytes()).map(Encoding::name);
        assert_eq!(found, expected, "{html}");
    }

    #[test]
    fn a_meta_declares() {
        check_prescan("<meta charset=koi8-r>", Some("KOI8-R"));
        check_prescan(
            "<!doctype html><html lang='>'><head><META CHARSET = 'Shift_JIS' >",
            Some("Shift_JIS"),
        );
        check_prescan("<meta name=a charset=\"utf-16\">", Some("UTF-8"));
        check_prescan("<meta charset=x-user-defined>", Some("windows-1252"));
        let pragma = "<meta http-equiv=Content-Type content='text/html; charset=gbk'>";
        check_prescan(pragma, Some("GBK"));
        check_prescan("<meta content='text/html; charset=gbk'>", None);
        check_prescan(
            "<meta http-equiv=content-type content='charset charset=\"euc-kr\"'>",
            Some("EUC-KR"),
        );
        check_prescan(
            "<!-- <meta charset=gbk> --><meta charset=big5>",
            Some("Big5"),
        );
        check_prescan("<!--><meta charset=big5>", Some("Big5"));
        check_prescan(
            "<p title='<meta charset=gbk>'><meta charset=big5>",
            Some("Big5"),
        );
        check_prescan("<metadata charset=gbk><meta charset=big5>", Some("Big5"));
        check_prescan("<meta charset=nonsense><meta charset=big5>", Some("Big5"));
        check_prescan("<meta", None);
        check_prescan("<meta charset", None);
        check_prescan(
            &format!("{}<meta charset=big5>", " ".repeat(PRESCAN_BYTES)),
            None,
        );
    }

    #[test]
    fn other_documents_declare_in_their_way() {
        let xml = b"<?xml version=\"1.0\" encoding='iso-8859-1'?><a>\xe9</a>";
        assert!(decode_xml(xml, None).text.contains('\u{e9}'));
        assert_eq!(decode_xml(b"<a>\xe9</a>", None).text, "<a>\u{fffd}</a>");
        assert!(
            decode_css(b"@charset \"latin1\";\xe9", None)
                .text
                .contains('\u{e9}')
        );
        assert!(decode_css(b"\xe9", None).had_errors);
    }
}
