//! Ports, listeners, datagram sockets, and the way of a packet over the links.

use super::{
    connection::ConnectionKey,
    core::{Core, Event, Packet, next_tick},
};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    task::{Context, Poll, Waker},
};

/// The node of an address that nobody has: packets to it vanish.
pub(super) const NOWHERE: u32 = u32::MAX;
/// Connections that wait to be accepted by one listener; further requests are dropped, as kernels do.
pub(super) const BACKLOG: usize = 128;
/// Datagrams that wait in one socket; further ones are dropped, as kernels do.
pub(super) const SOCKET_QUEUE: usize = 1024;
/// The largest datagram, bytes of payload.
pub(super) const LARGEST_DATAGRAM: usize = 65_507;
/// Bytes of headers that every packet adds to its payload.
const HEADERS: usize = 40;
/// Ports that are given out when none is asked for.
const EPHEMERAL: std::ops::Range<u16> = 32_768..61_000;

/// A port that accepts streams.
pub(super) struct ListenPort {
    address: SocketAddr,
    backlog: VecDeque<ConnectionKey>,
    waker: Option<Waker>,
}

/// A port that receives datagrams.
pub(super) struct DatagramPort {
    address: SocketAddr,
    queue: VecDeque<(Bytes, SocketAddr)>,
    waker: Option<Waker>,
}

/// Whether a connection request may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Open,
    Full,
    Closed,
}

/// A datagram under way.
#[derive(Clone)]
pub(super) struct Parcel {
    pub(super) node: u32,
    from: SocketAddr,
    to: SocketAddr,
    payload: Bytes,
}

/// Whether a socket bound to `bound` gets what is sent to `to`.
fn hears(bound: SocketAddr, to: SocketAddr) -> bool {
    bound.ip().is_unspecified() || bound.ip() == to.ip()
}

impl Core {
    /// The node that `ip` means when node `from` says it.
    fn node_at(&self, from: u32, ip: IpAddr) -> u32 {
        if ip.is_loopback() || ip.is_unspecified() {
            return from;
        }
        self.addresses.get(&ip).copied().unwrap_or(NOWHERE)
    }

    /// The address that node `from` has when it talks to `to`.
    fn source_ip(&self, from: u32, to: IpAddr) -> IpAddr {
        match to.is_loopback() {
            true => to,
            false if to.is_ipv6() => self.nodes[from as usize].ip6,
            false => self.nodes[from as usize].ip,
        }
    }

    fn check_bindable(&self, node: u32, ip: IpAddr) -> io::Result<()> {
        let node = &self.nodes[node as usize];
        match ip == node.ip || ip == node.ip6 || ip.is_unspecified() || ip.is_loopback() {
            true => Ok(()),
            false => Err(ErrorKind::AddrNotAvailable.into()),
        }
    }

    /// The next ephemeral port of `node` for which `taken` is false.
    fn free_port(
        &mut self,
        node: u32,
        taken: impl Fn(&super::core::Node, u16) -> bool,
    ) -> io::Result<u16> {
        let node = &mut self.nodes[node as usize];
        for _ in EPHEMERAL {
            let port = node.next_port;
            node.next_port = match port + 1 {
                next if next < EPHEMERAL.end => next,
                _ => EPHEMERAL.start,
            };
            if !taken(node, port) {
                return Ok(port);
            }
        }
        Err(ErrorKind::AddrInUse.into())
    }

    pub(super) const FIRST_EPHEMERAL: u16 = EPHEMERAL.start;

    pub(super) fn listen(&mut self, node: u32, mut address: SocketAddr) -> io::Result<SocketAddr> {
        self.check_bindable(node, address.ip())?;
        if address.port() == 0 {
            let port = self.free_port(node, |node, port| node.listeners.contains_key(&port))?;
            address.set_port(port);
        }
        let listeners = &mut self.nodes[node as usize].listeners;
        if listeners.contains_key(&address.port()) {
            return Err(ErrorKind::AddrInUse.into());
        }
        let port = ListenPort {
            address,
            backlog: VecDeque::new(),
            waker: None,
        };
        listeners.insert(address.port(), port);
        Ok(address)
    }

    /// Closes a listening port; connections that nobody accepted are reset.
    pub(super) fn stop_listening(&mut self, node: u32, port: u16) {
        let Some(port) = self.nodes[node as usize].listeners.remove(&port) else {
            return;
        };
        self.effects.bury(port.waker);
        for key in port.backlog {
            self.abandon_unaccepted(key);
        }
    }

    pub(super) fn poll_accept(
        &mut self,
        node: u32,
        port: u16,
        cx: &mut Context<'_>,
    ) -> Poll<(ConnectionKey, SocketAddr, SocketAddr)> {
        loop {
            let listener = self.nodes[node as usize]
                .listeners
                .get_mut(&port)
                .expect("a live listener keeps its port");
            let Some(key) = listener.backlog.pop_front() else {
                self.effects.park(&mut listener.waker, cx);
                return Poll::Pending;
            };
            if let Some((local, remote)) = self.adopt(key) {
                return Poll::Ready((key, local, remote));
            }
        }
    }

