use crate::{
    BoxFuture, DatagramSocket, Datagrams, Listener, ListenerSocket, Network, RawStream, Stream,
};
use socket2::{Domain, Socket, Type};
use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UdpSocket},
    runtime::Handle,
};

/// The most bytes that one UDP datagram carries over IPv4; the contract has the same bound for IPv6.
const DATAGRAM_MAX: usize = 65_507;

/// The operating system's sockets.
pub(super) struct TokioNetwork {
    runtime: Handle,
}

impl TokioNetwork {
    /// Sockets that `runtime` wakes.
    pub(super) fn new(runtime: Handle) -> Self {
        TokioNetwork { runtime }
    }
}

/// Polls `future` inside `runtime`, where sockets can be registered, whoever polls it.
fn entered<'a, T>(
    runtime: &Handle,
    future: impl Future<Output = T> + Send + 'a,
) -> BoxFuture<'a, T> {
    let runtime = runtime.clone();
    let mut future = Box::pin(future);
    Box::pin(std::future::poll_fn(move |cx| {
        let _entered = runtime.enter();
        future.as_mut().poll(cx)
    }))
}

impl Network for TokioNetwork {
    fn bind(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Datagrams>> {
        entered(&self.runtime, async move {
            let socket = datagram_socket(address)?;
            let local = socket.local_addr()?;
            // Only now does tokio know that there is room to send, and `try_send_to` may rely on it.
            socket.writable().await?;
            Ok(Box::new(TokioDatagrams { socket, local }) as Datagrams)
        })
    }

    fn listen(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Listener>> {
        let runtime = self.runtime.clone();
        entered(&self.runtime, async move {
            // tokio sets SO_REUSEADDR, so that a restarted node is not kept out by its predecessor's old connections.
            let socket = TcpListener::bind(address).await?;
            let local = socket.local_addr()?;
            let listener = TokioListener {
                runtime,
                socket,
                local,
            };
            Ok(Box::new(listener) as Listener)
        })
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Stream>> {
        entered(&self.runtime, async move {
            let stream = TcpStream::connect(address).await?;
            // The far end may be gone again; then the first read tells.
            let peer = stream.peer_addr().unwrap_or(address);
            let stream = TokioStream::new(stream, peer)?;
            // On one machine TCP can connect a socket to itself, when the port asked for is free and is picked as the
            // source. Nobody listened.
            if stream.local == stream.peer {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            Ok(Stream::new(stream))
        })
    }

    fn resolve(&self, name: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        if let Ok(ip) = name.parse::<IpAddr>() {
            return Box::pin(std::future::ready(Ok(vec![SocketAddr::new(ip, port)])));
        }
        if is_reserved_as_invalid(name) {
            return Box::pin(std::future::ready(Err(no_such_name(name))));
        }
        let runtime = self.runtime.clone();
        let name = name.to_owned();
        Box::pin(async move {
            let lookup = runtime.spawn_blocking(move || look_up(&name, port));
            match lookup.await {
                Ok(answer) => answer,
                // The lookup does not panic, so the runtime is shutting down, and the caller with it.
                Err(_cancelled) => std::future::pending().await,
            }
        })
    }
}

/// Asks the system's resolver, which blocks. Sorted, since name servers rotate their answers.
fn look_up(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<_> = (name, port)
        .to_socket_addrs()
        .map_err(|error| {
            if says_no_such_name(&error.to_string()) {
                no_such_name(name)
            } else {
                error
            }
        })?
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(no_such_name(name));
    }
    Ok(addresses)
}

fn no_such_name(name: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        format!("the name {name:?} has no address"),
    )
}

/// RFC 6761, section 6.4: names under `invalid` do not exist and are not worth a query.
fn is_reserved_as_invalid(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let top = name.rsplit('.').next().unwrap_or(name);
    top.eq_ignore_ascii_case("invalid")
}

/// Whether the resolver's words mean EAI_NONAME or EAI_NODATA: the standard library passes on its text, not its code.
/// The texts are those of glibc, musl and the BSDs; Rust programs run in the C locale, so they are not translated.
fn says_no_such_name(message: &str) -> bool {
    [
        "Name or service not known",
        "No address associated with",
        "Name does not resolve",
        "Name has no usable address",
        "nodename nor servname provided",
    ]
    .iter()
    .any(|known| message.contains(known))
}

/// A socket of the address's own family: without being told, systems differ in what `[::]` takes beside IPv6.
fn datagram_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

struct TokioDatagrams {
    socket: UdpSocket,
    local: SocketAddr,
}

impl DatagramSocket for TokioDatagrams {
    fn send_to<'a>(&'a self, bytes: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            check_length(bytes)?;
            self.socket.send_to(bytes, to).await?;
            Ok(())
        })
    }

    fn receive<'a>(
        &'a self,
        buffer: &'a mut [u8],
    ) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>> {
        Box::pin(async move {
            loop {
                match self.socket.recv_from(buffer).await {
                    Err(error) if concerns_an_earlier_datagram(&error) => {}
                    received => return received,
                }
            }
        })
    }

    fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut buffer = ReadBuf::new(buffer);
        loop {
            match std::task::ready!(self.socket.poll_recv_from(cx, &mut buffer)) {
                Err(error) if concerns_an_earlier_datagram(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(from) => return Poll::Ready(Ok((buffer.filled().len(), from))),
            }
        }
    }

    fn try_send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        check_length(bytes)?;
        self.socket.try_send_to(bytes, to).map(drop)
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

