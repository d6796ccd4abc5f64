use crate::{
    Command, CorruptSnapshot, DiskCommand, Envelope, Mutant, RequestId, StateMachine, Target,
    sessions::{Sessions, Verdict},
};
use bytes::Bytes;
use holdfast_raft::{Entry, Index, Term};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};

/// Largest encoded session table that a snapshot may claim; above it the snapshot is corrupt.
const MAX_PRELUDE_BYTES: u32 = 2 << 30;

/// What a proposer is told once its command is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Applied now, with this result of the state machine.
    Applied(Bytes),
    /// Applied by an earlier proposal of the same session and sequence, with this result.
    Duplicate(Bytes),
    /// Applied by an earlier proposal; its result was too large to keep.
    NotKept,
    /// Refused: the session has gone on to a later sequence.
    StaleSequence,
    /// Refused: the session used the sequence for another command.
    SequenceReused,
    /// Refused: the session was forgotten, or began with a sequence other than 1.
    UnknownSession,
}

/// What an entry was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// A leader's no-op, or nothing that this program knows.
    Nothing,
    /// A command that is applied: who asked for it, and what to tell.
    Here(RequestId, Outcome),
    /// A command for the machine on the disk, and who asked for it.
    OnDisk(RequestId, DiskCommand),
}

/// The replicated state: a state machine, the sessions of its clients, and how far the log is applied. All three
/// travel in one snapshot, so that none can be ahead of another.
#[derive(Clone, Debug)]
pub struct State<S> {
    machine: S,
    sessions: Sessions,
    applied: Index,
    applied_term: Term,
    last_time: u64,
}

#[derive(Serialize, Deserialize)]
struct Prelude {
    applied: Index,
    applied_term: Term,
    last_time: u64,
    sessions: Sessions,
}

impl<S: StateMachine> State<S> {
    /// The state before the first entry.
    pub fn new(machine: S) -> Self {
        State {
            machine,
            sessions: Sessions::default(),
            applied: 0,
            applied_term: 0,
            last_time: 0,
        }
    }

    /// The state machine.
    pub fn machine(&self) -> &S {
        &self.machine
    }

    /// The last applied index.
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// The term of the last applied entry.
    pub fn applied_term(&self) -> Term {
        self.applied_term
    }

    /// How many client sessions are remembered.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// A hash over machine and sessions; equal on replicas that applied the same entries.
    pub fn digest(&self) -> u64 {
        let prelude = postcard::to_stdvec(&self.sessions).expect("sessions encode");
        self.machine
            .digest()
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(u64::from(crc32c::crc32c(&prelude)) ^ self.applied)
    }

    /// Applies the next entry, or says that it is for the machine on the disk.
    ///
    /// # Panics
    /// When `entry` is not the one after the last applied: a hole or a repetition in what was committed.
    pub fn apply(&mut self, entry: &Entry) -> Applied {
        assert_eq!(
            entry.index,
            self.applied + 1,
            "entries are applied in order, each once"
        );
        assert!(
            entry.term >= self.applied_term,
            "terms never fall along the log"
        );
        self.applied = entry.index;
        self.applied_term = entry.term;
        if entry.payload.is_empty() {
            return Applied::Nothing;
        }
        // Only envelopes are proposed; a later version's would be refused alike on every replica.
        let Some(envelope) = Envelope::decode(&entry.payload) else {
            return Applied::Nothing;
        };
        // A new leader's wall clock may be behind the old one's.
        self.last_time = self.last_time.max(envelope.time);
        let session = match envelope.target {
            Target::Memory(session) => session,
            Target::Disk => {
                let command = DiskCommand {
                    index: entry.index,
                    time: self.last_time,
                    payload: envelope.payload,
                };
                return Applied::OnDisk(envelope.request, command);
            }
        };
        let verdict = session.map_or(Verdict::New, |session| {
            self.sessions.judge(session, &envelope.payload, entry.index)
        });
        let outcome = match verdict {
            Verdict::New => {
                let outcome = self.machine.apply(Command {
                    index: entry.index,
                    time: self.last_time,
                    payload: &envelope.payload,
                });
                if let Some(session) = session {
                    self.sessions
                        .record(session, &envelope.payload, entry.index, &outcome);
                }
                Outcome::Applied(outcome)
            }
            Verdict::Duplicate(outcome) => Outcome::Duplicate(outcome),
            Verdict::OutcomeNotKept => Outcome::NotKept,
            Verdict::Stale => Outcome::StaleSequence,
            Verdict::Reused => Outcome::SequenceReused,
            Verdict::Unknown => Outcome::UnknownSession,
        };
        Applied::Here(envelope.request, outcome)
    }

    /// Writes sessions, applied index and machine.
    pub fn write(&self, sink: &mut dyn Write, mutant: Option<Mutant>) -> io::Result<()> {
        let forget_sessions =
            cfg!(debug_assertions) && mutant == Some(Mutant::SessionsNotInSnapshot);
        let prelude = Prelude {
            applied: self.applied,
            applied_term: self.applied_term,
            last_time: self.last_time,
            sessions: if forget_sessions {
                Sessions::default()
            } else {
                self.sessions.clone()
            },
        };
        let prelude = postcard::to_stdvec(&prelude).map_err(io::Error::other)?;
        let len = u32::try_from(prelude.len()).map_err(io::Error::other)?;
        sink.write_all(&len.to_le_bytes())?;
        sink.write_all(&prelude)?;
        self.machine.write_snapshot(sink)
    }

    /// Reads what [`write`](State::write) wrote; `template` knows the machine's type and settings.
    pub fn read(template: &S, source: &mut dyn Read) -> Result<Self, CorruptSnapshot> {
        let corrupt = |error: &dyn std::fmt::Display| CorruptSnapshot(error.to_string());
        let mut len = [0; 4];
        source.read_exact(&mut len).map_err(|e| corrupt(&e))?;
        let len = u32::from_le_bytes(len);
        if len > MAX_PRELUDE_BYTES {
            return Err(CorruptSnapshot(format!("a session table of {len} bytes")));
        }
        let mut prelude = Vec::new();
        source
            .take(u64::from(len))
            .read_to_end(&mut prelude)
            .map_err(|e| corrupt(&e))?;
        let prelude: Prelude = postcard::from_bytes(&prelude).map_err(|e| corrupt(&e))?;
        Ok(State {
            machine: template.read_snapshot(source)?,
            sessions: prelude.sessions,
            applied: prelude.applied,
            applied_term: prelude.applied_term,
            last_time: prelude.last_time,
        })
    }

    /// R17 planted: the applied index as if it were saved apart from the data, and one entry too early.
    pub(crate) fn with_applied_index_behind(mut self, applied: Index, term: Term) -> Self {
        self.applied = applied;
        self.applied_term = term;
        self
    }
}
