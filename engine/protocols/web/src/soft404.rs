//! Pages that say "not found" with a status that says otherwise.
//!
//! A host that answers a random path, which cannot exist, with 200 has such pages. What it answered there is compared
//! with what it answers elsewhere, by a [`Fingerprint`] of the words: the 64-bit simhash of Charikar ("Similarity
//! Estimation Techniques from Rounding Algorithms", 2002) over shingles of three words, as Manku, Jain and Das Sarma
//! use it ("Detecting Near-Duplicates for Web Crawling", 2007), who take up to three bits of difference for a
//! near-duplicate. Words that a page takes from its own URL, and those with digits (times, numbers of requests),
//! are left out: they differ between two answers that say the same.

use fnv::FnvHasher;
use serde::{Deserialize, Serialize};
use std::{fmt, hash::Hasher};
use url::Url;

/// Fingerprints of this distance or less are of pages that say nearly the same.
pub const NEAR_BITS: u32 = 3;
/// Pages of fewer words than this are too short to be told apart by their words alone.
pub const MIN_WORDS: u32 = 10;

const SHINGLE_WORDS: usize = 3;
/// How many words of a page's own URL are looked for in it.
const OWN_WORDS: usize = 32;

/// What the visible words of a page are like.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The simhash. Alike pages differ in few bits.
    pub simhash: u64,
    /// How many words there are.
    pub words: u32,
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}/{}", self.simhash, self.words)
    }
}

impl Fingerprint {
    /// The fingerprint of a text that was fetched from `document`.
    pub fn of(text: &str, document: &Url) -> Fingerprint {
        let mut shingles = Shingles::new(document);
        shingles.push(text);
        shingles.finish()
    }

    /// In how many bits two fingerprints differ: 0 for the same words, about 32 for unrelated ones.
    pub fn distance(self, other: Fingerprint) -> u32 {
        (self.simhash ^ other.simhash).count_ones()
    }

    /// Whether two pages say nearly the same: enough words, nearly as many, of nearly the same fingerprint. The
    /// very same few words are the same, too.
    pub fn is_near(self, other: Fingerprint) -> bool {
        if self == other {
            return self.words > 0;
        }
        let (fewer, more) = (self.words.min(other.words), self.words.max(other.words));
        fewer >= MIN_WORDS && more - fewer <= more / 10 && self.distance(other) <= NEAR_BITS
    }
}

/// Takes the fingerprint of a text that comes in pieces; a piece ends a word.
#[derive(Clone, Debug)]
pub(crate) struct Shingles {
    /// For each bit, how many more shingles have it than not.
    weights: [i32; 64],
    /// The hashes of the last words, the newest last.
    last: [u64; SHINGLE_WORDS],
    words: u32,
    /// The hashes of the words of the page's own URL.
    own: Vec<u64>,
}

impl Shingles {
    pub fn new(document: &Url) -> Self {
        let own = words(crate::urls::path_and_query(document))
            .map(hash)
            .take(OWN_WORDS);
        Shingles {
            weights: [0; 64],
            last: [0; SHINGLE_WORDS],
            words: 0,
            own: own.collect(),
        }
    }

    pub fn push(&mut self, text: &str) {
        for word in words(text) {
            let hash = hash(word);
            if !self.own.contains(&hash) && !word.bytes().any(|byte| byte.is_ascii_digit()) {
                self.push_word(hash);
            }
        }
    }

    fn push_word(&mut self, hash: u64) {
        self.words = self.words.saturating_add(1);
        self.last.rotate_left(1);
        self.last[SHINGLE_WORDS - 1] = hash;
        if self.words as usize >= SHINGLE_WORDS {
            self.weigh();
        }
    }

    fn weigh(&mut self) {
        let mut shingle = 0_u64;
        for word in self.last {
            shingle = mix(shingle ^ word);
        }
        for (bit, weight) in self.weights.iter_mut().enumerate() {
            let sign = ((shingle >> bit & 1) as i32) * 2 - 1;
            *weight = weight.saturating_add(sign);
        }
    }