fn check_length(bytes: &[u8]) -> io::Result<()> {
    if bytes.len() <= DATAGRAM_MAX {
        return Ok(());
    }
    let length = bytes.len();
    let detail = format!("a datagram of {length} bytes, at most {DATAGRAM_MAX} fit");
    Err(io::Error::new(io::ErrorKind::InvalidInput, detail))
}

/// Some systems report at a receive that an earlier datagram found no receiver.
fn concerns_an_earlier_datagram(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionRefused | ConnectionReset)
}

struct TokioListener {
    runtime: Handle,
    socket: TcpListener,
    local: SocketAddr,
}

impl ListenerSocket for TokioListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>> {
        let socket = &self.socket;
        entered(&self.runtime, async move {
            loop {
                match socket.accept().await {
                    Ok((stream, peer)) => {
                        // Fails when the far end is gone by now: not a connection any more.
                        if let Ok(stream) = TokioStream::new(stream, peer) {
                            return Ok((Stream::new(stream), peer));
                        }
                    }
                    Err(error) if concerns_the_connection(&error) => {}
                    Err(error) => return Err(error),
                }
            }
        })
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

/// Whether an error of accept is that of the connection that would have come next, and not of the listener: Linux
/// hands those over too (accept(2), "Error handling").
fn concerns_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::TimedOut
            | io::ErrorKind::Interrupted
    )
}

struct TokioStream {
    stream: TcpStream,
    local: SocketAddr,
    peer: SocketAddr,
}

impl TokioStream {
    fn new(stream: TcpStream, peer: SocketAddr) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        Ok(TokioStream {
            stream,
            local,
            peer,
        })
    }
}

impl RawStream for TokioStream {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }
}

impl AsyncRead for TokioStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for TokioStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_under_invalid_are_reserved_and_no_others() {
        for reserved in ["invalid", "host.invalid", "a.b.INVALID", "host.invalid."] {
            assert!(is_reserved_as_invalid(reserved), "{reserved}");
        }
        for other in ["", "invalid.example", "notinvalid", "a.invalid.b", "."] {
            assert!(!is_reserved_as_invalid(other), "{other}");
        }
    }

    #[test]
    fn a_resolver_that_cannot_answer_has_not_said_no() {
        let prefix = "failed to lookup address information";
        assert!(says_no_such_name(&format!(
            "{prefix}: Name or service not known"
        )));
        assert!(says_no_such_name(&format!(
            "{prefix}: nodename nor servname provided, or not known"
        )));
        assert!(!says_no_such_name(&format!(
            "{prefix}: Temporary failure in name resolution"
        )));
    }
}
