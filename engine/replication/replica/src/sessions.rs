use crate::Session;
use bytes::Bytes;
use imbl::OrdMap;
use serde::{Deserialize, Serialize};

/// Most client sessions that are remembered; beyond it the one unused for longest is forgotten.
pub const MAX_SESSIONS: usize = 65_536;

/// Most bytes that remembered sessions take, about; beyond it the one unused for longest is forgotten.
pub const MAX_SESSION_BYTES: u64 = 64 << 20;

/// Largest outcome that is kept for a retry. A larger one is applied once all the same; its retry is answered with
/// [`Verdict::OutcomeNotKept`].
pub const MAX_KEPT_OUTCOME: usize = 16 * 1024;

/// What a session takes beside its outcome, about.
const SESSION_BYTES: u64 = 128;

/// The table that makes retries harmless: part of the replicated state, changed by applied commands alone.
///
/// It is bounded, so it forgets; what was forgotten must not be taken for new. A session's name says where it opens:
/// after that index of the log, all of its commands. One that opens at or after the last use of every session that was
/// ever forgotten cannot be among those, and may begin. Any other may have been forgotten, and is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions {
    clients: OrdMap<u128, Remembered>,
    /// Last use (log index) to client: the order in which sessions are forgotten.
    by_use: OrdMap<u64, u128>,
    /// What all of them take, about.
    bytes: u64,
    /// The latest last use among sessions that were forgotten; 0 before any was.
    forgotten: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    sequence: u64,
    used_at: u64,
    command: Fingerprint,
    outcome: Option<Bytes>,
}

/// Tells a retry from another command that was given the same ticket by mistake: length and checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Fingerprint(u32, u32);

impl Fingerprint {
    fn of(command: &[u8]) -> Self {
        Fingerprint(command.len() as u32, crc32c::crc32c(command))
    }
}

/// What the table says of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not applied before: apply it and [`record`](Sessions::record) the outcome.
    New,
    /// Applied before, with this outcome.
    Duplicate(Bytes),
    /// Applied before; the outcome was too large to keep.
    OutcomeNotKept,
    /// The client has gone on to a later command.
    Stale,
    /// The client used the sequence for another command.
    Reused,
    /// The session was forgotten, or may have been, or never began (a session begins with sequence 1).
    Unknown,
}

impl Sessions {
    /// Judges the command at log index `index` before it is applied.
    pub fn judge(&self, session: Session, command: &[u8], index: u64) -> Verdict {
        let Some(known) = self.clients.get(&session.client) else {
            let may_begin = session.sequence == 1 && self.opens_after_forgotten(session, index);
            return match may_begin {
                true => Verdict::New,
                false => Verdict::Unknown,
            };
        };
        if session.sequence > known.sequence {
            Verdict::New
        } else if session.sequence < known.sequence {
            Verdict::Stale
        } else if known.command != Fingerprint::of(command) {
            Verdict::Reused
        } else {
            match &known.outcome {
                Some(outcome) => Verdict::Duplicate(outcome.clone()),
                None => Verdict::OutcomeNotKept,
            }
        }
    }

    /// Whether none of the session's commands can be one of a session that was forgotten.
    fn opens_after_forgotten(&self, session: Session, index: u64) -> bool {
        // Nobody can know an index that the log has not come to: a name that was drawn without a place says nothing.
        let opens_at = match session.opens_at() {
            known if known < index => known,
            _ => 0,
        };
        opens_at >= self.forgotten
    }

    /// Remembers what the command at log index `index` led to.
    pub fn record(&mut self, session: Session, command: &[u8], index: u64, outcome: &Bytes) {
        let kept = (outcome.len() <= MAX_KEPT_OUTCOME).then(|| outcome.clone());
        let remembered = Remembered {
            sequence: session.sequence,
            used_at: index,
            command: Fingerprint::of(command),
            outcome: kept,
        };
        self.bytes += remembered.bytes();
        if let Some(previous) = self.clients.insert(session.client, remembered) {
            assert!(
                previous.used_at < index,
                "a log index is applied once: {index}"
            );
            self.by_use.remove(&previous.used_at);
            self.bytes -= previous.bytes();
        }
        self.by_use.insert(index, session.client);
        while self.clients.len() > MAX_SESSIONS || self.bytes > MAX_SESSION_BYTES {
            self.forget_oldest();
        }
        assert_eq!(self.clients.len(), self.by_use.len());
    }

    fn forget_oldest(&mut self) {
        let oldest = self.by_use.get_min().map(|(at, client)| (*at, *client));
        let (used_at, client) = oldest.expect("as many uses as clients");
        assert!(
            used_at > self.forgotten,
            "sessions are forgotten in the order of their last use"
        );
        self.forgotten = used_at;
        self.by_use.remove(&used_at);
        let remembered = self.clients.remove(&client);
        self.bytes -= remembered.expect("every use is a client's").bytes();
    }

