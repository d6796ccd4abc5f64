//! Streams as applications and machines handle them: open, read, write, close, die.

use super::{
    connection::{
        ACK_AT_ONCE, ConnectionKey, Control, End, Presence, SEGMENT, SHORT_READ_ONE_IN,
        SHORT_WRITE_ONE_IN, Side,
    },
    core::Core,
};
use crate::draw::{self, Domain};
use bytes::{Buf, Bytes};
use std::{
    io::{self, ErrorKind, IoSlice},
    net::SocketAddr,
    task::{Context, Poll},
};
use tokio::io::ReadBuf;

/// What the application sees of a connection.
impl Core {
    /// Sends a connection request; the caller becomes the client end's handle.
    pub(super) fn connect(
        &mut self,
        node: u32,
        local: SocketAddr,
        target: u32,
        remote: SocketAddr,
    ) -> ConnectionKey {
        let mut client = Side::new(node, local, remote, Presence::Connecting, self.now);
        client.handle = true;
        let server = Side::new(target, remote, local, Presence::Absent, self.now);
        let opener = &mut self.nodes[node as usize];
        opener.connections += 1;
        let serial = u64::from(node) << 40 | opener.connections;
        let key = self.connections.insert(serial, [client, server]);
        self.send_control(key, End::Client, Control::Request);
        self.arm_timer(key, End::Client);
        key
    }

    /// Whether the connection has been granted or refused.
    pub(super) fn poll_connected(
        &mut self,
        key: ConnectionKey,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let side = self
            .connections
            .side(key, End::Client)
            .expect("a handle keeps its connection");
        if let Some(kind) = side.error {
            return Poll::Ready(Err(kind.into()));
        }
        if side.presence == Presence::Held {
            return Poll::Ready(Ok(()));
        }
        self.effects.park(&mut side.reader, cx);
        Poll::Pending
    }

    /// An accepted connection gets its handle; `None` when it has ended meanwhile.
    pub(super) fn adopt(&mut self, key: ConnectionKey) -> Option<(SocketAddr, SocketAddr)> {
        let side = self.connections.side(key, End::Server)?;
        side.handle = true;
        Some((side.local, side.remote))
    }

