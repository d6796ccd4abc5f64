//! What a process holds of the network: streams, listeners, datagram sockets.
//!
//! Each handle carries its process's gate. A dead process's handle does no I/O: its calls never return, and dropping
//! it says nothing to anybody. What the death itself did to connections was done by the kernel when it happened.

use super::{
    connection::{ConnectionKey, End},
    gate::Gate,
    world::World,
};
use holdfast_host::{BoxFuture, DatagramSocket, ListenerSocket, RawStream, Stream};
use std::{
    future::poll_fn,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One end of a connection in the hands of a process.
pub(super) struct SimStream {
    pub(super) world: World,
    pub(super) gate: Arc<Gate>,
    pub(super) key: ConnectionKey,
    pub(super) end: End,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
}

impl SimStream {
    /// Waits for the far end's answer to the connection request that `self` stands for.
    pub(super) async fn connected(self) -> io::Result<Stream> {
        poll_fn(|cx| {
            if !self.gate.is_alive() {
                return Poll::Pending;
            }
            self.world.with(|core| core.poll_connected(self.key, cx))
        })
        .await?;
        Ok(Stream::new(self))
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.gate.is_alive() {
            return Poll::Pending;
        }
        self.world
            .with(|core| core.poll_read(self.key, self.end, cx, buffer))
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.gate.is_alive() {
            return Poll::Pending;
        }
        self.world
            .with(|core| core.poll_write(self.key, self.end, cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.gate.is_alive() {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.gate.is_alive() {
            return Poll::Pending;
        }
        Poll::Ready(self.world.with(|core| core.shutdown(self.key, self.end)))
    }
}

impl RawStream for SimStream {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn peer_addr(&self) -> SocketAddr {
        self.remote
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        let alive = self.gate.is_alive();
        self.world.with(|core| match alive {
            true => core.release_handle(self.key, self.end),
            false => core.forget_handle(self.key, self.end),
        });
    }
}

/// A listening port in the hands of a process.
pub(super) struct SimListener {
    pub(super) world: World,
    pub(super) gate: Arc<Gate>,
    pub(super) address: SocketAddr,
}

impl ListenerSocket for SimListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>> {
        Box::pin(poll_fn(|cx| {
            if !self.gate.is_alive() {
                return Poll::Pending;
            }
            let accepted = self
                .world
                .with(|core| core.poll_accept(self.gate.node, self.address.port(), cx));
            accepted.map(|(key, local, remote)| {
                let stream = SimStream {
                    world: self.world.clone(),
                    gate: self.gate.clone(),
                    key,
                    end: End::Server,
                    local,
                    remote,
                };
                Ok((Stream::new(stream), remote))
            })
        }))
    }

    fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        if self.gate.is_alive() {
            self.world
                .with(|core| core.stop_listening(self.gate.node, self.address.port()));
        }
    }
}

/// A datagram port in the hands of a process.
pub(super) struct SimDatagrams {
    pub(super) world: World,
    pub(super) gate: Arc<Gate>,
    pub(super) address: SocketAddr,
}

impl DatagramSocket for SimDatagrams {
    fn send_to<'a>(&'a self, bytes: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(poll_fn(move |_| {
            if !self.gate.is_alive() {
                return Poll::Pending;
            }
            Poll::Ready(
                self.world
                    .with(|core| core.send_datagram(self.gate.node, self.address, bytes, to)),
            )
        }))
    }

    fn receive<'a>(
        &'a self,
        buffer: &'a mut [u8],
    ) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>> {
        Box::pin(poll_fn(move |cx| self.poll_receive(cx, buffer)))
    }

    fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        if !self.gate.is_alive() {
            return Poll::Pending;
        }
        self.world
            .with(|core| core.poll_receive(self.gate.node, self.address.port(), cx, buffer))
            .map(Ok)
    }

    fn try_send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        if !self.gate.is_alive() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.world
            .with(|core| core.send_datagram(self.gate.node, self.address, bytes, to))
    }

    fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for SimDatagrams {
    fn drop(&mut self) {
        if self.gate.is_alive() {
            self.world
                .with(|core| core.unbind_datagrams(self.gate.node, self.address.port()));
        }
    }
}
