use crate::text::{escaped, is_unreserved, push_escape};

/// A rule's path, ready to be compared: normalised, split at its wildcards.
#[derive(Clone)]
pub struct Pattern {
    /// What stands between the wildcards; the first starts the path.
    pieces: Vec<Box<str>>,
    /// It ends in `$`: the last piece ends the path.
    is_anchored: bool,
    octets: usize,
}

impl Pattern {
    /// A rule's value; `None` for one that matches nothing: an empty one, and one that starts with neither `/`
    /// nor `*` and so begins no path.
    pub fn new(value: &[u8]) -> Option<Pattern> {
        let (value, is_anchored) = match value {
            [rest @ .., b'$'] => (rest, true),
            _ => (value, false),
        };
        if !matches!(value.first(), Some(b'/' | b'*')) {
            return None;
        }
        let normal = normalise(value, Wildcards::Kept);
        // Wildcards that touch are one; the first and the last piece say how the path starts and ends.
        let count = normal.split('*').count();
        let pieces = normal.split('*').enumerate();
        let pieces = pieces
            .filter(|(at, piece)| *at == 0 || at + 1 == count || !piece.is_empty())
            .map(|(_, piece)| piece.into())
            .collect();
        Some(Pattern {
            octets: normal.len() + usize::from(is_anchored),
            pieces,
            is_anchored,
        })
    }

    /// How specific it is: its octets, wildcards included.
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// Whether a path, normalised, starts as it says.
    ///
    /// Each piece is looked for at the first place behind the one before: if a later place led to a match, the
    /// first one does too. So nothing is ever tried twice.
    pub fn matches(&self, path: &str) -> bool {
        let Some(mut rest) = path.strip_prefix(&*self.pieces[0]) else {
            return false;
        };
        let [_, middle @ .., last] = &*self.pieces else {
            return !self.is_anchored || rest.is_empty();
        };
        for piece in middle {
            match rest.find(&**piece) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        if self.is_anchored {
            rest.ends_with(&**last)
        } else {
            rest.contains(&**last)
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wildcards {
    Kept,
    Escaped,
}

/// A URL's path and query as rules are compared with it; a fragment is no part of it.
pub fn normalise_path(path_and_query: &str) -> String {
    let end = path_and_query.find('#').unwrap_or(path_and_query.len());
    normalise(&path_and_query.as_bytes()[..end], Wildcards::Escaped)
}

/// The common form of rules and paths (RFC 9309, section 2.2.2): octets outside of ASCII, and characters that no URI
/// has, are escaped; unreserved characters are not; escapes are in upper case. Of the reserved characters a path
/// keeps what it has, since `/` and `%2F` are not the same there; a query may have `/`, `?`, `:` and `@` in both
/// forms (RFC 3986, section 3.4), so they are not escaped in it. That gives the RFC's examples.
///
/// `*` and `$` of a path are escaped, so that a rule can name them as `%2A` and `%24` (section 2.2.3).
fn normalise(bytes: &[u8], wildcards: Wildcards) -> String {
    let mut out = String::with_capacity(bytes.len() + 8);
    let mut is_query = false;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if let Some(octet) = escaped(&bytes[at..]) {
            at += 3;
            if is_unreserved(octet) || is_query && matches!(octet, b'/' | b'?' | b':' | b'@') {
                out.push(char::from(octet));
            } else {
                push_escape(&mut out, octet);
            }
            continue;
        }
        at += 1;
        match byte {
            b'*' if wildcards == Wildcards::Kept => out.push('*'),
            b'*' | b'$' => push_escape(&mut out, byte),
            b'?' => {
                is_query = true;
                out.push('?');
            }
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                push_escape(&mut out, byte);
            }
            0x21..=0x7e => out.push(char::from(byte)),
            _ => push_escape(&mut out, byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rule: &str, path: &str, expected: bool) {
        let pattern = Pattern::new(rule.as_bytes()).unwrap();
        assert_eq!(
            pattern.matches(&normalise_path(path)),
            expected,
            "{rule} {path}"
        );
    }

    #[test]
    fn wildcards_match_anything() {
        check("/*", "/", true);
        check("*", "/", true);
        check("/a*b", "/ab", true);
        check("/a*b", "/axxbxx", true);
        check("/a*b$", "/axxbxx", false);
        check("/a*b$", "/axbxxb", true);
        check("/a**b", "/ab", true);
        check("/**$", "/x", true);
        check("/a*", "/a", true);
        check("/ab*b$", "/ab", false);
        check("/$", "/", true);
        check("/$", "/x", false);
        check("/a$b", "/a$b", true);
        check("/a$b", "/a%24b", true);
        check("/a%2Ab", "/a*b", true);
        check("/a%2Ab", "/axb", false);
        check("*$", "/anything", true);
    }

    #[test]
    fn a_match_does_not_blow_up() {
        let rule = format!("/{}b", "*a".repeat(2_000));
        let path = format!("/{}", "a".repeat(8_000));
        check(&rule, &path, false);
    }

    #[test]
    fn what_begins_no_path_is_no_rule() {
        for value in ["", "$", "a/b", "?q"] {
            assert!(Pattern::new(value.as_bytes()).is_none(), "{value}");
        }
    }
}
