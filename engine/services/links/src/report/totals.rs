use super::{Severity, severity};
use crate::Verdict;

/// How many links have which verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// In the order of [`Verdict::ALL`].
    by_verdict: [u64; Verdict::ALL.len()],
    /// Those that have none yet.
    pending: u64,
}

impl Totals {
    /// Counts one more link.
    pub fn add(&mut self, verdict: Option<Verdict>) {
        self.add_many(verdict, 1);
    }

    /// Counts `count` more links.
    pub fn add_many(&mut self, verdict: Option<Verdict>, count: u64) {
        let counter = match verdict {
            Some(verdict) => &mut self.by_verdict[index(verdict)],
            None => &mut self.pending,
        };
        *counter = counter.saturating_add(count);
    }

    /// How many links have `verdict`.
    pub fn of(&self, verdict: Verdict) -> u64 {
        self.by_verdict[index(verdict)]
    }

    /// How many links have no verdict yet.
    pub fn pending(&self) -> u64 {
        self.pending
    }

    /// How many links were counted.
    pub fn links(&self) -> u64 {
        self.by_verdict.iter().sum::<u64>() + self.pending
    }

    /// How many links are broken.
    pub fn broken(&self) -> u64 {
        self.with(Severity::Error)
    }

    /// How many links may be broken, or work and could be written better.
    pub fn warnings(&self) -> u64 {
        self.with(Severity::Warning) + self.with(Severity::Note)
    }

    /// Each verdict that was counted, in the order of [`Verdict::ALL`], and how often.
    pub fn iter(&self) -> impl Iterator<Item = (Verdict, u64)> + '_ {
        let counts = Verdict::ALL.into_iter().zip(self.by_verdict);
        counts.filter(|(_, count)| *count > 0)
    }

    fn with(&self, wanted: Severity) -> u64 {
        let matching = self.iter().filter(|(v, _)| severity(*v) == wanted);
        matching.map(|(_, count)| count).sum()
    }
}

/// The place of a verdict in [`Verdict::ALL`], which has the order of the declaration.
fn index(verdict: Verdict) -> usize {
    verdict as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_has_its_own_counter() {
        let mut totals = Totals::default();
        for (n, verdict) in Verdict::ALL.into_iter().enumerate() {
            assert_eq!(index(verdict), n);
            totals.add_many(Some(verdict), n as u64 + 1);
        }
        totals.add(None);
        for (n, verdict) in Verdict::ALL.into_iter().enumerate() {
            assert_eq!(totals.of(verdict), n as u64 + 1);
        }
        assert_eq!(totals.links(), 66 + 1);
        assert_eq!(totals.broken(), 3 + 7 + 8 + 9 + 10);
        assert_eq!(totals.warnings(), 2 + 4 + 5 + 6);
        assert_eq!(totals.pending(), 1);
    }

    #[test]
    fn what_is_broken_is_an_error() {
        for verdict in Verdict::ALL {
            assert_eq!(verdict.is_broken(), severity(verdict) == Severity::Error);
        }
    }
}