    /// A connection request for `local` on `node`.
    pub(super) fn enqueue_connection(
        &mut self,
        node: u32,
        local: SocketAddr,
        key: ConnectionKey,
    ) -> Door {
        let Some(listener) = self.nodes[node as usize].listeners.get_mut(&local.port()) else {
            return Door::Closed;
        };
        if !hears(listener.address, local) {
            return Door::Closed;
        }
        if listener.backlog.len() >= BACKLOG {
            return Door::Full;
        }
        listener.backlog.push_back(key);
        let waker = listener.waker.take();
        self.effects.wake(waker);
        Door::Open
    }

    /// Begins a connection from `node` to `remote`.
    pub(super) fn open_connection(
        &mut self,
        node: u32,
        remote: SocketAddr,
    ) -> io::Result<(ConnectionKey, SocketAddr)> {
        let port = self.free_port(node, |node, port| node.listeners.contains_key(&port))?;
        let local = SocketAddr::new(self.source_ip(node, remote.ip()), port);
        let target = self.node_at(node, remote.ip());
        Ok((self.connect(node, local, target, remote), local))
    }

    pub(super) fn bind_datagrams(
        &mut self,
        node: u32,
        mut address: SocketAddr,
    ) -> io::Result<SocketAddr> {
        self.check_bindable(node, address.ip())?;
        if address.port() == 0 {
            let port = self.free_port(node, |node, port| node.datagrams.contains_key(&port))?;
            address.set_port(port);
        }
        let sockets = &mut self.nodes[node as usize].datagrams;
        if sockets.contains_key(&address.port()) {
            return Err(ErrorKind::AddrInUse.into());
        }
        let port = DatagramPort {
            address,
            queue: VecDeque::new(),
            waker: None,
        };
        sockets.insert(address.port(), port);
        Ok(address)
    }

    pub(super) fn unbind_datagrams(&mut self, node: u32, port: u16) {
        if let Some(port) = self.nodes[node as usize].datagrams.remove(&port) {
            self.effects.bury(port.waker);
        }
    }

    pub(super) fn send_datagram(
        &mut self,
        node: u32,
        bound: SocketAddr,
        bytes: &[u8],
        to: SocketAddr,
    ) -> io::Result<()> {
        if bytes.len() > LARGEST_DATAGRAM {
            return Err(ErrorKind::InvalidInput.into());
        }
        let from = match bound.ip().is_unspecified() {
            true => SocketAddr::new(self.source_ip(node, to.ip()), bound.port()),
            false => bound,
        };
        let target = self.node_at(node, to.ip());
        self.send_parcel(
            node,
            Parcel {
                node: target,
                from,
                to,
                payload: Bytes::copy_from_slice(bytes),
            },
        );
        Ok(())
    }

    pub(super) fn poll_receive(
        &mut self,
        node: u32,
        port: u16,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<(usize, SocketAddr)> {
        let socket = self.nodes[node as usize]
            .datagrams
            .get_mut(&port)
            .expect("a live socket keeps its port");
        let Some((payload, from)) = socket.queue.pop_front() else {
            self.effects.park(&mut socket.waker, cx);
            return Poll::Pending;
        };
        let length = payload.len().min(buffer.len());
        buffer[..length].copy_from_slice(&payload[..length]);
        Poll::Ready((length, from))
    }

    pub(super) fn datagram_arrived(&mut self, parcel: Parcel) {
        self.trace_datagram(parcel.node, parcel.from, parcel.to, &parcel.payload);
        if !self.process_runs(parcel.node) {
            return;
        }
        let Some(socket) = self.nodes[parcel.node as usize]
            .datagrams
            .get_mut(&parcel.to.port())
        else {
            return;
        };
        if !hears(socket.address, parcel.to) {
            return;
        }
        if socket.queue.len() >= SOCKET_QUEUE {
            self.counts.overflows += 1;
            return;
        }
        socket.queue.push_back((parcel.payload, parcel.from));
        self.counts.datagrams += 1;
        let waker = socket.waker.take();
        self.effects.wake(waker);
    }

    /// Gives a packet with `payload` bytes to the link between two nodes; false when it will not arrive.
    pub(super) fn send_packet(
        &mut self,
        from: u32,
        to: u32,
        payload: usize,
        packet: Packet,
    ) -> bool {
        if to == NOWHERE {
            return false;
        }
        let bytes = (payload + HEADERS) as u64;
        let deliveries = self.links.transmit(self.now, from, to, bytes);
        for at in deliveries.times() {
            self.agenda.insert(next_tick(*at), Event::Packet(packet));
        }
        if payload > 0 {
            self.draw_packet(from, to, deliveries.first(), || format!("{payload} bytes"));
        }
        deliveries.first().is_some()
    }

    fn send_parcel(&mut self, from: u32, parcel: Parcel) {
        let to = parcel.node;
        if to == NOWHERE {
            return;
        }
        let payload = parcel.payload.len();
        let bytes = (payload + HEADERS) as u64;
        let deliveries = self.links.transmit(self.now, from, to, bytes);
        self.draw_packet(from, to, deliveries.first(), || {
            format!("datagram, {payload} bytes")
        });
        for at in deliveries.times() {
            let parcel = Box::new(parcel.clone());
            self.agenda.insert(next_tick(*at), Event::Datagram(parcel));
        }
    }

    /// Everything that the process on `node` listened on is closed.
    pub(super) fn close_ports(&mut self, node: u32) {
        let node = &mut self.nodes[node as usize];
        for (_, port) in std::mem::take(&mut node.listeners) {
            self.effects.bury(port.waker);
        }
        for (_, port) in std::mem::take(&mut node.datagrams) {
            self.effects.bury(port.waker);
        }
    }
}
