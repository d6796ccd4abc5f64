use serde::{Deserialize, Serialize};

/// A bug of the zoo: each has cost some database data. Has an effect only where debug assertions are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mutant {
    /// D1: a torn tail is an error, so that a power cut in the middle of a write keeps the node down.
    TornTailIsFatal,
    /// D2: damage among synced records is taken for a torn tail, and what was acknowledged is dropped.
    MiddleDamageIsTail,
    /// D3: a torn tail is left where it is; what is appended behind it cannot be reached at the next start.
    KeepTornTail,
    /// D4: a header of zeros passes for an empty record.
    ZeroRecordValid,
    /// R4: a register's value is written in place in two halves, each with its own checksum and sync, so that a
    /// power cut between them mixes old and new. The first half is the first eight bytes.
    SplitRegisterWrite,
}
