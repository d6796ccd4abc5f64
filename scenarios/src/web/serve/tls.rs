//! Certificates, good and bad, made when a web starts to be served.

use crate::web::Certificate;
use holdfast_host::Host;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime},
    time_provider::TimeProvider,
};
use std::sync::Arc;

/// Two authorities: one that clients can be told to trust, one that nobody knows.
pub struct Authorities {
    trusted: CertifiedIssuer<'static, KeyPair>,
    unknown: CertifiedIssuer<'static, KeyPair>,
}

/// Why certificates could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A key or a certificate could not be made.
    #[error("a certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// They do not fit together.
    #[error("the server's certificates could not be used: {0}")]
    Config(#[from] rustls::Error),
}

impl Authorities {
    /// New authorities with new keys.
    ///
    /// # Errors
    /// When the system has no randomness for keys.
    pub fn new() -> Result<Self, TlsError> {
        let authority = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            CertifiedIssuer::self_signed(params, KeyPair::generate()?)
        };
        Ok(Authorities {
            trusted: authority("Model web authority")?,
            unknown: authority("Unknown authority")?,
        })
    }

    /// The certificate that clients have to trust, in PEM.
    pub fn trusted_pem(&self) -> String {
        self.trusted.pem()
    }

    /// What a server needs to show `certificate` as the host `name`, which may be an IP address.
    pub(super) fn config(
        &self,
        host: &Host,
        certificate: Certificate,
        name: &str,
    ) -> Result<Arc<ServerConfig>, TlsError> {
        let shown = match certificate {
            Certificate::WrongHost => "another-host.example",
            _ => name,
        };
        let mut params = CertificateParams::new([shown.to_string()])?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, shown);
        if certificate == Certificate::Expired {
            params.not_before = rcgen::date_time_ymd(2015, 1, 1);
            params.not_after = rcgen::date_time_ymd(2015, 4, 12);
        }
        let key = KeyPair::generate()?;
        let signed = match certificate {
            Certificate::SelfSigned => params.self_signed(&key)?,
            Certificate::UnknownAuthority => params.signed_by(&key, &self.unknown)?,
            _ => params.signed_by(&key, &self.trusted)?,
        };
        let chain: Vec<CertificateDer<'static>> = vec![signed.der().clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clock = Arc::new(HostTime(host.clone()));
        let builder = ServerConfig::builder_with_details(provider, clock);
        let mut config = builder
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// The host's wall clock for rustls.
struct HostTime(Host);

impl std::fmt::Debug for HostTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HostTime")
    }
}

impl TimeProvider for HostTime {
    fn current_time(&self) -> Option<UnixTime> {
        let since_epoch = std::time::Duration::from_nanos(self.0.unix_time().as_nanos());
        Some(UnixTime::since_unix_epoch(since_epoch))
    }
}
