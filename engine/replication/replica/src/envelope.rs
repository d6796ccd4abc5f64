//! What the log carries: a client's payload in a fixed header.
//!
//! ```text
//! byte  0        version (1)
//!       1        flags: bit 0 = belongs to a session, bit 1 = for the machine on the disk; not both
//!       2..10    time: the leader's wall clock, nanoseconds since the epoch, little endian like everything here
//!      10..18    origin: the incarnation of the replica that took the request
//!      18..26    request: its number there
//!      26..42    session: the client's id (absent without bit 0)
//!      42..50    sequence: the client's number for the command (absent without bit 0)
//!      rest      payload
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;
const HAS_SESSION: u8 = 1;
const ON_DISK: u8 = 2;
const SHORT: usize = 26;
const LONG: usize = 50;

/// Most bytes that an envelope adds to a payload.
pub const ENVELOPE_BYTES: usize = LONG;

/// A client's exactly-once ticket (Ongaro's dissertation, §6.3): a command with the same session and sequence is
/// applied once, however often it is proposed. A client has one command of a session under way at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Session {
    /// The client. The high half says where the session opens: an index of the log that the client knew before it
    /// proposed anything in the session, 0 when it knew none. The low half is drawn at random, once.
    pub client: u128,
    /// The command's number within the session: 1, 2, 3, ...
    pub sequence: u64,
}

impl Session {
    /// The index of the log at which the session opens: all of its commands come after it.
    pub fn opens_at(&self) -> u64 {
        (self.client >> 64) as u64
    }
}

/// A request's name, unique over all replicas and incarnations: who took it, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId {
    /// The incarnation of the replica that took it: drawn at random when that replica started.
    pub origin: u64,
    /// Its number there.
    pub number: u64,
}

/// Which of a replica's two state machines a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The [`StateMachine`](crate::StateMachine) in memory, perhaps with a client's ticket.
    Memory(Option<Session>),
    /// The [`DiskMachine`](crate::DiskMachine), which keeps its own memory of what was asked twice.
    Disk,
}

impl From<Option<Session>> for Target {
    fn from(session: Option<Session>) -> Self {
        Target::Memory(session)
    }
}

/// A decoded envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The leader's wall clock at proposal, nanoseconds since the epoch.
    pub time: u64,
    /// Who waits for the outcome.
    pub request: RequestId,
    /// For whom it is.
    pub target: Target,
    /// What the state machine is given.
    pub payload: Bytes,
}

impl Envelope {
    /// The bytes of a log entry.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(LONG + self.payload.len());
        out.put_u8(VERSION);
        out.put_u8(match self.target {
            Target::Memory(None) => 0,
            Target::Memory(Some(_)) => HAS_SESSION,
            Target::Disk => ON_DISK,
        });
        out.put_u64_le(self.time);
        out.put_u64_le(self.request.origin);
        out.put_u64_le(self.request.number);
        if let Target::Memory(Some(session)) = self.target {
            out.put_u128_le(session.client);
            out.put_u64_le(session.sequence);
        }
        out.put_slice(&self.payload);
        out.freeze()
    }

    /// Reads a log entry; `None` when it is no envelope of this version.
    pub fn decode(bytes: &Bytes) -> Option<Envelope> {
        if bytes.len() < SHORT || bytes[0] != VERSION {
            return None;
        }
        let word =
            |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let (target, header) = match bytes[1] {
            0 => (Target::Memory(None), SHORT),
            ON_DISK => (Target::Disk, SHORT),
            HAS_SESSION if bytes.len() >= LONG => {
                let client = u128::from_le_bytes(bytes[26..42].try_into().expect("sixteen bytes"));
                let sequence = word(42);
                (Target::Memory(Some(Session { client, sequence })), LONG)
            }
            _ => return None,
        };
        Some(Envelope {
            time: word(2),
            request: RequestId {
                origin: word(10),
                number: word(18),
            },
            target,
            payload: bytes.slice(header..),
        })
    }

    /// `bytes` with its time replaced: the leader stamps what a follower passed on. `None` when it is no envelope.
    pub fn stamp(bytes: &Bytes, time: u64) -> Option<Bytes> {
        if bytes.len() < SHORT || bytes[0] != VERSION {
            return None;
        }
        let mut out = BytesMut::from(&bytes[..]);
        out[2..10].copy_from_slice(&time.to_le_bytes());
        Some(out.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(target: Target) {
        let envelope = Envelope {
            time: 7,
            request: RequestId {
                origin: 1,
                number: 2,
            },
            target,
            payload: Bytes::from_static(b"payload"),
        };
        let bytes = envelope.encode();
        assert_eq!(Envelope::decode(&bytes), Some(envelope.clone()));
        let stamped = Envelope::stamp(&bytes, 99).expect("an envelope");
        assert_eq!(
            Envelope::decode(&stamped),
            Some(Envelope {
                time: 99,
                ..envelope
            })
        );
    }

    #[test]
    fn round_trips() {
        check(Target::Memory(None));
        check(Target::Memory(Some(Session {
            client: u128::MAX - 3,
            sequence: 12,
        })));
        check(Target::Disk);
    }

    #[test]
    fn refuses_what_it_did_not_write() {
        for len in 0..60 {
            let zeros = Bytes::from(vec![0; len]);
            assert_eq!(Envelope::decode(&zeros), None);
        }
        let mut cut = vec![0; 30];
        cut[0] = VERSION;
        cut[1] = HAS_SESSION;
        assert_eq!(
            Envelope::decode(&Bytes::from(cut)),
            None,
            "a session header cut short"
        );
    }
}
