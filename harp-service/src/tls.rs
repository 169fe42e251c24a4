//! TLS of a server: the certificate and key that it shows, and whose certificates it asks
//! its clients for.

use std::path::PathBuf;
use std::sync::Arc;

use harp_files::certificate::{self, Outdated};
use harp_files::pem::{self, NotPem};
use harp_files::{Content, Contents};
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

mod current;

pub use current::ServerTls;

/// The files of a server's TLS, all PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate that is shown, with its chain behind it.
    pub certificate: PathBuf,
    /// Its key: PKCS#8, PKCS#1 or SEC1.
    pub private_key: PathBuf,
    /// The CAs that sign clients' certificates; without it clients are asked for none.
    pub client_ca_file: Option<PathBuf>,
}

/// The names of the protocols that a server offers by ALPN, the one that it prefers first;
/// none for a server that has one protocol.
pub type Protocols = &'static [&'static [u8]];

/// Why nothing could be read from a file.
#[derive(Debug, thiserror::Error)]
pub enum PemFault {
    /// The system.
    #[error(transparent)]
    Unreadable(#[from] std::io::Error),
    /// It is no PEM.
    #[error(transparent)]
    NotPem(#[from] NotPem),
    /// It has nothing of the kind.
    #[error("there is none in the file (PEM is expected)")]
    None,
}

/// Why a certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read as PEM.
    #[error("cannot read {what} from {}: {}", path.display(), .source)]
    Unreadable {
        /// What should have been in it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: PemFault,
    },
    /// The file holds no certificate.
    #[error("there is no certificate in {}: a section BEGIN CERTIFICATE is expected", .0.display())]
    NoCertificate(PathBuf),
    /// TLS takes no such certificate any more.
    #[error(
        "the certificate in {} {why}; make a new one: openssl req -x509 -newkey rsa:3072 -nodes \
         -sha256 -days 3650 -subj /CN=HOST -addext subjectAltName=DNS:HOST -keyout KEY-FILE \
         -out CERTIFICATE-FILE",
        certificate.display()
    )]
    Outdated {
        /// The certificate's file.
        certificate: PathBuf,
        /// What is wrong with it.
        why: Outdated,
    },
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

/// TLS as the files describe it.
#[derive(Debug, Clone)]
struct Loaded {
    config: Arc<ServerConfig>,
    /// What the server shows of itself.
    leaf: CertificateDer<'static>,
    /// Judges clients' certificates, if they are asked for any.
    client_verifier: Option<Arc<dyn ClientCertVerifier>>,
}

impl TlsFiles {
    /// Reads the files and sets up TLS 1.2 and 1.3 with them.
    ///
    /// Sessions can be resumed, since every call is a connection; each set-up has ticket
    /// keys of its own, so no session outlives the files that it was judged by.
    fn load(&self, mut files: Contents, protocols: Protocols) -> Result<Loaded, TlsError> {
        let chain = read_chain(files.take())?;
        // `read_chain` gives no empty one.
        let leaf = chain
            .first()
            .cloned()
            .ok_or_else(|| TlsError::NoCertificate(self.certificate.clone()))?;
        match certificate::check(&leaf) {
            // What only this reader cannot read is for TLS to judge.
            Ok(()) | Err(Outdated::Unreadable { .. }) => {}
            Err(why) => {
                let certificate = self.certificate.clone();
                return Err(TlsError::Outdated { certificate, why });
            }
        }
        let secret = read_key(files.take())?;
        let client_verifier = match &self.client_ca_file {
            Some(_) => Some(client_verifier(files.take())?),
            None => None,
        };
        let unusable = |source| self.unusable(source);
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let builder = match &client_verifier {
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, secret).map_err(unusable)?;
        config.ticketer = ring::Ticketer::new().map_err(unusable)?;
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(Loaded {
            config: Arc::new(config),
            leaf,
            client_verifier,
        })
    }

    /// In the order in which they are loaded.
    fn paths(&self) -> impl Iterator<Item = PathBuf> {
        let files = [&self.certificate, &self.private_key];
        files.into_iter().chain(&self.client_ca_file).cloned()
    }

    fn unusable(&self, source: rustls::Error) -> TlsError {
        let (certificate, key) = (self.certificate.clone(), self.private_key.clone());
        match source {
            rustls::Error::InconsistentKeys(_) => TlsError::Mismatch { certificate, key },
            source => TlsError::Unusable {
                certificate,
                key,
                source,
            },
        }
    }
}

/// A client may show a certificate; one that none of these CAs has signed, or that is out
/// of date, ends the handshake. A client without one is let through; its identity is then to
/// be found out otherwise.
fn client_verifier(authorities: Content) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let path = authorities.path().to_owned();
    let useless = |reason: String| TlsError::ClientAuthorities {
        path: path.clone(),
        reason,
    };
    let mut roots = RootCertStore::empty();
    for authority in read_chain(authorities)? {
        roots
            .add(authority)
            .map_err(|error| useless(error.to_string()))?;
    }
    let provider = Arc::new(ring::default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .allow_unauthenticated()
        .build()
        .map_err(|error| useless(error.to_string()))
}

fn read_chain(file: Content) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let path = file.path().to_owned();
    let unreadable = |source| TlsError::Unreadable {
        what: "a certificate",
        path: path.clone(),
        source,
    };
    let text = file.bytes().map_err(|error| unreadable(error.into()))?;
    let mut chain = Vec::new();
    for item in pem::certificates(&text).map_err(|error| unreadable(error.into()))? {
        let decoded = CertificateDer::from_pem_slice(item.text.as_bytes());
        chain.push(decoded.map_err(|error| unreadable(item.refused(error).into()))?);
    }
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(path));
    }
    Ok(chain)
}

fn read_key(file: Content) -> Result<PrivateKeyDer<'static>, TlsError> {
    let path = file.path().to_owned();
    let key = || {
        let text = file.bytes()?;
        let item = pem::private_key(&text)?.ok_or(PemFault::None)?;
        let decoded = PrivateKeyDer::from_pem_slice(item.text.as_bytes());
        Ok(decoded.map_err(|error| item.refused(error))?)
    };
    key().map_err(|source| TlsError::Unreadable {
        what: "a private key",
        path,
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use harp_files::Kept;

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

    fn load(
        certificate: &Path,
        private_key: &Path,
        client_ca_file: Option<&Path>,
    ) -> Result<Loaded, TlsError> {
        let files = TlsFiles {
            certificate: certificate.to_owned(),
            private_key: private_key.to_owned(),
            client_ca_file: client_ca_file.map(Path::to_owned),
        };
        let kept = Kept::read(files.paths(), |contents| files.load(contents, &[]))?;
        Ok(kept.value().clone())
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
    fn files_are_read_as_people_put_them_together() {
        let files = Files::new();
        let (certificate, key) = pair();
        let (authority, _) = pair();
        let glued = format!("\u{feff}{}{authority}", certificate.trim_end());
        let indented = glued.replace('\n', "\n    ");
        let (certificate, key) = (
            files.write("c", &indented),
            files.write("k", &format!("\u{feff}  {}", key.replace('\n', "\r\n"))),
        );
        load(&certificate, &key, Some(&certificate)).unwrap();
        let torn = files.write("torn", &glued.replacen("-----END", "", 1));
        let told = load(&torn, &key, None).unwrap_err().to_string();
        assert!(
            told.contains("line 1: the BEGIN CERTIFICATE has no END"),
            "{told}"
        );
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
