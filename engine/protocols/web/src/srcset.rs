//! The `srcset` attribute (HTML standard, section 2.5.8 "Srcset attributes").

use crate::text::is_space;

/// The URLs of the image candidates in a `srcset` or `imagesrcset` attribute, by the parsing algorithm of the
/// standard. Commas and parentheses split as they do there; descriptors are skipped, right or wrong: a candidate
/// with a wrong one is never loaded by a browser, but its author meant a link.
pub fn candidates(srcset: &str) -> Candidates<'_> {
    Candidates { rest: srcset }
}

/// The answer of [`candidates`].
#[derive(Clone, Debug)]
pub struct Candidates<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Candidates<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let is_gap = |c: char| c == ',' || c.is_ascii() && is_space(c as u8);
        let rest = self.rest.trim_start_matches(is_gap);
        if rest.is_empty() {
            self.rest = "";
            return None;
        }
        let end = rest.bytes().position(is_space).unwrap_or(rest.len());
        let (url, behind) = rest.split_at(end);
        let bare = url.trim_end_matches(',');
        self.rest = if bare.len() < url.len() {
            // A comma at its end: the candidate has no descriptors.
            behind
        } else {
            &behind[descriptors(behind)..]
        };
        // All commas would have been skipped above, so something is left.
        Some(bare)
    }
}

/// The length of the descriptors at the start of a text, up to and with the comma that ends them. Commas in
/// parentheses do not.
fn descriptors(text: &str) -> usize {
    let mut is_in_parentheses = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => is_in_parentheses = true,
            b')' => is_in_parentheses = false,
            b',' if !is_in_parentheses => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(srcset: &str, expected: &[&str]) {
        let found: Vec<&str> = candidates(srcset).collect();
        assert_eq!(found, expected, "{srcset:?}");
    }

    #[test]
    fn candidates_split_as_the_standard_says() {
        check("", &[]);
        check(" , ,\n", &[]);
        check("a", &["a"]);
        check("a 1x, b 2x", &["a", "b"]);
        check("a 100w,b 200w", &["a", "b"]);
        check("a, b", &["a", "b"]);
        // A comma inside a URL belongs to it.
        check("a,b", &["a,b"]);
        check("a,b 1x, c", &["a,b", "c"]);
        check("data:,a ( , data:b 1x, ), data:c", &["data:,a", "data:c"]);
        check("data:,a (1x, 2x), b", &["data:,a", "b"]);
        check("a,,,, b", &["a", "b"]);
        check("a\t1x\n,\u{c}b", &["a", "b"]);
        check("a ((x), b", &["a", "b"]);
        check("a (,b", &["a"]);
        check("\u{e9}\u{a0} 1x", &["\u{e9}\u{a0}"]);
    }
}