    /// How many sessions are remembered.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }
}

impl Remembered {
    fn bytes(&self) -> u64 {
        SESSION_BYTES
            + self
                .outcome
                .as_ref()
                .map_or(0, |outcome| outcome.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(client: u128, sequence: u64) -> Session {
        Session { client, sequence }
    }

    /// A session's first command, when it opens at `opens_at`.
    fn opening(opens_at: u64, name: u64) -> Session {
        session(u128::from(opens_at) << 64 | u128::from(name), 1)
    }

    #[test]
    fn a_retry_gets_the_first_outcome() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.judge(session(1, 1), b"a", 10), Verdict::New);
        sessions.record(session(1, 1), b"a", 10, &Bytes::from_static(b"first"));
        assert_eq!(
            sessions.judge(session(1, 1), b"a", 11),
            Verdict::Duplicate(Bytes::from_static(b"first"))
        );
        assert_eq!(sessions.judge(session(1, 2), b"a", 11), Verdict::New);
        let large = Bytes::from(vec![0; MAX_KEPT_OUTCOME + 1]);
        sessions.record(session(1, 2), b"a", 11, &large);
        assert_eq!(
            sessions.judge(session(1, 2), b"a", 12),
            Verdict::OutcomeNotKept
        );
        assert_eq!(sessions.judge(session(1, 1), b"a", 12), Verdict::Stale);
        assert_eq!(sessions.judge(session(2, 5), b"a", 12), Verdict::Unknown);
    }

    #[test]
    fn another_command_with_the_same_ticket_is_no_retry() {
        let mut sessions = Sessions::default();
        sessions.record(session(1, 1), b"put a", 10, &Bytes::new());
        for other in [&b"put b"[..], b"put", b""] {
            assert_eq!(sessions.judge(session(1, 1), other, 11), Verdict::Reused);
        }
        assert_eq!(
            sessions.judge(session(1, 1), b"put a", 11),
            Verdict::Duplicate(Bytes::new())
        );
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_least_recently_used() {
        let mut sessions = Sessions::default();
        for client in 0..MAX_SESSIONS as u128 {
            sessions.record(session(client, 1), b"a", client as u64 + 1, &Bytes::new());
        }
        sessions.record(session(0, 2), b"a", 1_000_000, &Bytes::new());
        // Before anything was forgotten, a name without a place may begin.
        let random = session(u128::MAX, 1);
        assert_eq!(sessions.judge(random, b"a", 1_000_001), Verdict::New);
        sessions.record(random, b"a", 1_000_001, &Bytes::new());
        assert_eq!(sessions.len(), MAX_SESSIONS);
        assert_eq!(
            sessions.judge(session(0, 2), b"a", 1_000_002),
            Verdict::Duplicate(Bytes::new())
        );
    }

    /// Client 1's first command was applied at index 2 and then forgotten.
    #[test]
    fn what_was_forgotten_is_not_taken_for_new() {
        let mut sessions = Sessions::default();
        for client in 0..MAX_SESSIONS as u128 + 2 {
            sessions.record(session(client, 1), b"a", client as u64 + 1, &Bytes::new());
        }
        let now = 1_000_000;
        assert_eq!(sessions.judge(session(1, 1), b"a", now), Verdict::Unknown);
        // So may any session have been that opens before index 2, or says nothing of the log.
        for opens_at in [0, 1, now, u64::MAX] {
            let verdict = sessions.judge(opening(opens_at, u64::MAX), b"a", now);
            assert_eq!(verdict, Verdict::Unknown, "opens at {opens_at}");
        }
        for opens_at in [2, 3, now - 1] {
            let verdict = sessions.judge(opening(opens_at, u64::MAX), b"a", now);
            assert_eq!(verdict, Verdict::New, "opens at {opens_at}");
        }
    }

    #[test]
    fn outcomes_are_bounded_together() {
        let mut sessions = Sessions::default();
        let outcome = Bytes::from(vec![7; MAX_KEPT_OUTCOME]);
        let fit = MAX_SESSION_BYTES / (MAX_KEPT_OUTCOME as u64 + SESSION_BYTES);
        for client in 0..fit * 2 {
            sessions.record(session(client.into(), 1), b"a", client * 2 + 1, &outcome);
            sessions.record(session(client.into(), 1), b"a", client * 2 + 2, &outcome);
            assert!(sessions.bytes <= MAX_SESSION_BYTES);
        }
        assert_eq!(sessions.len() as u64, fit);
    }
}
