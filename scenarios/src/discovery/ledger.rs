//! Which blobs a member must have, for all that people were told.

use std::{collections::BTreeMap, time::Duration};

/// How long what nobody answered may still be on its way: streams give up after a minute.
const LINGERS: Duration = Duration::from_secs(180);

/// What is known of one blob at one member.
#[derive(Clone, Debug, Default)]
struct Holding {
    /// A put was acknowledged, and nothing since may have removed it.
    is_certain: bool,
    /// Somebody has asked for it to be stored.
    was_put: bool,
    /// Removals under way.
    removals: u32,
    /// Removals that were ever begun.
    begun: u64,
    /// Until when one that was not answered may still be carried out.
    lingering: Duration,
}

/// What people were told.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    held: BTreeMap<(u32, usize), Holding>,
}

/// A put, or a look, that is under way: what was known when it began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    member: u32,
    blob: usize,
    /// Removals that had begun.
    removals: u64,
    is_certain: bool,
}

impl Ledger {
    fn held(&mut self, member: u32, blob: usize) -> &mut Holding {
        self.held.entry((member, blob)).or_default()
    }

    /// Somebody begins to look.
    pub(super) fn looks(&mut self, member: u32, blob: usize) -> Begun {
        let held = self.held(member, blob);
        Begun {
            member,
            blob,
            removals: held.begun,
            is_certain: held.is_certain,
        }
    }

    /// Somebody begins to store.
    pub(super) fn puts(&mut self, member: u32, blob: usize) -> Begun {
        self.held(member, blob).was_put = true;
        self.looks(member, blob)
    }

    /// It was acknowledged.
    pub(super) fn stored(&mut self, begun: Begun, now: Duration) {
        let held = self.held(begun.member, begun.blob);
        let is_disputed = held.removals > 0 || held.begun != begun.removals || now < held.lingering;
        held.is_certain |= !is_disputed;
    }

    /// Whether it must have been there all the time since somebody began to look.
    pub(super) fn must_be_there(&mut self, begun: Begun) -> bool {
        let held = self.held(begun.member, begun.blob);
        begun.is_certain && held.is_certain && held.begun == begun.removals
    }

    /// Somebody begins to remove it.
    pub(super) fn removes(&mut self, member: u32, blob: usize) {
        let held = self.held(member, blob);
        held.is_certain = false;
        held.removals += 1;
        held.begun += 1;
    }

    /// A removal has ended, or nobody waits for it any more.
    pub(super) fn removed(&mut self, member: u32, blob: usize, is_answered: bool, now: Duration) {
        let held = self.held(member, blob);
        held.removals -= 1;
        if !is_answered {
            held.lingering = now + LINGERS;
        }
    }

    /// Its bytes have changed on the disk: it is not given any more, and nobody knows when that is noticed.
    pub(super) fn damaged(&mut self, member: u32, blob: usize) {
        let held = self.held(member, blob);
        held.is_certain = false;
        held.begun += 1;
    }

    /// Whether it must be there.
    pub(super) fn is_certain(&self, member: u32, blob: usize) -> bool {
        let held = self.held.get(&(member, blob));
        held.is_some_and(|held| held.is_certain)
    }

    /// Whether it may be there.
    pub(super) fn was_put(&self, member: u32, blob: usize) -> bool {
        let held = self.held.get(&(member, blob));
        held.is_some_and(|held| held.was_put)
    }

    /// The members that must have a blob.
    pub(super) fn holders(&self, blob: usize) -> Vec<u32> {
        let held = self.held.iter();
        held.filter(|((_, of), held)| *of == blob && held.is_certain)
            .map(|((member, _), _)| *member)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_is_certain_until_somebody_removes_it() {
        let at = Duration::from_secs;
        let mut ledger = Ledger::default();
        let put = ledger.puts(1, 2);
        assert!(!ledger.is_certain(1, 2));
        ledger.stored(put, at(1));
        assert!(ledger.is_certain(1, 2) && !ledger.is_certain(0, 2));
        let look = ledger.looks(1, 2);
        assert!(ledger.must_be_there(look));
        // A put that overlaps with a removal decides nothing.
        let put = ledger.puts(1, 2);
        ledger.removes(1, 2);
        ledger.stored(put, at(2));
        assert!(!ledger.must_be_there(look) && !ledger.is_certain(1, 2));
        ledger.removed(1, 2, true, at(3));
        let put = ledger.puts(1, 2);
        ledger.stored(put, at(4));
        assert_eq!(ledger.holders(2), [1]);
        // One that was not answered may come late.
        ledger.removes(1, 2);
        ledger.removed(1, 2, false, at(5));
        let put = ledger.puts(1, 2);
        ledger.stored(put, at(6));
        assert!(!ledger.is_certain(1, 2));
        let put = ledger.puts(1, 2);
        ledger.stored(put, at(5) + LINGERS);
        assert!(ledger.is_certain(1, 2));
        ledger.damaged(1, 2);
        assert!(!ledger.is_certain(1, 2) && ledger.was_put(1, 2));
    }
}
