//! Which link of one run is which of another.
//!
//! A link is the same by the page that it stands on, what it points to, and its kind: not by its line, which changes
//! with every edit above it, nor by its ordinal. A page and a target are the same by their keys, see
//! [`holdfast_web::urls::key`]; fragments count as they are written; what is no URL is the same by its text. Twins
//! that stand on one page are one link.
//!
//! The tables keep 64 bits of it, which indexes find, and never the texts: of two runs with 100,000 broken links
//! each, about one in a thousand million has two that are taken for one. Whoever writes a page can make two such
//! links on purpose, and hides from nobody but himself that one of them is newly broken.

use crate::report::fingerprint;

/// What a link points to.
pub(crate) enum PointsTo<'a> {
    /// The key of a URL, and the fragment.
    Url(&'a str, Option<&'a str>),
    /// A text that is no URL, or one that nobody can fetch.
    Text(&'a str),
}

/// The identity of a link of this kind on the page with this key; start pages stand on none. It must never change:
/// runs of earlier programs are compared with later ones.
pub(crate) fn identity(page: Option<&str>, kind: &str, points_to: &PointsTo<'_>) -> i64 {
    let page = page.unwrap_or_default();
    let bits = match points_to {
        PointsTo::Url(key, None) => fingerprint(&[page, kind, "url", key]),
        PointsTo::Url(key, Some(place)) => fingerprint(&[page, kind, "url", key, place]),
        PointsTo::Text(text) => fingerprint(&[page, kind, "text", text]),
    };
    // Both halves: the lower one alone mixes worse.
    ((bits >> 64) as u64 ^ bits as u64).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_makes_a_link_counts() {
        let (a, b) = (Some("http://a.test/"), Some("http://b.test/"));
        let all = [
            identity(a, "anchor", &PointsTo::Url("http://c.test/", None)),
            identity(b, "anchor", &PointsTo::Url("http://c.test/", None)),
            identity(None, "anchor", &PointsTo::Url("http://c.test/", None)),
            identity(a, "image", &PointsTo::Url("http://c.test/", None)),
            identity(a, "anchor", &PointsTo::Url("http://c.test/", Some(""))),
            identity(a, "anchor", &PointsTo::Url("http://c.test/", Some("x"))),
            identity(a, "anchor", &PointsTo::Text("http://c.test/")),
        ];
        let distinct: std::collections::BTreeSet<i64> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
        // FNV-1a of 128 bits, computed elsewhere, both halves joined.
        assert_eq!(all[0], -6_295_236_530_319_671_056, "it must never change");
    }
}
