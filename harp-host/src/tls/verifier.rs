//! The judge that rustls asks in a full handshake.

use std::collections::HashSet;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

use super::Fingerprint;
use super::certificate::{Refused, is_authority};
use super::files::TrustAnchors;
use harp_files::certificate::{self, Outdated};

/// Judges the certificates of one host.
#[derive(Debug)]
pub(super) struct HostVerifier {
    rules: Arc<TrustAnchors>,
    pinned: Option<Fingerprint>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl HostVerifier {
    pub(super) fn new(
        rules: Arc<TrustAnchors>,
        pinned: Option<Fingerprint>,
        provider: &CryptoProvider,
    ) -> HostVerifier {
        HostVerifier {
            rules,
            pinned,
            algorithms: provider.signature_verification_algorithms,
        }
    }

    fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        match certificate::check(certificate) {
            // Where it is compared byte for byte or any will do, only the handshake's
            // signature counts, and that is checked by another reader.
            Err(Outdated::Unreadable { .. }) if !self.reads_certificate(certificate) => {}
            checked => checked.map_err(Refused::Outdated)?,
        }
        let found = Fingerprint::of(certificate);
        if let Some(wanted) = self.pinned {
            // A pin decides alone, whatever the files say.
            return if found == wanted {
                Ok(())
            } else {
                Err(Refused::OtherFingerprint { found, wanted }.into())
            };
        }
        if let Some(known) = &self.rules.known
            && known.contains(certificate.as_ref())
        {
            return Ok(());
        }
        match (&self.rules.authorities, &self.rules.known) {
            (Some(authorities), _) => {
                self.signed(authorities, certificate, intermediates, name, now)
            }
            (None, Some(_)) => Err(Refused::Unknown { found }.into()),
            (None, None) => Ok(()),
        }
    }

    /// True if what stands in the certificate decides about it.
    fn reads_certificate(&self, certificate: &CertificateDer<'_>) -> bool {
        let is_known = |known: &HashSet<Box<[u8]>>| known.contains(certificate.as_ref());
        self.pinned.is_none()
            && self.rules.authorities.is_some()
            && !self.rules.known.as_ref().is_some_and(is_known)
    }

    /// Checks that a CA vouches for the certificate, and for this name.
    fn signed(
        &self,
        authorities: &RootCertStore,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        if is_authority(certificate) {
            return Err(Refused::Authority.into());
        }
        let certificate = ParsedCertificate::try_from(certificate)?;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            authorities,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        if self.rules.verify_hostname {
            verify_server_name(&certificate, name)?;
        }
        Ok(())
    }
}

impl ServerCertVerifier for HostVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(certificate, intermediates, name, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
    }
}
