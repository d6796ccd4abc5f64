//! rustls configurations: the ring provider named explicitly, and the host's wall clock for certificates.
//!
//! A way to accept any certificate is not offered. Tests give their own root.

mod reason;
mod verifier;

pub use reason::TlsReason;

use holdfast_host::{Clock, Host};
use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore, ServerConfig, WantsVerifier,
    client::WebPkiServerVerifier,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    time_provider::TimeProvider,
};
use std::{fmt, sync::Arc, time::Duration};
use thiserror::Error;
use verifier::Verifier;

/// HTTP/2 and HTTP/1.1, as ALPN names them (RFC 7301), the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What [`TlsError::Pem`] calls a server's private key.
const PRIVATE_KEY: &str = "private key";

/// What an [`https`](crate::Client) client trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Roots {
    /// Mozilla's, as they were when this was built.
    #[default]
    Bundled,
    /// The certificates in this PEM text, and no others.
    Pem(String),
}

/// Why there is no TLS configuration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TlsError {
    /// The text is not PEM, or there is no certificate or key in it.
    #[error("the {what} cannot be read: {detail}")]
    Pem {
        /// Roots, certificate chain or private key.
        what: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// What was read cannot be used.
    #[error("the TLS settings do not work: {0}")]
    Unusable(String),
}

impl TlsError {
    /// Whether the private key is what is wrong.
    pub fn is_of_key(&self) -> bool {
        matches!(
            self,
            TlsError::Pem {
                what: PRIVATE_KEY,
                ..
            }
        )
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        TlsError::Unusable(error.to_string())
    }
}

/// A client that trusts `roots` and offers HTTP/2 and HTTP/1.1.
///
/// # Errors
/// [`TlsError`] when the roots cannot be read.
pub fn client(host: &Host, roots: &Roots) -> Result<Arc<ClientConfig>, TlsError> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::Bundled => store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Roots::Pem(text) => {
            for certificate in certificates("roots", text)? {
                store.add(certificate)?;
            }
        }
    }
    let provider = provider();
    let verifier = WebPkiServerVerifier::builder_with_provider(store.into(), provider.clone())
        .build()
        .map_err(|error| TlsError::Unusable(error.to_string()))?;
    let builder = ClientConfig::builder_with_details(provider, HostTime::shared(host));
    let mut config = with_versions(builder)?
        // It only tells self-signed certificates from others that are not trusted.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier::new(verifier)))
        .with_no_client_auth();
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(Arc::new(config))
}

/// A server with the certificate chain (its own certificate first) and the private key in these PEM texts, which
/// offers HTTP/2 and HTTP/1.1.
///
/// # Errors
/// [`TlsError`] when they cannot be read, or do not belong together.
pub fn server(host: &Host, chain: &str, key: &str) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates("certificate chain", chain)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| TlsError::Pem {
        what: PRIVATE_KEY,
        detail: error.to_string(),
    })?;
    let builder = ServerConfig::builder_with_details(provider(), HostTime::shared(host));
    let mut config = with_versions(builder)?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn with_versions<S: rustls::ConfigSide>(
    builder: ConfigBuilder<S, rustls::WantsVersions>,
) -> Result<ConfigBuilder<S, WantsVerifier>, TlsError> {
    Ok(builder.with_safe_default_protocol_versions()?)
}

fn certificates(what: &'static str, text: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let found = found.map_err(|error| TlsError::Pem {
        what,
        detail: error.to_string(),
    })?;
    match found.is_empty() {
        true => Err(TlsError::Pem {
            what,
            detail: "there is no certificate in it".to_owned(),
        }),
        false => Ok(found),
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
