use bytes::Bytes;
use std::io;

/// One committed command, as every replica's state machine sees it.
#[derive(Clone, Debug)]
pub struct Command<'a> {
    /// Its place in the log.
    pub index: u64,
    /// The leader's wall clock when it was proposed, nanoseconds since the epoch; never less than that of an
    /// earlier command.
    pub time: u64,
    /// What the service's client encoded.
    pub payload: &'a Bytes,
}

/// A snapshot that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("snapshot is corrupt: {0}")]
pub struct CorruptSnapshot(pub String);

/// What a log of commands is applied to.
///
/// `apply` is a pure function of (state, command): no clock, no randomness, no I/O, no iteration over a hash map.
/// Cloning must be cheap (persistent collections), since snapshots are written from a clone while commands go on
/// being applied, and since simulated worlds are cloned.
pub trait StateMachine: Clone + Send + Sync + 'static {
    /// Applies a command and returns what its proposer is told. A payload that does not decode is answered with an
    /// outcome that says so, on every replica alike; it never panics and changes nothing.
    fn apply(&mut self, command: Command<'_>) -> Bytes;

    /// A hash over the whole content; replicas that applied the same commands have the same. O(content).
    fn digest(&self) -> u64;

    /// Writes the whole state in pieces of any size.
    fn write_snapshot(&self, sink: &mut dyn io::Write) -> io::Result<()>;

    /// The state that [`write_snapshot`](StateMachine::write_snapshot) wrote. The bytes have passed a checksum;
    /// what still does not decode is [`CorruptSnapshot`].
    fn read_snapshot(&self, source: &mut dyn io::Read) -> Result<Self, CorruptSnapshot>;
}
