//! What TLS failures are, for people and machines.

use super::verifier::SelfSigned;
use rustls::{CertificateError, Error};
use thiserror::Error;

/// Why TLS failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TlsReason {
    /// The certificate's time is over.
    #[error("the certificate has expired")]
    Expired,
    /// The certificate's time has not come.
    #[error("the certificate is not valid yet")]
    NotYetValid,
    /// The certificate is for other names.
    #[error("the certificate is not for this host but for {}", or_nobody(names))]
    WrongHost {
        /// The names in it, as far as they are told.
        names: Vec<String>,
    },
    /// The certificate is signed by itself, and not trusted.
    #[error("the certificate is signed by itself")]
    SelfSigned,
    /// Nobody who is trusted signed it, or a certificate in between was not sent.
    #[error("the certificate's issuer is not known")]
    UnknownIssuer,
    /// A signature is wrong.
    #[error("a signature does not match")]
    BadSignature,
    /// The certificate was revoked.
    #[error("the certificate was revoked")]
    Revoked,
    /// The certificate cannot be used for another reason.
    #[error("the certificate cannot be used: {0}")]
    BadCertificate(String),
    /// The server sent a fatal alert.
    #[error("the server refuses with the alert {0}")]
    Alert(String),
    /// There is no version, cipher suite or the like that both know.
    #[error("nothing in common with the server: {0}")]
    Incompatible(String),
    /// What the server says is no TLS, or not what it may say then.
    #[error("the server does not keep to the protocol: {0}")]
    Protocol(String),
    /// The connection ended in the handshake.
    #[error("the server closed the connection in the handshake")]
    Closed,
}

fn or_nobody(names: &[String]) -> String {
    match names.is_empty() {
        true => "no names".to_owned(),
        false => names.join(", "),
    }
}

impl TlsReason {
    /// A stable name for machines, in kebab case.
    pub fn name(&self) -> &'static str {
        match self {
            TlsReason::Expired => "certificate-expired",
            TlsReason::NotYetValid => "certificate-not-yet-valid",
            TlsReason::WrongHost { .. } => "certificate-wrong-host",
            TlsReason::SelfSigned => "certificate-self-signed",
            TlsReason::UnknownIssuer => "certificate-unknown-issuer",
            TlsReason::BadSignature => "certificate-bad-signature",
            TlsReason::Revoked => "certificate-revoked",
            TlsReason::BadCertificate(_) => "certificate-unusable",
            TlsReason::Alert(_) => "alert",
            TlsReason::Incompatible(_) => "incompatible",
            TlsReason::Protocol(_) => "protocol-error",
            TlsReason::Closed => "closed-in-handshake",
        }
    }
}

impl From<&Error> for TlsReason {
    fn from(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(error) => error.into(),
            Error::AlertReceived(alert) => TlsReason::Alert(format!("{alert:?}")),
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => {
                TlsReason::Incompatible(error.to_string())
            }
            _ => TlsReason::Protocol(error.to_string()),
        }
    }
}

impl From<&CertificateError> for TlsReason {
    fn from(error: &CertificateError) -> Self {
        use CertificateError as E;
        match error {
            E::Expired | E::ExpiredContext { .. } => TlsReason::Expired,
            E::NotValidYet | E::NotValidYetContext { .. } => TlsReason::NotYetValid,
            E::NotValidForName => TlsReason::WrongHost { names: Vec::new() },
            E::NotValidForNameContext { presented, .. } => TlsReason::WrongHost {
                names: presented.iter().map(|name| bare(name)).collect(),
            },
            E::UnknownIssuer => TlsReason::UnknownIssuer,
            E::BadSignature => TlsReason::BadSignature,
            E::Revoked => TlsReason::Revoked,
            E::Other(other) if other.0.downcast_ref::<SelfSigned>().is_some() => {
                TlsReason::SelfSigned
            }
            _ => TlsReason::BadCertificate(error.to_string()),
        }
    }
}

/// rustls writes `DnsName("a.test")`; people read `a.test`.
fn bare(name: &str) -> String {
    match name.split_once('(') {
        Some((_, inner)) => inner.trim_end_matches(')').trim_matches('"').to_owned(),
        None => name.to_owned(),
    }
}