    pub fn finish(mut self) -> Fingerprint {
        if self.words > 0 && (self.words as usize) < SHINGLE_WORDS {
            self.weigh();
        }
        let mut simhash = 0;
        for (bit, weight) in self.weights.iter().enumerate() {
            simhash |= u64::from(*weight > 0) << bit;
        }
        Fingerprint {
            simhash,
            words: self.words,
        }
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
}

/// FNV-1a of a word in lower case, so that `NOT FOUND` is `Not found`. Fixed for all time: fingerprints are kept.
fn hash(word: &str) -> u64 {
    let mut hash = FnvHasher::default();
    for byte in word.bytes() {
        hash.write(&[byte.to_ascii_lowercase()]);
    }
    hash.finish()
}

/// The finalizer of MurmurHash3: each bit of the answer depends on each of the input.
fn mix(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

/// Whether a title says that there is no page. Conservative: only titles that say little else, so that an article
/// about 404 pages is none.
pub fn is_not_found_title(title: &str) -> bool {
    const PHRASES: [&str; 12] = [
        "404",
        "error 404",
        "404 error",
        "http 404",
        "404 not found",
        "not found",
        "page not found",
        "404 page not found",
        "seite nicht gefunden",
        "page non trouv\u{e9}e",
        "p\u{e1}gina no encontrada",
        "pagina non trovata",
    ];
    // Of "Page not found | Example" and "Example - 404" only one part says it.
    title
        .split(['|', '\u{2013}', '\u{2014}', '\u{b7}', ':'])
        .flat_map(|part| part.split(" - "))
        .any(|part| {
            let words = part
                .split(|c: char| !c.is_alphanumeric())
                .filter(|word| !word.is_empty());
            let part = words.collect::<Vec<_>>().join(" ").to_lowercase();
            PHRASES.contains(&part.as_str())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str, text: &str) -> Fingerprint {
        Fingerprint::of(text, &Url::parse("https://h").unwrap().join(path).unwrap())
    }

    /// By FNV's published test vectors; fingerprints are kept.
    #[test]
    fn hashes_of_words_never_change() {
        assert_eq!(hash("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash("FooBar"), 0x8594_4171_f739_67e8);
    }

    fn not_found(path: &str, request: &str) -> Fingerprint {
        let text = format!(
            "Sorry, the page {path} that you were looking for could not be found on this server. \
             Please check the address, or go back to the start page and search for it there. Request {request}."
        );
        of(path, &text)
    }

    #[test]
    fn alike_pages_are_near() {
        let bogus = not_found("/a8f3e1/nothing-here", "4711");
        assert!(bogus.words > MIN_WORDS);
        assert_eq!(bogus.distance(bogus), 0);
        assert!(bogus.is_near(not_found("/old/products/rose.html", "a0815b")));
        let other = of(
            "/roses",
            "Roses need sun and water. Cut them in spring, when the forsythia blooms, and feed them well. \
             Do not cut more than a third of the plant, or it will take a year to recover from the loss.",
        );
        assert!(!bogus.is_near(other) && bogus.distance(other) > 10);
    }

    #[test]
    fn short_pages_must_be_the_same() {
        assert!(of("/", "Not found").is_near(of("/", "NOT  FOUND!")));
        assert!(!of("/", "Not found").is_near(of("/", "Hello world")));
        assert!(!of("/", "").is_near(of("/", "")));
    }

    #[test]
    fn fingerprints_do_not_change() {
        // They are stored: a change here makes all that were stored useless.
        let fox = of("/a", "The quick brown fox");
        assert_eq!(format!("{fox:?}"), "404138801c100a05/4");
    }

    #[test]
    fn titles_must_say_little_else() {
        for title in [
            "404",
            "Page not found",
            "404 - Page Not Found | Example",
            "Example: Error 404",
            "Not Found!",
        ] {
            assert!(is_not_found_title(title), "{title}");
        }
        for title in [
            "How to design a 404 page",
            "Peugeot 404 - Wikipedia article",
            "Lost and found",
            "",
            "4040",
        ] {
            assert!(!is_not_found_title(title), "{title}");
        }
    }
}
