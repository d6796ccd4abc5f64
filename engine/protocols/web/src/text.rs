//! Small things about texts that several modules need.

use std::borrow::Cow;

/// The value of a hexadecimal digit.
pub fn hex(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|digit| digit as u8)
}

/// The octet that a percent-escape at the start of `bytes` stands for.
pub fn escaped(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [b'%', high, low, ..] => Some(hex(*high)? << 4 | hex(*low)?),
        _ => None,
    }
}

/// Whether RFC 3986, section 2.3, calls it unreserved.
pub fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Adds the percent-escape of an octet.
pub fn push_escape(out: &mut String, byte: u8) {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    out.push('%');
    out.push(DIGITS[usize::from(byte >> 4)]);
    out.push(DIGITS[usize::from(byte & 15)]);
}

/// Percent-escapes in upper case, and none for unreserved characters (RFC 3986, sections 6.2.2.1 and 6.2.2.2).
pub fn normalise_escapes(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find('%') else {
        return Cow::Borrowed(text);
    };
    let mut out = String::with_capacity(text.len());
    out.push_str(&text[..first]);
    let mut rest = &text[first..];
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        match escaped(rest.as_bytes()) {
            Some(octet) => {
                if is_unreserved(octet) {
                    out.push(char::from(octet));
                } else {
                    push_escape(&mut out, octet);
                }
                rest = &rest[3..];
            }
            None => {
                out.push('%');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The longest prefix of at most `bytes` bytes that ends between characters.
pub fn prefix(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// The white space of HTML and CSS.
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\x0c' | b'\r' | b' ')
}

/// Strips the white space of HTML.
pub fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii() && is_space(c as u8))
}

/// Adds `piece` to `out`, each run of white space as one space and none at the start, until `out` has `limit`
/// characters; `chars` counts them. A space that ends `out` is for the caller to trim.
pub fn push_collapsed(out: &mut String, chars: &mut usize, piece: &str, limit: usize) {
    for c in piece.chars() {
        if *chars >= limit {
            return;
        }
        if c.is_whitespace() {
            if !out.is_empty() && !out.ends_with(' ') {
                out.push(' ');
                *chars += 1;
            }
        } else {
            out.push(c);
            *chars += 1;
        }
    }
}

/// Counts lines and columns along a text, forwards only, so that many places of one text are found in one pass.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    text: &'a str,
    offset: usize,
    line: u32,
    column: u32,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Self {
        Cursor {
            text,
            offset: 0,
            line: 1,
            column: 1,
        }
    }

    /// Line and column of a place at or behind the last one, from 1; columns count characters. `\n`, `\r\n` and a
    /// bare `\r` end lines.
    pub fn at(&mut self, offset: usize) -> (u32, u32) {
        let bytes = self.text.as_bytes();
        let end = offset.min(bytes.len());
        while self.offset < end {
            let byte = bytes[self.offset];
            self.offset += 1;
            match byte {
                b'\n' => self.break_line(),
                b'\r' if bytes.get(self.offset) != Some(&b'\n') => self.break_line(),
                // A byte that goes on with a character is no column of its own.
                0x80..=0xbf => {}
                _ => self.column = self.column.saturating_add(1),
            }
        }
        (self.line, self.column)
    }

    fn break_line(&mut self) {
        self.line = self.line.saturating_add(1);
        self.column = 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_characters() {
        let text = "a\u{e9}b\r\nc\rd\n\ne";
        let mut cursor = Cursor::new(text);
        assert_eq!(cursor.at(0), (1, 1));
        assert_eq!(cursor.at(text.find('b').unwrap()), (1, 3));
        assert_eq!(cursor.at(text.find('c').unwrap()), (2, 1));
        assert_eq!(cursor.at(text.find('d').unwrap()), (3, 1));
        assert_eq!(cursor.at(text.find('e').unwrap()), (5, 1));
        assert_eq!(cursor.at(usize::MAX), (5, 2));
    }

    #[test]
    fn white_space_collapses_within_a_limit() {
        let (mut out, mut chars) = (String::new(), 0);
        for piece in ["  a", " \n", "\tb", "c  d"] {
            push_collapsed(&mut out, &mut chars, piece, 6);
        }
        assert_eq!(out, "a bc d");
        push_collapsed(&mut out, &mut chars, "x", 6);
        assert_eq!(out, "a bc d");
    }
}
