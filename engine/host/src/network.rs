use crate::BoxFuture;
use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The network as one host sees it. Every future may be dropped at any await; what was begun is then undone.
pub trait Network: Send + Sync + 'static {
    /// Binds a datagram socket; port 0 picks a free one. `AddrInUse` when it is taken. A socket at an address of IPv6 has
    /// nothing to do with IPv4.
    fn bind(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Datagrams>>;

    /// Listens for streams; port 0 picks a free one. `AddrInUse` when it is taken.
    fn listen(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Listener>>;

    /// Opens a stream. `ConnectionRefused` when nobody listens there, `TimedOut` or no answer for as long as the
    /// host likes when the way is cut: callers give their own deadline.
    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Stream>>;

    /// The addresses of a name, in a stable order; a literal address is its own answer. `NotFound` for no such name.
    fn resolve(&self, name: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;
}

/// What a datagram socket of a host does; used through [`Datagrams`].
pub trait DatagramSocket: Send + Sync + 'static {
    /// Sends one datagram: it arrives whole, once, several times, or never, in any order. At most 65,507 bytes; an
    /// error when there are more. That nobody receives it is not an error.
    fn send_to<'a>(&'a self, bytes: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>>;

    /// The next datagram, cut to the buffer's length, and its sender.
    fn receive<'a>(
        &'a self,
        buffer: &'a mut [u8],
    ) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>>;

    /// As [`receive`](DatagramSocket::receive), for one task that serves many sockets and allocates nothing for a datagram.
    /// Nothing is there: the task is woken when something may be; the waker of the last call counts.
    fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>>;

    /// As [`send_to`](DatagramSocket::send_to), now or not at all: `WouldBlock` when the host has no room for the datagram,
    /// which is then lost like any other that the network loses.
    fn try_send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()>;

    /// The address this socket is bound to.
    fn local_addr(&self) -> SocketAddr;
}

/// A bound datagram socket.
pub type Datagrams = Box<dyn DatagramSocket>;

/// What a listener of a host does; used through [`Listener`].
pub trait ListenerSocket: Send + Sync + 'static {
    /// The next stream and its far end. Cancel-safe: a dropped accept loses no connection.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>>;

    /// The address this listener is bound to.
    fn local_addr(&self) -> SocketAddr;
}

/// A listener. Dropping it refuses new streams; those accepted live on.
pub type Listener = Box<dyn ListenerSocket>;

/// What a stream of a host does; used through [`Stream`].
pub trait RawStream: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static {
    /// This end's address.
    fn local_addr(&self) -> SocketAddr;

    /// The far end's address.
    fn peer_addr(&self) -> SocketAddr;
}

/// A reliable, ordered byte stream: TCP in production (with Nagle's delay off).
///
/// A read of zero bytes means that the far end shut down its writing. `ConnectionReset` means that the far end is
/// gone and that bytes written may be lost. A far end that lost power says nothing at all. `shutdown` sends what was
/// written and then the end; dropping without it sends a reset or an end, as the host likes.
pub struct Stream(Box<dyn RawStream>);

impl Stream {
    /// Wraps a host's stream.
    pub fn new(raw: impl RawStream) -> Self {
        Stream(Box::new(raw))
    }

    /// This end's address.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local_addr()
    }

    /// The far end's address.
    pub fn peer_addr(&self) -> SocketAddr {
        self.0.peer_addr()
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({} -> {})", self.local_addr(), self.peer_addr())
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
}
