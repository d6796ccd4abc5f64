//! What kernels remember of streams: both ends of every connection of the world.
//!
//! What the application does to an end is in [`endpoint`](super::endpoint), what packets do in
//! [`transport`](super::transport).

use bytes::Bytes;
use std::{collections::VecDeque, io::ErrorKind, net::SocketAddr, task::Waker};

/// Bytes that may be under way or unread in one direction of a stream.
pub(super) const WINDOW: u64 = 64 * 1024;
/// Largest payload of one segment.
pub(super) const SEGMENT: usize = 1460;
/// An acknowledgement or window update goes out at once when it has this much to tell.
pub(super) const ACK_AT_ONCE: u64 = WINDOW / 4;
pub(super) const MILLISECOND: u64 = 1_000_000;
pub(super) const SECOND: u64 = 1_000 * MILLISECOND;
/// Smaller news waits this long for a segment to ride on.
pub(super) const DELAYED_ACK: u64 = 40 * MILLISECOND;
/// First retransmission; doubles up to [`RETRANSMIT_MOST`].
pub(super) const RETRANSMIT_FIRST: u64 = 200 * MILLISECOND;
pub(super) const RETRANSMIT_MOST: u64 = 10 * SECOND;
/// First repetition of a connection request; doubles up to [`RETRANSMIT_MOST`].
pub(super) const CONNECT_RETRY: u64 = SECOND;
/// A stream or request of which nothing was acknowledged for so long ends in `TimedOut`.
pub(super) const GIVE_UP: u64 = 60 * SECOND;
/// A closed end waits so long for the other end's end.
pub(super) const LINGER: u64 = 60 * SECOND;
/// One read in so many is cut short at a random length.
pub(super) const SHORT_READ_ONE_IN: u64 = 8;
/// One write in so many is cut short at a random length.
pub(super) const SHORT_WRITE_ONE_IN: u64 = 16;

/// Names a connection; stale after both ends have let go of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConnectionKey {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Client = 0,
    Server = 1,
}

impl End {
    pub(super) const BOTH: [End; 2] = [End::Client, End::Server];

    pub(super) fn other(self) -> End {
        match self {
            End::Client => End::Server,
            End::Server => End::Client,
        }
    }
}

/// Packets without payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    /// Asks for a connection.
    Request,
    /// Grants it.
    Grant,
    /// Ends it: there is no such connection here (any more).
    Reset,
    /// Asks for an acknowledgement.
    Probe,
}

/// What one end knows of what it has received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Receipt {
    /// Everything before this arrived in order.
    pub(super) arrived: u64,
    /// The sender may send up to here.
    pub(super) edge: u64,
    /// Something beyond `arrived` is there, but not `arrived` itself.
    pub(super) hole: bool,
}

/// Whether an end's kernel knows the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// Not yet, not any more, or its machine lost power.
    Absent,
    /// The request is out.
    Connecting,
    /// The application has it, or it waits to be accepted.
    Held,
    /// The application let go; the kernel sees the last bytes off.
    Orphan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flight {
    Flying,
    Lost,
    Arrived,
}

pub(super) struct Segment {
    pub(super) payload: Bytes,
    pub(super) fin: bool,
    pub(super) flight: Flight,
    pub(super) receipt: Receipt,
}

/// One end.
pub(super) struct Side {
    pub(super) node: u32,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) presence: Presence,
    /// Was ever present; an end is never opened twice.
    pub(super) opened: bool,
    /// An application's object (perhaps of a dead process) refers to this end.
    pub(super) handle: bool,
    pub(super) error: Option<ErrorKind>,

    pub(super) wire: VecDeque<Segment>,
    /// Number of the segment at the front of `wire`.
    pub(super) wire_first: u64,
    pub(super) sent: u64,
    pub(super) acked: u64,
    pub(super) edge: u64,
    pub(super) fin_sent: bool,
    pub(super) writer: Option<Waker>,
    /// When `acked` last moved, or when something was first outstanding.
    pub(super) progress_at: u64,
    /// When the far end was last heard of.
    pub(super) heard_at: u64,
    pub(super) retries: u32,
    pub(super) timer: bool,

    pub(super) received: VecDeque<Bytes>,
    pub(super) unread: u64,
    pub(super) arrived: u64,
    pub(super) fin_received: bool,
    pub(super) reader: Option<Waker>,
    pub(super) told: Receipt,
    pub(super) ack_timer: bool,
    /// How many random choices this end has made.
    pub(super) draws: u64,
}