    pub(super) fn poll_read(
        &mut self,
        key: ConnectionKey,
        end: End,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let seed = self.seed;
        let connection = self
            .connections
            .get(key)
            .expect("a handle keeps its connection");
        let serial = connection.serial;
        let side = &mut connection.sides[end as usize];
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if side.unread == 0 {
            // Once the end has been received it stays received, whatever comes after.
            if side.fin_received {
                return Poll::Ready(Ok(()));
            }
            if let Some(kind) = side.error {
                return Poll::Ready(Err(kind.into()));
            }
            self.effects.park(&mut side.reader, cx);
            return Poll::Pending;
        }
        let mut room = buffer.remaining().min(side.unread as usize);
        room = shorten(seed, serial, end, &mut side.draws, room, SHORT_READ_ONE_IN);
        side.unread -= room as u64;
        while room > 0 {
            let chunk = side
                .received
                .front_mut()
                .expect("unread bytes are in received");
            let taken = room.min(chunk.len());
            buffer.put_slice(&chunk[..taken]);
            room -= taken;
            if taken == chunk.len() {
                side.received.pop_front();
            } else {
                chunk.advance(taken);
            }
        }
        if side.present() && side.receipt().edge - side.told.edge >= ACK_AT_ONCE {
            self.send_receipt(key, end, false);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes from `slices`, in order, as much as the window admits.
    pub(super) fn poll_write(
        &mut self,
        key: ConnectionKey,
        end: End,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let seed = self.seed;
        let connection = self
            .connections
            .get(key)
            .expect("a handle keeps its connection");
        let serial = connection.serial;
        let side = &mut connection.sides[end as usize];
        if let Some(kind) = side.error {
            return Poll::Ready(Err(kind.into()));
        }
        if side.fin_sent {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        if offered == 0 {
            return Poll::Ready(Ok(0));
        }
        let room = side.edge - side.sent;
        if room == 0 {
            if side.writer.is_none() && !side.outstanding() {
                side.heard_at = self.now;
            }
            self.effects.park(&mut side.writer, cx);
            // A lost window update is found by probing.
            self.arm_timer(key, end);
            return Poll::Pending;
        }
        let length = shorten(
            seed,
            serial,
            end,
            &mut side.draws,
            offered.min(room as usize),
            SHORT_WRITE_ONE_IN,
        );
        let mut rest = slices.iter().flat_map(|slice| slice.chunks(SEGMENT));
        let mut left = length;
        let mut part: &[u8] = &[];
        while left > 0 {
            let size = left.min(SEGMENT);
            let mut payload = Vec::with_capacity(size);
            while payload.len() < size {
                if part.is_empty() {
                    part = rest.next().expect("length is at most what was offered");
                }
                let (now, later) = part.split_at(part.len().min(size - payload.len()));
                payload.extend_from_slice(now);
                part = later;
            }
            left -= size;
            self.send_segment(key, end, Bytes::from(payload), false);
        }
        Poll::Ready(Ok(length))
    }

    pub(super) fn shutdown(&mut self, key: ConnectionKey, end: End) -> io::Result<()> {
        let side = self.held_side(key, end);
        if let Some(kind) = side.error {
            return Err(kind.into());
        }
        if !side.fin_sent {
            self.send_segment(key, end, Bytes::new(), true);
        }
        Ok(())
    }

    /// The process that held the handle is dead or never had one to close: only the bookkeeping is done.
    pub(super) fn forget_handle(&mut self, key: ConnectionKey, end: End) {
        self.held_side(key, end).handle = false;
        self.settle(key);
    }

    /// The application lets go.
    pub(super) fn release_handle(&mut self, key: ConnectionKey, end: End) {
        let side = self.held_side(key, end);
        side.handle = false;
        match side.presence {
            Presence::Held => self.close(key, end),
            Presence::Connecting => side.presence = Presence::Absent,
            Presence::Absent | Presence::Orphan => {}
        }
        self.settle(key);
    }

    pub(super) fn held_side(&mut self, key: ConnectionKey, end: End) -> &mut Side {
        self.connections
            .side(key, end)
            .expect("a handle keeps its connection")
    }
}

/// A random choice of one end of one connection.
fn draw(seed: u64, serial: u64, end: End, draws: &mut u64) -> u64 {
    *draws += 1;
    draw::draw(seed, Domain::Segment, serial * 2 + end as u64, *draws)
}

/// Cuts `length` at a random point, but only one time in `one_in`.
fn shorten(seed: u64, serial: u64, end: End, draws: &mut u64, length: usize, one_in: u64) -> usize {
    let chosen = draw(seed, serial, end, draws);
    match chosen % one_in {
        0 => 1 + (chosen / one_in) as usize % length,
        _ => length,
    }
}

/// What machines do to connections.
impl Core {
    /// The process on `node` is gone, its kernel is not: unread bytes or a coin's fall reset a connection, else its
    /// last bytes and an end are sent, both as kernels do.
    pub(super) fn process_died(&mut self, node: u32) {
        for (key, end) in self.connections.on_node(node) {
            let seed = self.seed;
            let Some(connection) = self.connections.get(key) else {
                continue;
            };
            let serial = connection.serial;
            let side = &mut connection.sides[end as usize];
            match side.presence {
                Presence::Connecting => side.presence = Presence::Absent,
                Presence::Held if draw(seed, serial, end, &mut side.draws).is_multiple_of(2) => {
                    self.abandon(key, end);
                }
                Presence::Held => self.close(key, end),
                Presence::Absent | Presence::Orphan => {}
            }
            self.settle(key);
        }
    }

    /// `node` lost power: its ends are gone without a word. What is under way arrives all the same.
    pub(super) fn power_lost(&mut self, node: u32) {
        for (key, end) in self.connections.on_node(node) {
            if let Some(side) = self.connections.side(key, end) {
                side.presence = Presence::Absent;
            }
            self.settle(key);
        }
    }

    /// A connection that waited to be accepted is refused after all.
    pub(super) fn abandon_unaccepted(&mut self, key: ConnectionKey) {
        let waiting = self
            .connections
            .side(key, End::Server)
            .is_some_and(|side| side.presence == Presence::Held && !side.handle);
        if waiting {
            self.abandon(key, End::Server);
            self.settle(key);
        }
    }

    /// Ends a held connection in the normal way; a reset when received bytes were never read.
    pub(super) fn close(&mut self, key: ConnectionKey, end: End) {
        let now = self.now;
        let side = self.held_side(key, end);
        if side.unread > 0 {
            self.abandon(key, end);
            return;
        }
        side.presence = Presence::Orphan;
        side.progress_at = now;
        if !side.fin_sent {
            self.send_segment(key, end, Bytes::new(), true);
        }
        self.arm_timer(key, end);
        self.bury_if_done(key, end);
    }

    /// Ends a connection with a reset.
    pub(super) fn abandon(&mut self, key: ConnectionKey, end: End) {
        self.send_control(key, end, Control::Reset);
        let side = self.held_side(key, end);
        side.presence = Presence::Absent;
    }

    /// The far end is gone or silent for too long.
    pub(super) fn break_off(&mut self, key: ConnectionKey, end: End, kind: ErrorKind) {
        let side = self.held_side(key, end);
        side.presence = Presence::Absent;
        side.error = Some(kind);
        let (reader, writer) = (side.reader.take(), side.writer.take());
        self.effects.wake(reader);
        self.effects.wake(writer);
        self.settle(key);
    }

    /// An orphan whose end and whose far end's end have arrived is done.
    pub(super) fn bury_if_done(&mut self, key: ConnectionKey, end: End) {
        let side = self.held_side(key, end);
        if side.presence == Presence::Orphan && !side.outstanding() && side.fin_received {
            side.presence = Presence::Absent;
            self.settle(key);
        }
    }

    /// Frees a connection that nobody knows any more.
    pub(super) fn settle(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        if connection
            .sides
            .iter()
            .any(|side| side.handle || side.present())
        {
            return;
        }
        let place = &mut self.connections.slots[key.slot as usize];
        place.0 = place.0.wrapping_add(1);
        let connection = place.1.take();
        self.connections.free.push(key.slot);
        for side in connection.into_iter().flat_map(|c| c.sides) {
            self.effects.bury(side.reader);
            self.effects.bury(side.writer);
        }
    }
}
