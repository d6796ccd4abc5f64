use crate::NodeId;
use std::collections::BTreeMap;

/// How far behind the highest number a late one may be and still be told from a repeated one.
const WINDOW: u64 = 128;
/// Most incarnations of peers that are remembered in one term; proposals of further ones are not taken.
const MAX_INCARNATIONS: usize = 1024;

/// The proposals that a leader was passed in its term, so that each is taken once however often it arrives: a sliding
/// window for each incarnation of a peer (as in RFC 4303, section 3.4.3). Proposals of other terms never get here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Taken {
    windows: BTreeMap<(NodeId, u64), Window>,
}

#[derive(Clone, Debug, Default)]
struct Window {
    highest: u64,
    /// Bit `n`: `highest - n` was taken.
    bits: u128,
}

impl Taken {
    /// Whether the proposal is new; from now on it is not. One that is too late to tell counts as taken.
    pub fn take(&mut self, from: NodeId, incarnation: u64, number: u64) -> bool {
        let key = (from, incarnation);
        if !self.windows.contains_key(&key) && self.windows.len() == MAX_INCARNATIONS {
            return false;
        }
        let window = self.windows.entry(key).or_default();
        if number > window.highest {
            let ahead = number - window.highest;
            window.bits = match ahead < WINDOW {
                true => window.bits << ahead | 1,
                false => 1,
            };
            window.highest = number;
            return true;
        }
        let behind = window.highest - number;
        if behind >= WINDOW || window.bits >> behind & 1 == 1 {
            return false;
        }
        window.bits |= 1 << behind;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_taken_once_in_any_order() {
        let mut taken = Taken::default();
        for number in [1, 3, 2, 200, 199, 73] {
            assert!(taken.take(1, 7, number), "{number}");
            assert!(!taken.take(1, 7, number), "{number} again");
        }
        assert!(!taken.take(1, 7, 72), "too late to tell");
        assert!(taken.take(2, 7, 200), "of another peer");
        assert!(taken.take(1, 8, 1), "of another incarnation");
    }

    #[test]
    fn memory_is_bounded() {
        let mut taken = Taken::default();
        for incarnation in 0..2_000 {
            taken.take(1, incarnation, 1);
        }
        assert_eq!(taken.windows.len(), MAX_INCARNATIONS);
        assert!(taken.take(1, 5, 2), "who is known is still heard");
    }
}
