use crate::{Limits, urls};
use percent_encoding::percent_decode_str;
use std::collections::BTreeSet;

/// The names in a document that fragments can point to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragments {
    names: BTreeSet<Box<str>>,
    bytes: usize,
    is_cut: bool,
}

impl Fragments {
    /// Adds a name; `false` if there is no room for it.
    pub(crate) fn add(&mut self, name: &str, limits: &Limits) -> bool {
        if name.is_empty() || self.names.contains(name) {
            return true;
        }
        if self.names.len() >= limits.fragments || self.bytes + name.len() > limits.fragment_bytes {
            self.is_cut = true;
            return false;
        }
        self.bytes += name.len();
        self.names.insert(name.into());
        true
    }

    /// Whether a URL's fragment, without its `#`, points to something, by the HTML standard (section 7.4.6.3,
    /// "Scrolling to a fragment"): nothing and the top of the page always do, then a name is looked for as the
    /// fragment is written, then percent-decoded. What starts with `:~:` is for the browser and is taken off first.
    ///
    /// If [`Fragments::is_cut`], a name that is not found may exist all the same.
    pub fn contains(&self, fragment: &str) -> bool {
        Self::points_into(fragment, |name| self.names.contains(name))
    }

    /// [`Fragments::contains`], for names that are kept elsewhere.
    pub fn points_into(fragment: &str, has_name: impl Fn(&str) -> bool) -> bool {
        let fragment = match fragment.find(":~:") {
            Some(at) => &fragment[..at],
            None => fragment,
        };
        if fragment.is_empty() || has_name(fragment) {
            return true;
        }
        let decoded = percent_decode_str(fragment).decode_utf8_lossy();
        has_name(&decoded) || decoded.eq_ignore_ascii_case("top")
    }

    /// Whether the fragment of a URL points to something; a URL without one points to the whole document.
    pub fn contains_target_of(&self, target: &urls::WebTarget) -> bool {
        target
            .fragment
            .as_deref()
            .is_none_or(|fragment| self.contains(fragment))
    }

    /// Whether there were more names than the limits let in.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_are_found_as_browsers_find_them() {
        let limits = Limits::default();
        let mut fragments = Fragments::default();
        for name in ["a", "B", "x%20y", "x y", "\u{e9}", "100%", ""] {
            assert!(fragments.add(name, &limits));
        }
        let has = |fragment: &str| fragments.contains(fragment);
        for found in [
            "",
            "a",
            "B",
            "top",
            "TOP",
            "x%20y",
            "x y",
            "%C3%A9",
            "\u{e9}",
            "100%",
            "%61",
            "t%6Fp",
            ":~:text=foo",
            "a:~:text=foo,bar",
            ":~:",
        ] {
            assert!(has(found), "{found:?}");
        }
        for missing in ["A", "b", "topp", "%E9", "c", "c:~:text=foo"] {
            assert!(!has(missing), "{missing:?}");
        }
    }

    #[test]
    fn names_are_bounded() {
        let limits = Limits {
            fragments: 2,
            fragment_bytes: 5,
            ..Limits::default()
        };
        let mut fragments = Fragments::default();
        assert!(fragments.add("ab", &limits) && fragments.add("ab", &limits));
        assert!(!fragments.add("cdef", &limits) && fragments.is_cut());
        assert!(fragments.add("cde", &limits) && !fragments.add("f", &limits));
        assert_eq!(fragments.names().collect::<Vec<_>>(), ["ab", "cde"]);
    }
}
