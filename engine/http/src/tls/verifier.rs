//! webpki's verdict, with one distinction more: a certificate that is signed by itself.

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{fmt, sync::Arc};

/// The certificate's issuer is its subject.
#[derive(Debug)]
pub struct SelfSigned;

impl fmt::Display for SelfSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the certificate is signed by itself")
    }
}

impl std::error::Error for SelfSigned {}

/// Asks webpki, and never says yes where webpki says no.
#[derive(Debug)]
pub struct Verifier {
    webpki: Arc<WebPkiServerVerifier>,
}

impl Verifier {
    pub fn new(webpki: Arc<WebPkiServerVerifier>) -> Self {
        Verifier { webpki }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = self.webpki.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        verdict.map_err(|error| match error {
            // The latter is how webpki says that a certificate of an authority is used as a server's, which is what
            // the usual tools make.
            Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::Other(_),
            ) if is_self_signed(end_entity) => {
                let other = OtherError(Arc::new(SelfSigned));
                Error::InvalidCertificate(CertificateError::Other(other))
            }
            error => error,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.webpki.root_hint_subjects()
    }
}

const SEQUENCE: u8 = 0x30;
/// The explicit tag of a certificate's version.
const VERSION: u8 = 0xa0;

/// Whether issuer and subject are the same, byte by byte (RFC 5280, section 4.1).
fn is_self_signed(certificate: &[u8]) -> bool {
    let names = || {
        let (_, certificate, _) = element(certificate)?;
        let (_, body, _) = element(certificate)?;
        let (tag, _, rest) = element(body)?;
        let after_version = if tag == VERSION { rest } else { body };
        // Serial number and signature algorithm; then the issuer, the validity and the subject.
        let (_, _, rest) = element(after_version)?;
        let (_, _, rest) = element(rest)?;
        let (issuer_tag, issuer, rest) = element(rest)?;
        let (_, _, rest) = element(rest)?;
        let (subject_tag, subject, _) = element(rest)?;
        let are_names = issuer_tag == SEQUENCE && subject_tag == SEQUENCE;
        are_names.then_some(issuer == subject)
    };
    names().unwrap_or(false)
}

/// The first element of `bytes`: its tag, its contents, and what comes after it (X.690, section 8.1).
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (len, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if len.is_empty() || len.len() > 4 {
            return None;
        }
        let len = len
            .iter()
            .fold(0, |len, &byte| len << 8 | usize::from(byte));
        (len, rest)
    };
    let (contents, rest) = rest.split_at_checked(len)?;
    Some((tag, contents, rest))
}
