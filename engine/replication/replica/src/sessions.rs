use crate::Session;
use bytes::Bytes;
use imbl::OrdMap;
use serde::{Deserialize, Serialize};

/// Most client sessions that are remembered; beyond it the one unused for longest is forgotten.
pub const MAX_SESSIONS: usize = 65_536;

/// Largest outcome that is kept for a retry. A larger one is applied once all the same; its retry is answered with
/// [`Verdict::OutcomeNotKept`].
pub const MAX_KEPT_OUTCOME: usize = 16 * 1024;

/// The table that makes retries harmless: part of the replicated state, changed by applied commands alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions {
    clients: OrdMap<u128, Remembered>,
    /// Last use (log index) to client: the order in which sessions are forgotten.
    by_use: OrdMap<u64, u128>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    sequence: u64,
    used_at: u64,
    outcome: Option<Bytes>,
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
    /// The session was forgotten, or never began (a session begins with sequence 1).
    Unknown,
}

impl Sessions {
    /// Judges a command before it is applied.
    pub fn judge(&self, session: Session) -> Verdict {
        match self.clients.get(&session.client) {
            None if session.sequence == 1 => Verdict::New,
            None => Verdict::Unknown,
            Some(known) if session.sequence > known.sequence => Verdict::New,
            Some(known) if session.sequence < known.sequence => Verdict::Stale,
            Some(known) => match &known.outcome {
                Some(outcome) => Verdict::Duplicate(outcome.clone()),
                None => Verdict::OutcomeNotKept,
            },
        }
    }

    /// Remembers what the command at log index `index` led to.
    pub fn record(&mut self, session: Session, index: u64, outcome: &Bytes) {
        let kept = (outcome.len() <= MAX_KEPT_OUTCOME).then(|| outcome.clone());
        let remembered = Remembered {
            sequence: session.sequence,
            used_at: index,
            outcome: kept,
        };
        if let Some(previous) = self.clients.insert(session.client, remembered) {
            assert!(
                previous.used_at < index,
                "a log index is applied once: {index}"
            );
            self.by_use.remove(&previous.used_at);
        }
        self.by_use.insert(index, session.client);
        if self.clients.len() > MAX_SESSIONS {
            let (oldest, client) = *self
                .by_use
                .get_min()
                .map(|(index, client)| (*index, *client))
                .as_ref()
                .expect("as many uses as clients");
            self.by_use.remove(&oldest);
            self.clients.remove(&client);
        }
        assert_eq!(self.clients.len(), self.by_use.len());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn session(client: u128, sequence: u64) -> Session {
        Session { client, sequence }
    }

    #[test]
    fn a_retry_gets_the_first_outcome() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.judge(session(1, 1)), Verdict::New);
        sessions.record(session(1, 1), 10, &Bytes::from_static(b"first"));
        assert_eq!(
            sessions.judge(session(1, 1)),
            Verdict::Duplicate(Bytes::from_static(b"first"))
        );
        assert_eq!(sessions.judge(session(1, 2)), Verdict::New);
        sessions.record(
            session(1, 2),
            11,
            &Bytes::from(vec![0; MAX_KEPT_OUTCOME + 1]),
        );
        assert_eq!(sessions.judge(session(1, 2)), Verdict::OutcomeNotKept);
        assert_eq!(sessions.judge(session(1, 1)), Verdict::Stale);
        assert_eq!(sessions.judge(session(2, 5)), Verdict::Unknown);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_least_recently_used() {
        let mut sessions = Sessions::default();
        for client in 0..MAX_SESSIONS as u128 {
            sessions.record(session(client, 1), client as u64 + 1, &Bytes::new());
        }
        sessions.record(session(0, 2), 1_000_000, &Bytes::new());
        sessions.record(session(u128::MAX, 1), 1_000_001, &Bytes::new());
        assert_eq!(sessions.len(), MAX_SESSIONS);
        assert_eq!(
            sessions.judge(session(0, 2)),
            Verdict::Duplicate(Bytes::new())
        );
        assert_eq!(
            sessions.judge(session(1, 1)),
            Verdict::New,
            "forgotten: a session may begin anew"
        );
    }
}
