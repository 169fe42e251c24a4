//! TLS of a server: the certificate and key that it shows, and whose certificates it asks
//! its clients for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::server::{NoServerSessionStorage, ServerConfig, WebPkiClientVerifier};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Why a certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read as PEM.
    #[error("cannot read {what} from {}: {}", path.display(), explain(.source))]
    Unreadable {
        /// What should have been in it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// The file holds no certificate.
    #[error("there is no certificate in {}: a section BEGIN CERTIFICATE is expected", .0.display())]
    NoCertificate(PathBuf),
    /// They are not made for each other.
    #[error(
        "the key in {} does not belong to the first certificate in {}; \
         the leaf must come first, then its chain",
        key.display(), certificate.display()
    )]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The CA file for clients holds a certificate that no CA can have, or none at all.
    #[error("cannot use {} as the CAs of clients: {reason}", path.display())]
    ClientAuthorities {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// TLS refuses them for another reason.
    #[error("cannot use the certificate in {} with the key in {}: {source}", certificate.display(), key.display())]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What TLS said.
        source: rustls::Error,
    },
}

/// Reads a certificate chain, leaf first, and its key (PKCS#8, PKCS#1 or SEC1), both in
/// PEM, and sets up TLS 1.2 and 1.3 with them.
///
/// With a CA file for clients, a client may show a certificate; one that none of these
/// CAs has signed, or that is out of date, ends the handshake. A client without one is let
/// through: who it is, is then to be found out otherwise.
///
/// Sessions can be resumed, since every call is a connection; each set-up has ticket keys
/// of its own. With client certificates they cannot: a resumed session is not judged
/// again.
///
/// # Errors
///
/// If a file cannot be read or they do not go together.
pub fn load(
    certificate: &Path,
    key: &Path,
    client_authorities: Option<&Path>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = read_chain(certificate)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::Unreadable {
        what: "a private key",
        path: key.to_owned(),
        source,
    })?;
    let unusable = |source: rustls::Error| match source {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        },
        source => TlsError::Unusable {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            source,
        },
    };
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let Some(authorities) = client_authorities else {
        let mut config = builder
            .with_no_client_auth()
            .with_single_cert(chain, secret)
            .map_err(unusable)?;
        config.ticketer = ring::Ticketer::new().map_err(unusable)?;
        return Ok(Arc::new(config));
    };
    let useless = |reason: String| TlsError::ClientAuthorities {
        path: authorities.to_owned(),
        reason,
    };
    let mut roots = RootCertStore::empty();
    for authority in read_chain(authorities)? {
        roots
            .add(authority)
            .map_err(|error| useless(error.to_string()))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .allow_unauthenticated()
        .build()
        .map_err(|error| useless(error.to_string()))?;
    let mut config = builder
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, secret)
        .map_err(unusable)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |source| TlsError::Unreadable {
        what: "a certificate",
        path: path.to_owned(),
        source,
    };
    let chain = CertificateDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(path.to_owned()));
    }
    Ok(chain)
}

fn explain(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "there is none in the file (PEM is expected)".to_owned(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files {
        directory: tempfile::TempDir,
    }

    impl Files {
        fn new() -> Files {
            Files {
                directory: tempfile::tempdir().unwrap(),
            }
        }

        fn write(&self, name: &str, content: &str) -> PathBuf {
            let path = self.directory.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        }
    }

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_pair_is_loaded() {
        let files = Files::new();
        let (certificate, key) = pair();
        let (certificate, key) = (files.write("c", &certificate), files.write("k", &key));
        load(&certificate, &key, None).unwrap();
        load(&certificate, &key, Some(&certificate)).unwrap();
    }

    #[test]
    fn each_mistake_is_named() {
        let files = Files::new();
        let (certificate, key) = pair();
        let (_, other_key) = pair();
        let (certificate, key) = (files.write("cert", &certificate), files.write("key", &key));
        let other_key = files.write("other", &other_key);
        let empty = files.write("empty", "");
        let absent = files.directory.path().join("absent");
        for (certificate, key, told) in [
            (&certificate, &other_key, "does not belong to"),
            (&empty, &key, "there is no certificate in"),
            (&certificate, &empty, "cannot read a private key"),
            (&certificate, &certificate, "cannot read a private key"),
            (&absent, &key, "No such file"),
            (&certificate, &absent, "No such file"),
        ] {
            let error = load(certificate, key, None).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        let error = load(&certificate, &key, Some(&empty)).unwrap_err();
        assert!(
            error.to_string().contains("there is no certificate in"),
            "{error}"
        );
    }
}
