use crate::LinkResult;
use std::collections::BTreeMap;

/// Different targets of one page that are remembered; further ones are told apart by their ordinal.
const MAX_TARGETS: usize = 100_000;

/// Counts how often the same link stood on a page before, so that it can be told apart from its twins without its
/// line, which changes with every edit above it.
#[derive(Default)]
pub(super) struct Occurrences {
    page: Option<u128>,
    seen: BTreeMap<u128, u32>,
}

impl Occurrences {
    /// How many links with the target and kind of `result` stood before it on its page, among those in a row.
    pub fn before(&mut self, result: &LinkResult) -> u32 {
        let page = fingerprint(&[super::page_of(result)]);
        if self.page != Some(page) {
            self.page = Some(page);
            self.seen.clear();
        }
        let link = fingerprint(&[&result.target, &super::kind_name(result)]);
        if self.seen.len() >= MAX_TARGETS && !self.seen.contains_key(&link) {
            return result.ordinal;
        }
        let count = self.seen.entry(link).or_insert(0);
        *count += 1;
        *count - 1
    }
}

/// 128 bits that differ for different texts, by FNV-1a: stable across runs and versions, and no defence against
/// somebody who looks for two texts with the same.
pub(crate) fn fingerprint(parts: &[&str]) -> u128 {
    const OFFSET: u128 = 0x6c62272e07bb014262b821756295c58d;
    const PRIME: u128 = 0x0000000001000000000000000000013b;
    let mut hash = OFFSET;
    for part in parts {
        // 0xff is no byte of UTF-8: no two lists of parts read the same.
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u128::from(byte)).wrapping_mul(PRIME);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart() {
        assert_ne!(fingerprint(&["ab", "c"]), fingerprint(&["a", "bc"]));
        assert_ne!(fingerprint(&["a", ""]), fingerprint(&["a"]));
        // It must never change: others keep it.
        assert_eq!(
            format!("{:032x}", fingerprint(&[])),
            "6c62272e07bb014262b821756295c58d"
        );
    }
}