impl Side {
    pub(super) fn new(
        node: u32,
        local: SocketAddr,
        remote: SocketAddr,
        presence: Presence,
        now: u64,
    ) -> Self {
        Side {
            node,
            local,
            remote,
            presence,
            opened: presence != Presence::Absent,
            handle: false,
            error: None,
            wire: VecDeque::new(),
            wire_first: 0,
            sent: 0,
            acked: 0,
            edge: WINDOW,
            fin_sent: false,
            writer: None,
            progress_at: now,
            heard_at: now,
            retries: 0,
            timer: false,
            received: VecDeque::new(),
            unread: 0,
            arrived: 0,
            fin_received: false,
            reader: None,
            told: Receipt {
                arrived: 0,
                edge: WINDOW,
                hole: false,
            },
            ack_timer: false,
            draws: 0,
        }
    }

    /// The kernel answers for this end.
    pub(super) fn present(&self) -> bool {
        self.presence != Presence::Absent
    }

    pub(super) fn receipt(&self) -> Receipt {
        Receipt {
            arrived: self.arrived,
            edge: self.arrived - self.unread + WINDOW,
            hole: false,
        }
    }

    /// How long after `progress_at` or the last attempt to try again.
    pub(super) fn patience(&self) -> u64 {
        let first = match self.presence {
            Presence::Connecting => CONNECT_RETRY,
            _ => RETRANSMIT_FIRST,
        };
        (first << self.retries.min(16)).min(RETRANSMIT_MOST)
    }

    /// Something was sent and not acknowledged.
    pub(super) fn outstanding(&self) -> bool {
        self.acked < self.sent
    }
}

pub(super) struct Connection {
    /// The client's node and how many connections that node had opened: what others do does not change it.
    pub(super) serial: u64,
    pub(super) sides: [Side; 2],
}

/// All connections of the world.
pub(super) struct Connections {
    pub(super) slots: Vec<(u32, Option<Box<Connection>>)>,
    pub(super) free: Vec<u32>,
}

impl Connections {
    pub(super) fn new() -> Self {
        Connections {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(super) fn insert(&mut self, serial: u64, sides: [Side; 2]) -> ConnectionKey {
        let connection = Some(Box::new(Connection { serial, sides }));
        match self.free.pop() {
            Some(slot) => {
                let place = &mut self.slots[slot as usize];
                place.1 = connection;
                ConnectionKey {
                    slot,
                    generation: place.0,
                }
            }
            None => {
                self.slots.push((0, connection));
                ConnectionKey {
                    slot: u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 connections"),
                    generation: 0,
                }
            }
        }
    }

    pub(super) fn get(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        let (generation, connection) = self.slots.get_mut(key.slot as usize)?;
        if *generation != key.generation {
            return None;
        }
        connection.as_deref_mut()
    }

    pub(super) fn side(&mut self, key: ConnectionKey, end: End) -> Option<&mut Side> {
        Some(&mut self.get(key)?.sides[end as usize])
    }

    /// Connections that are not yet freed.
    pub(super) fn live(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The ends on one node, in a fixed order.
    pub(super) fn on_node(&self, node: u32) -> Vec<(ConnectionKey, End)> {
        let mut found = Vec::new();
        for (slot, (generation, connection)) in self.slots.iter().enumerate() {
            let Some(connection) = connection else {
                continue;
            };
            let key = ConnectionKey {
                slot: slot as u32,
                generation: *generation,
            };
            for end in End::BOTH {
                let side = &connection.sides[end as usize];
                if side.node == node && side.present() {
                    found.push((key, end));
                }
            }
        }
        found
    }
}
