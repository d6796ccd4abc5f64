//! What the tables of all nodes are at each entry of the log, as far as somebody saw them there: a few numbers that nearly
//! every command changes.
//!
//! - **tables-durable**: what a node has applied, it has applied after a crash, too;
//! - **one-index**: tables that are as of an entry are the same whoever has them, and whenever: nothing of a later entry
//!   is in them, and no entry is in them twice.

use holdfast_raft::Index;
use holdfast_tables::{Reader, SqlError, When};
use std::collections::BTreeMap;

/// Numbers that commands change: of leases, of names that are given away, and of jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(Vec<i64>);

/// Reads it; takes as long as there are jobs.
pub(super) fn fingerprint(reader: Reader<'_>) -> Result<Fingerprint, SqlError> {
    const STATEMENTS: [&str; 3] = [
        "SELECT epoch, renewals, holder FROM leases ORDER BY service",
        "SELECT seq, length(name), 0 FROM sqlite_sequence ORDER BY name",
        "SELECT version, total_links * 4294967296 + pages, pending FROM links_jobs ORDER BY number",
    ];
    let mut numbers = Vec::new();
    for statement in STATEMENTS {
        let rows = reader.all(statement, [], |row| {
            Ok::<[i64; 3], _>([row.get(0)?, row.get(1)?, row.get(2)?])
        })?;
        numbers.extend(rows.into_iter().flatten());
    }
    Ok(Fingerprint(numbers))
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct History {
    /// At each entry, and at which node first.
    at: BTreeMap<Index, (u32, Fingerprint)>,
    /// The last entry that each node is known to have applied, durably.
    applied: BTreeMap<u32, Index>,
}

impl History {
    /// Takes in what the tables of a node are.
    pub(super) fn take(
        &mut self,
        node: u32,
        when: When,
        applied: Index,
        now: Fingerprint,
    ) -> Result<(), (&'static str, String)> {
        let durable = self.applied.entry(node).or_default();
        if applied < *durable {
            let message = format!("{when:?} as of entry {applied}, after {durable} was applied");
            return Err(("tables-durable", message));
        }
        *durable = applied;
        let (first, before) = self.at.entry(applied).or_insert((node, now.clone()));
        if *before != now {
            let message = format!(
                "{when:?} as of entry {applied} they are {:?}, and node {} had {:?} there",
                now.0,
                *first + 1,
                before.0
            );
            return Err(("one-index", message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(number: i64) -> Fingerprint {
        Fingerprint(vec![number])
    }

    #[test]
    fn a_node_does_not_forget_and_all_are_alike() {
        let mut history = History::default();
        let mut take = |node, when, applied, number| {
            let taken = history.take(node, when, applied, of(number));
            taken.err().map(|(property, _)| property)
        };
        assert_eq!(take(0, When::Opened, 0, 0), None);
        assert_eq!(take(0, When::Applied, 3, 7), None);
        assert_eq!(take(0, When::Opened, 3, 7), None);
        assert_eq!(take(1, When::Applied, 3, 7), None, "somebody else has that");
        assert_eq!(take(1, When::Opened, 3, 8), Some("one-index"));
        assert_eq!(take(0, When::Opened, 2, 6), Some("tables-durable"));
        assert_eq!(
            take(1, When::Opened, 9, 9),
            None,
            "a copy has taken their place"
        );
    }
}
