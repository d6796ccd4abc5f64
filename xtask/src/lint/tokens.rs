//! As much of Rust's grammar as the source scan needs: words and signs with their lines, comments and literals gone.

/// A word or a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// An identifier, a keyword, `::`, or a single other character. Literals are left out.
    pub text: &'a str,
    /// The line, from 1.
    pub line: usize,
}

/// Splits a source file. What does not compile may come out wrong, but never panics.
pub fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut scanner = Scanner {
        source,
        at: 0,
        line: 1,
        found: Vec::new(),
    };
    while scanner.step() {}
    scanner.found
}

struct Scanner<'a> {
    source: &'a str,
    at: usize,
    line: usize,
    found: Vec<Token<'a>>,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    /// Takes the next `length` bytes and counts their lines.
    fn take(&mut self, length: usize) -> &'a str {
        let taken = &self.rest()[..length];
        self.line += taken.matches('\n').count();
        self.at += length;
        taken
    }

    fn push(&mut self, length: usize) {
        let line = self.line;
        let text = self.take(length);
        self.found.push(Token { text, line });
    }

    fn step(&mut self) -> bool {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return false;
        };
        if rest.starts_with("//") {
            self.take(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.take(block_comment(rest));
        } else if let Some(length) = literal(rest) {
            self.take(length);
        } else if is_word(first) {
            self.push(rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
        } else if rest.starts_with("::") {
            self.push(2);
        } else if first.is_whitespace() {
            self.take(first.len_utf8());
        } else {
            self.push(first.len_utf8());
        }
        true
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// The length of a block comment, which may hold others.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of the string or character literal that `text` begins with, prefix included.
fn literal(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r", "b", "c"].iter().find(|p| {
        let quoted = text.strip_prefix(**p).is_some_and(|rest| {
            let raw = p.ends_with('r');
            rest.starts_with('"')
                || (raw && rest.trim_start_matches('#').starts_with('"'))
                || (**p == "b" && rest.starts_with('\''))
        });
        text.starts_with(**p) && quoted
    });
    let prefix = prefix.copied().unwrap_or("");
    let body = &text[prefix.len()..];
    let length = match (prefix.ends_with('r'), body.chars().next()?) {
        (true, _) => {
            let hashes = body.len() - body.trim_start_matches('#').len();
            let end = format!("\"{}", "#".repeat(hashes));
            let inside = &body[hashes + 1..];
            inside
                .find(&end)
                .map_or(body.len(), |i| hashes + 1 + i + end.len())
        }
        (false, '"') => quoted(body, '"'),
        (false, '\'') => character(body)?,
        _ => return None,
    };
    Some(prefix.len() + length)
}

/// The length of a literal between two `quote`s, with escapes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (i, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return i + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a character literal; `None` for a lifetime.
fn character(text: &str) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        return Some(quoted(text, '\''));
    }
    let (end, second) = chars.next()?;
    (second == '\'').then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<&str> {
        tokens(source).iter().map(|t| t.text).collect()
    }

    #[test]
    fn comments_and_literals_are_gone() {
        let source =
            "a // b\n/* c /* d */ e */ f::g \"h \\\" i\" r#\"j \" k\"# b'l' '\\'' 'm' br\"n\"";
        assert_eq!(texts(source), ["a", "f", "::", "g"]);
    }

    #[test]
    fn lifetimes_are_not_characters() {
        assert_eq!(
            texts("&'a str 'b' r#type"),
            ["&", "'", "a", "str", "r", "#", "type"]
        );
    }

    #[test]
    fn lines_are_counted_through_everything() {
        let found = tokens("/*\n\n*/ \"\n\" x");
        assert_eq!(found, [Token { text: "x", line: 4 }]);
    }

    #[test]
    fn what_is_cut_off_does_not_panic() {
        for source in ["\"abc", "'", "'\\", "r#\"x", "/* /*", "b", "r", "r#"] {
            tokens(source);
        }
    }
}
