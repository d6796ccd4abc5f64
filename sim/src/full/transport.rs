//! Streams as a kernel sees them: windows, acknowledgements, retransmission, reset, silence.
//!
//! A segment that the network loses stays in its sender's `wire` queue and is sent again, at once when the receiver
//! reports a hole, else after a timeout that doubles; so bytes arrive in order or the stream ends in an error, and
//! never in between. What each end *knows* travels: acknowledgements and window edges ride on segments and on pure
//! acknowledgements, and a lost one is simply not known. Only the payload of what has arrived is not kept twice.

use super::{
    connection::{
        ACK_AT_ONCE, ConnectionKey, Control, DELAYED_ACK, End, Flight, GIVE_UP, LINGER, Presence,
        RETRANSMIT_FIRST, Receipt, Segment, WINDOW,
    },
    core::{Core, Event, Packet},
    net::Door,
};
use crate::draw::bytes_hash;
use bytes::Bytes;
use std::io::ErrorKind;

/// Sending.
impl Core {
    pub(super) fn send_segment(&mut self, key: ConnectionKey, end: End, payload: Bytes, fin: bool) {
        let now = self.now;
        let side = self.held_side(key, end);
        assert!(!side.fin_sent, "nothing follows the end");
        if !side.outstanding() {
            side.progress_at = now;
        }
        side.sent += payload.len() as u64 + u64::from(fin);
        side.fin_sent = fin;
        side.wire.push_back(Segment {
            payload,
            fin,
            flight: Flight::Lost,
            receipt: Receipt::default(),
        });
        let index = side.wire.len() - 1;
        self.launch(key, end, index);
        self.arm_timer(key, end);
    }

    /// Gives the segment at `index` of the wire to the network.
    fn launch(&mut self, key: ConnectionKey, from: End, index: usize) {
        let connection = self
            .connections
            .get(key)
            .expect("only live connections send");
        let to = connection.sides[from.other() as usize].node;
        let side = &mut connection.sides[from as usize];
        let receipt = side.receipt();
        side.told = receipt;
        let number = side.wire_first + index as u64;
        let node = side.node;
        let segment = &mut side.wire[index];
        segment.receipt = receipt;
        let length = segment.payload.len();
        let arrives = self.send_packet(node, to, length, Packet::Segment { key, from, number });
        let segment = &mut self.held_side(key, from).wire[index];
        segment.flight = if arrives {
            Flight::Flying
        } else {
            Flight::Lost
        };
    }

    pub(super) fn send_receipt(&mut self, key: ConnectionKey, from: End, hole: bool) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let to = connection.sides[from.other() as usize].node;
        let side = &mut connection.sides[from as usize];
        let receipt = Receipt {
            hole,
            ..side.receipt()
        };
        side.told = receipt;
        let node = side.node;
        self.send_packet(node, to, 0, Packet::Receipt { key, from, receipt });
    }

    pub(super) fn send_control(&mut self, key: ConnectionKey, from: End, control: Control) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let node = connection.sides[from as usize].node;
        let to = connection.sides[from.other() as usize].node;
        self.send_packet(node, to, 0, Packet::Control { key, from, control });
    }

    pub(super) fn arm_timer(&mut self, key: ConnectionKey, end: End) {
        let now = self.now;
        let side = self.held_side(key, end);
        if !side.timer {
            side.timer = true;
            let at = now + side.patience();
            self.agenda.insert(at, Event::Retransmit { key, end });
        }
    }

    /// The retransmission timer rang. One timer an end, never moved: what it finds decides what it does.
    pub(super) fn retransmit(&mut self, key: ConnectionKey, end: End) {
        let now = self.now;
        let Some(side) = self.connections.side(key, end) else {
            return;
        };
        side.timer = false;
        match side.presence {
            Presence::Absent => return,
            Presence::Connecting => return self.repeat_request(key),
            Presence::Orphan if !side.outstanding() => {
                if now >= side.progress_at + LINGER {
                    side.presence = Presence::Absent;
                    self.settle(key);
                } else {
                    self.arm_timer(key, end);
                }
                return;
            }
            Presence::Held if !side.outstanding() && side.writer.is_none() => return,
            Presence::Held | Presence::Orphan => {}
        }
        let last_news = match side.outstanding() {
            true => side.progress_at,
            false => side.heard_at,
        };
        if side.retries == 0 && now < last_news + RETRANSMIT_FIRST {
            side.timer = true;
            let at = last_news + RETRANSMIT_FIRST;
            self.agenda.insert(at, Event::Retransmit { key, end });
            return;
        }
        if now >= last_news + GIVE_UP {
            return self.break_off(key, end, ErrorKind::TimedOut);
        }
        side.retries += 1;
        if !self.resend_lost(key, end) {
            self.send_control(key, end, Control::Probe);
        }
        self.arm_timer(key, end);
    }

    fn repeat_request(&mut self, key: ConnectionKey) {
        let now = self.now;
        let side = self.held_side(key, End::Client);
        if now >= side.progress_at + GIVE_UP {
            return self.break_off(key, End::Client, ErrorKind::TimedOut);
        }
        side.retries += 1;
        self.send_control(key, End::Client, Control::Request);
        self.arm_timer(key, End::Client);
    }

    /// Sends again what the network lost; false when it lost nothing.
    fn resend_lost(&mut self, key: ConnectionKey, end: End) -> bool {
        let mut any = false;
        for index in 0..self.held_side(key, end).wire.len() {
            if self.held_side(key, end).wire[index].flight == Flight::Lost {
                any = true;
                self.counts.retransmissions += 1;
                self.launch(key, end, index);
            }
        }
        any
    }
}

