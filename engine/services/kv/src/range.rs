use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::ops::Bound;

/// A set of keys that are neighbours in byte order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyRange {
    start: Bytes,
    /// Exclusive; `None` has no end.
    end: Option<Bytes>,
}

impl KeyRange {
    /// One key.
    pub fn key(key: impl Into<Bytes>) -> Self {
        let start = key.into();
        // The key's successor in byte order.
        let end = [&start[..], &[0]].concat();
        KeyRange {
            start,
            end: Some(end.into()),
        }
    }

    /// From `start` up to and without `end`; empty when that is not above `start`.
    pub fn between(start: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        KeyRange {
            start: start.into(),
            end: Some(end.into()),
        }
    }

    /// From `start` on.
    pub fn from(start: impl Into<Bytes>) -> Self {
        KeyRange {
            start: start.into(),
            end: None,
        }
    }

    /// Every key that begins with `prefix`; every key there is when it is empty.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start = prefix.into();
        // The least string above all that begin so: the last byte that can be raised is, and the rest goes.
        let end = start.iter().rposition(|byte| *byte < u8::MAX).map(|last| {
            let mut end = start[..=last].to_vec();
            end[last] += 1;
            Bytes::from(end)
        });
        KeyRange { start, end }
    }

    /// Every key.
    pub fn all() -> Self {
        KeyRange::from(Bytes::new())
    }

    /// The first key that could be in it.
    pub fn start(&self) -> &Bytes {
        &self.start
    }

    /// After the last key that could be in it; `None` when there is no end.
    pub fn end(&self) -> Option<&Bytes> {
        self.end.as_ref()
    }

    /// Whether `key` is in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= &self.start[..] && self.end.as_ref().is_none_or(|end| key < &end[..])
    }

    /// Whether no key can be in it.
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    /// Whether some key can be in both.
    pub fn overlaps(&self, other: &KeyRange) -> bool {
        let below = |start: &Bytes, end: &Option<Bytes>| end.as_ref().is_none_or(|end| start < end);
        !self.is_empty()
            && !other.is_empty()
            && below(&self.start, &other.end)
            && below(&other.start, &self.end)
    }

    /// As bounds of a map; not to be asked of an empty range, at which maps panic.
    pub(crate) fn bounds(&self) -> (Bound<&Bytes>, Bound<&Bytes>) {
        let end = self.end.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        (Bound::Included(&self.start), end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_contain_what_their_names_say() {
        let check = |range: &KeyRange, inside: &[&[u8]], outside: &[&[u8]]| {
            for key in inside {
                assert!(range.contains(key), "{range:?} lacks {key:?}");
            }
            for key in outside {
                assert!(!range.contains(key), "{range:?} has {key:?}");
            }
        };
        check(&KeyRange::key("b"), &[b"b"], &[b"a", b"b\0", b"c", b""]);
        check(
            &KeyRange::between("b", "d"),
            &[b"b", b"c", b"c\xff"],
            &[b"a", b"d"],
        );
        check(&KeyRange::from("b"), &[b"b", b"\xff"], &[b"a", b""]);
        check(
            &KeyRange::prefix("ab"),
            &[b"ab", b"ab\xff\xff"],
            &[b"aa", b"ac", b"a"],
        );
        check(
            &KeyRange::prefix(&b"a\xff"[..]),
            &[b"a\xff", b"a\xff\xff"],
            &[b"b", b"a"],
        );
        check(
            &KeyRange::prefix(&b"\xff"[..]),
            &[b"\xff", b"\xff\xff"],
            &[b"\xfe"],
        );
        check(&KeyRange::prefix(""), &[b"", b"a", b"\xff"], &[]);
        check(&KeyRange::between("d", "b"), &[], &[b"b", b"c", b"d"]);
    }

    #[test]
    fn ranges_overlap_where_they_share_a_key() {
        let (ab, bc, all) = (
            KeyRange::between("a", "b"),
            KeyRange::between("b", "c"),
            KeyRange::all(),
        );
        assert!(!ab.overlaps(&bc) && !bc.overlaps(&ab));
        assert!(all.overlaps(&ab) && ab.overlaps(&all) && all.overlaps(&all));
        assert!(KeyRange::key("a").overlaps(&ab));
        assert!(!KeyRange::between("b", "a").overlaps(&all));
    }
}
