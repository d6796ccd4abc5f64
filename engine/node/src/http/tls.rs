//! TLS (RFC 8446) around a host's streams, with the settings of [`holdfast_http::tls`].

use holdfast_host::{BoxFuture, Host, RawStream, Stream};
use holdfast_http::tls::{self, Roots};
use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::rustls::pki_types::ServerName;

pub use holdfast_http::tls::TlsError;

/// What a connection goes through before HTTP is spoken on it.
pub trait Acceptor: Send + Sync + 'static {
    /// Makes of an accepted stream the one that HTTP is spoken on. The caller sees to it that this does not take
    /// for ever, by dropping the future.
    ///
    /// # Errors
    /// When the far end does not do its part.
    fn accept(&self, stream: Stream) -> BoxFuture<'_, io::Result<Stream>>;
}

/// The server's side of TLS 1.3 and 1.2.
pub struct TlsAcceptor(tokio_rustls::TlsAcceptor);

impl TlsAcceptor {
    /// A server with the certificate chain (its own certificate first) and the private key in these PEM texts.
    ///
    /// # Errors
    /// [`TlsError`] when they cannot be read, or do not belong together.
    pub fn from_pem(host: &Host, chain: &[u8], key: &[u8]) -> Result<TlsAcceptor, TlsError> {
        // PEM is ASCII (RFC 7468), but what stands around it in a file may be in any encoding.
        let (chain, key) = (String::from_utf8_lossy(chain), String::from_utf8_lossy(key));
        let config = tls::server(host, &chain, &key)?;
        Ok(TlsAcceptor(config.into()))
    }
}

impl Acceptor for TlsAcceptor {
    fn accept(&self, stream: Stream) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            let (local, peer) = (stream.local_addr(), stream.peer_addr());
            let inner = self.0.accept(stream).await?;
            Ok(Stream::new(Secured { inner, local, peer }))
        })
    }
}

/// The client's side of TLS, which trusts certain roots and speaks HTTP/1.1.
#[derive(Clone)]
pub struct TlsConnector(tokio_rustls::TlsConnector);

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsConnector")
    }
}

impl TlsConnector {
    /// A client that trusts the certificates in this PEM text, and what they have signed.
    ///
    /// # Errors
    /// [`TlsError`] when they cannot be read.
    pub fn from_pem(host: &Host, roots: &[u8]) -> Result<TlsConnector, TlsError> {
        let roots = String::from_utf8_lossy(roots).into_owned();
        let mut config = Arc::unwrap_or_clone(tls::client(host, &Roots::Pem(roots))?);
        // Nodes prefer HTTP/2 where it is offered, and this client does not speak it.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsConnector(Arc::new(config).into()))
    }

    /// Makes of a connected stream one to the server that proves to be `name`.
    ///
    /// # Errors
    /// When it does not.
    pub async fn connect(&self, name: &str, stream: Stream) -> io::Result<Stream> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let (local, peer) = (stream.local_addr(), stream.peer_addr());
        let inner = self.0.connect(name, stream).await?;
        Ok(Stream::new(Secured { inner, local, peer }))
    }
}

/// A stream inside TLS, at the addresses of the one outside.
struct Secured<S> {
    inner: S,
    local: SocketAddr,
    peer: SocketAddr,
}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static> RawStream for Secured<S> {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Secured<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Secured<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