/// Receiving.
impl Core {
    /// A packet for an end that its kernel does not know: a reset goes back if there is a kernel to send it.
    fn answer_unknown(&mut self, key: ConnectionKey, at: End) {
        let Some(side) = self.connections.side(key, at) else {
            return;
        };
        let node = side.node;
        if self.kernel_runs(node) {
            self.send_control(key, at, Control::Reset);
        }
    }

    pub(super) fn segment_arrived(&mut self, key: ConnectionKey, from: End, number: u64) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let serial = connection.serial;
        let sender = &mut connection.sides[from as usize];
        let at = from.other();
        let Some(segment) = number
            .checked_sub(sender.wire_first)
            .and_then(|index| sender.wire.get_mut(index as usize))
            .filter(|segment| segment.flight != Flight::Arrived)
        else {
            // A copy of what is here already: the sender has not learned it.
            if connection.sides[at as usize].present() {
                self.send_receipt(key, at, false);
            }
            return;
        };
        segment.flight = Flight::Arrived;
        let receipt = segment.receipt;
        let (hash, has_bytes) = (bytes_hash(&segment.payload), !segment.payload.is_empty());
        let receiver = &connection.sides[at as usize];
        let (node, presence) = (receiver.node, receiver.presence);
        self.trace_segment(node, serial, from, number, hash);
        self.counts.segments += u64::from(presence != Presence::Absent);
        match presence {
            Presence::Absent => return self.answer_unknown(key, at),
            // The grant was overtaken or lost; the segment says as much.
            Presence::Connecting => self.granted(key),
            // The application will never read this.
            Presence::Orphan if has_bytes => {
                self.abandon(key, at);
                self.settle(key);
                return;
            }
            Presence::Held | Presence::Orphan => {}
        }
        self.receipt_known(key, at, receipt);
        self.deliver(key, from);
    }

    /// Moves what has arrived in order from the sender's wire to the receiver.
    fn deliver(&mut self, key: ConnectionKey, from: End) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let at = from.other();
        let [client, server] = &mut connection.sides;
        let (sender, receiver) = match from {
            End::Client => (client, server),
            End::Server => (server, client),
        };
        let before = receiver.arrived;
        while let Some(front) = sender.wire.front() {
            if front.flight != Flight::Arrived {
                break;
            }
            let segment = sender.wire.pop_front().expect("it was just seen");
            sender.wire_first += 1;
            receiver.arrived += segment.payload.len() as u64;
            if !segment.payload.is_empty() {
                receiver.unread += segment.payload.len() as u64;
                receiver.received.push_back(segment.payload);
            }
            if segment.fin {
                receiver.arrived += 1;
                receiver.fin_received = true;
            }
        }
        if receiver.arrived == before {
            return self.send_receipt(key, at, true);
        }
        assert!(receiver.unread <= WINDOW, "the sender respects the window");
        let reader = receiver.reader.take();
        let news = receiver.arrived - receiver.told.arrived;
        let urgent = news >= ACK_AT_ONCE || receiver.fin_received;
        let delay = !urgent && !receiver.ack_timer;
        receiver.ack_timer |= delay;
        self.effects.wake(reader);
        if urgent {
            self.send_receipt(key, at, false);
            self.bury_if_done(key, at);
        }
        if delay {
            let event = Event::DelayedReceipt { key, end: at };
            self.agenda.insert(self.now + DELAYED_ACK, event);
        }
    }

    pub(super) fn delayed_receipt(&mut self, key: ConnectionKey, end: End) {
        let Some(side) = self.connections.side(key, end) else {
            return;
        };
        side.ack_timer = false;
        if side.present() && side.told.arrived < side.arrived {
            self.send_receipt(key, end, false);
        }
    }

    pub(super) fn receipt_arrived(&mut self, key: ConnectionKey, from: End, receipt: Receipt) {
        let at = from.other();
        let Some(side) = self.connections.side(key, at) else {
            return;
        };
        match side.presence {
            Presence::Absent => self.answer_unknown(key, at),
            Presence::Connecting => {}
            Presence::Held | Presence::Orphan => self.receipt_known(key, at, receipt),
        }
    }

    /// `end` learns what the far end has received.
    fn receipt_known(&mut self, key: ConnectionKey, end: End, receipt: Receipt) {
        let now = self.now;
        let side = self.held_side(key, end);
        side.heard_at = now;
        if receipt.arrived > side.acked {
            assert!(receipt.arrived <= side.sent, "nobody receives the unsent");
            side.acked = receipt.arrived;
            side.progress_at = now;
            side.retries = 0;
        } else if !side.outstanding() {
            side.retries = 0;
        }
        side.edge = side.edge.max(receipt.edge);
        let writer = match side.edge > side.sent {
            true => side.writer.take(),
            false => None,
        };
        self.effects.wake(writer);
        if receipt.hole {
            self.resend_lost(key, end);
        }
        self.bury_if_done(key, end);
    }

    pub(super) fn control_arrived(&mut self, key: ConnectionKey, from: End, control: Control) {
        let at = from.other();
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let serial = connection.serial;
        let side = &connection.sides[at as usize];
        let (node, presence) = (side.node, side.presence);
        self.trace_control(node, serial, from, control);
        match (control, presence) {
            (Control::Request, Presence::Absent) => self.requested(key),
            (Control::Request, _) => self.send_control(key, End::Server, Control::Grant),
            (Control::Grant, Presence::Connecting) => self.granted(key),
            (Control::Grant | Control::Probe, Presence::Absent) => self.answer_unknown(key, at),
            (Control::Grant, _) | (Control::Probe, Presence::Connecting) => {}
            (Control::Probe, _) => self.send_receipt(key, at, false),
            (Control::Reset, Presence::Absent) => {}
            (Control::Reset, Presence::Connecting) => {
                self.break_off(key, at, ErrorKind::ConnectionRefused);
            }
            (Control::Reset, _) => self.break_off(key, at, ErrorKind::ConnectionReset),
        }
    }

    fn granted(&mut self, key: ConnectionKey) {
        let now = self.now;
        let side = self.held_side(key, End::Client);
        side.presence = Presence::Held;
        side.retries = 0;
        side.heard_at = now;
        let waker = side.reader.take();
        self.effects.wake(waker);
    }

    /// A connection request reached a machine.
    fn requested(&mut self, key: ConnectionKey) {
        let connection = self.connections.get(key).expect("the caller found it");
        if connection.sides[End::Client as usize].presence != Presence::Connecting {
            // The client gave up meanwhile.
            return self.answer_unknown(key, End::Server);
        }
        let side = &connection.sides[End::Server as usize];
        if side.opened {
            return self.answer_unknown(key, End::Server);
        }
        let (node, local) = (side.node, side.local);
        if !self.kernel_runs(node) {
            return;
        }
        match self.enqueue_connection(node, local, key) {
            Door::Open => {
                let now = self.now;
                let side = self.held_side(key, End::Server);
                side.presence = Presence::Held;
                side.opened = true;
                side.heard_at = now;
                self.send_control(key, End::Server, Control::Grant);
            }
            Door::Full => {}
            Door::Closed => self.send_control(key, End::Server, Control::Reset),
        }
    }
}
