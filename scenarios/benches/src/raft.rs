//! Three replicas in one thread, stepped by hand over memory: ours, and those of TiKV's crate `raft`.

use crate::measure::{Result, beside, median, on_cpu};
use holdfast_record::worker::BenchRow;

mod ours;
mod rival;

const ROUNDS: usize = 7;
const PAYLOAD_BYTES: usize = 128;
const BATCH: u64 = 64;
/// Entries of a round, whatever the batch.
const ENTRIES: u64 = 64 * 1_024;
/// Both groups drop what is applied after this many entries, so that memory stays what it is in a long run.
const COMPACT_EVERY: u64 = 8 * 1_024;
/// Replicas of a group.
const REPLICAS: u64 = 3;

/// A group whose first replica leads.
trait Group {
    /// Proposes so many entries at the leader and goes on until nobody has anything to do.
    fn propose(&mut self, entries: u64);

    /// Drops everything that was applied, on all replicas.
    fn compact(&mut self);

    /// How many entries each replica has applied, the no-op of the term aside.
    fn applied(&self) -> Vec<u64>;
}

/// Measures.
pub fn rows() -> Result<Vec<BenchRow>> {
    let row = |name: &str, batch: u64| {
        let (mut ours, mut rivals) = (Vec::new(), Vec::new());
        let (mut group, mut rival) = (ours::Trio::new(), rival::Trio::new());
        // The first round of each only warms up.
        for round in 0..=ROUNDS {
            let rates = [
                entries_per_second(&mut group, batch),
                entries_per_second(&mut rival, batch),
            ];
            if round > 0 {
                ours.push(rates[0]);
                rivals.push(rates[1]);
            }
        }
        beside(
            name,
            median(ours),
            "entries per CPU second",
            ("raft 0.7 of TiKV", median(rivals)),
            &format!(
                "medians of {ROUNDS} rounds of {ENTRIES} entries of {PAYLOAD_BYTES} bytes, three replicas in one \
                 thread, messages passed by value, logs kept in memory and cut every {COMPACT_EVERY} entries, \
                 an entry counts when all three have applied it, pre-vote and check-quorum on, no heartbeats"
            ),
        )
    };
    Ok(vec![
        row("one entry at a time", 1),
        row("64 entries a proposal", BATCH),
    ])
}

fn entries_per_second(group: &mut impl Group, batch: u64) -> f64 {
    let before = group.applied();
    let ((), seconds) = on_cpu(|| {
        for done in (batch..=ENTRIES).step_by(batch as usize) {
            group.propose(batch);
            if done % COMPACT_EVERY == 0 {
                group.compact();
            }
        }
    });
    let expected: Vec<u64> = before.iter().map(|applied| applied + ENTRIES).collect();
    assert_eq!(
        group.applied(),
        expected,
        "all replicas have applied all entries"
    );
    ENTRIES as f64 / seconds
}

/// A payload of its own for each entry.
fn payload() -> Vec<u8> {
    vec![7; PAYLOAD_BYTES]
}
