//! TLS (RFC 8446) around a host's streams, by rustls with ring's cryptography.

use holdfast_host::{BoxFuture, Clock, Host, RawStream, Stream};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    time_provider::TimeProvider,
};
use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a connection goes through before HTTP is spoken on it.
pub trait Acceptor: Send + Sync + 'static {
    /// Makes of an accepted stream the one that HTTP is spoken on. The caller sees to it that this does not take
    /// for ever, by dropping the future.
    ///
    /// # Errors
    /// When the far end does not do its part.
    fn accept(&self, stream: Stream) -> BoxFuture<'_, io::Result<Stream>>;
}

/// HTTP/2 and HTTP/1.1, as ALPN names them (RFC 7301), the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

const CERTIFICATE: &str = "certificate";
const KEY: &str = "private key";

/// Why there is no TLS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The text is not PEM, or what is looked for is not in it.
    #[error("there is no {what} in PEM: {detail}")]
    Pem {
        /// Certificate or private key.
        what: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// What was read cannot be used.
    #[error("the certificate and its key cannot be used: {0}")]
    Unusable(String),
}

impl TlsError {
    /// Whether the private key is what is wrong.
    pub fn is_of_key(&self) -> bool {
        matches!(self, TlsError::Pem { what: KEY, .. })
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        TlsError::Unusable(error.to_string())
    }
}

/// The server's side of TLS 1.3 and 1.2.
pub struct TlsAcceptor(tokio_rustls::TlsAcceptor);

impl TlsAcceptor {
    /// A server with the certificate chain (its own certificate first) and the private key in these PEM texts.
    ///
    /// # Errors
    /// [`TlsError`] when they cannot be read, or do not belong together.
    pub fn from_pem(host: &Host, chain: &[u8], key: &[u8]) -> Result<TlsAcceptor, TlsError> {
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::Pem {
            what: KEY,
            detail: error.to_string(),
        })?;
        let mut config = ServerConfig::builder_with_details(provider(), HostTime::shared(host))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        Ok(TlsAcceptor(Arc::new(config).into()))
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
        let mut store = RootCertStore::empty();
        for certificate in certificates(roots)? {
            store.add(certificate)?;
        }
        let mut config = ClientConfig::builder_with_details(provider(), HostTime::shared(host))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(store)
            .with_no_client_auth();
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

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fault = |detail: String| TlsError::Pem {
        what: CERTIFICATE,
        detail,
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.map_err(|error| fault(error.to_string()))?;
    match found.is_empty() {
        true => Err(fault("none was found".to_owned())),
        false => Ok(found),
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

/// The time by which certificates are judged: the host's wall clock.
struct HostTime(Arc<dyn Clock>);

impl HostTime {
    fn shared(host: &Host) -> Arc<dyn TimeProvider> {
        Arc::new(HostTime(host.clock.clone()))
    }
}

impl fmt::Debug for HostTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostTime")
    }
}

impl TimeProvider for HostTime {
    fn current_time(&self) -> Option<UnixTime> {
        let now = Duration::from_nanos(self.0.unix_time().as_nanos());
        Some(UnixTime::since_unix_epoch(now))
    }
}
