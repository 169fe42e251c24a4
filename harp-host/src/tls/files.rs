//! The trust files: what they say.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use harp_files::Contents;
use harp_files::pem::{self, NotPem, PemItem};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::TrustError;

/// Source of a PEM text.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    /// Looked at again before each connection.
    File(PathBuf),
    /// Given by the program, under the name of the option.
    Text(&'static str, Arc<[u8]>),
}

/// Everything that decides about a peer, and what we show it.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The CAs.
    pub authorities: Option<Pem>,
    /// The known certificates.
    pub known: Option<Pem>,
    /// Our own certificate and its key.
    pub own: Option<(Pem, Pem)>,
    /// Whether a certificate that a CA signed must name the peer.
    pub verify_hostname: bool,
}

/// Certificates that the sources name, in a form to judge by.
#[derive(Debug)]
pub(super) struct TrustAnchors {
    /// With a CA file.
    pub(super) authorities: Option<RootCertStore>,
    /// With a file of known certificates.
    pub(super) known: Option<HashSet<Box<[u8]>>>,
    /// Certificate and key for a peer that asks for them.
    pub(super) own: Option<Arc<SingleCertAndKey>>,
    /// Whether a certificate that a CA signed must name the host.
    pub(super) verify_hostname: bool,
}

impl Sources {
    /// The files, in the order in which [`Sources::judge`] takes them.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let own = self
            .own
            .as_ref()
            .map(|(certificate, key)| [certificate, key]);
        let pems = [&self.authorities, &self.known].into_iter().flatten();
        let files = pems.chain(own.into_iter().flatten()).filter_map(|pem| {
            let Pem::File(file) = pem else { return None };
            Some(file.clone())
        });
        files.collect()
    }

    /// Makes rules of the sources, whose files have been read.
    pub(super) fn judge(
        &self,
        mut files: Contents,
        provider: &CryptoProvider,
    ) -> Result<Arc<TrustAnchors>, TrustError> {
        let authorities = match &self.authorities {
            Some(pem) => Some(Source::read(pem, Missing::Refused, &mut files)?.authorities()?),
            None => None,
        };
        let known = match &self.known {
            Some(pem) => Some(Source::read(pem, Missing::Empty, &mut files)?.known()?),
            None => None,
        };
        let own = match &self.own {
            Some((certificate, key)) => {
                let certificate = Source::read(certificate, Missing::Refused, &mut files)?;
                let key = Source::read(key, Missing::Refused, &mut files)?;
                Some(certificate.with_key(&key, provider)?)
            }
            None => None,
        };
        Ok(Arc::new(TrustAnchors {
            authorities,
            known,
            own,
            verify_hostname: self.verify_hostname,
        }))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Empty,
    Refused,
}

/// A PEM text while it is being read.
struct Source<'a> {
    /// The file, or the option's name in its place.
    file: &'a Path,
    text: Cow<'a, [u8]>,
}

impl<'a> Source<'a> {
    fn read(
        pem: &'a Pem,
        missing: Missing,
        files: &mut Contents,
    ) -> Result<Source<'a>, TrustError> {
        let file = match pem {
            Pem::File(file) => file,
            Pem::Text(option, text) => {
                return Ok(Source {
                    file: Path::new(option),
                    text: Cow::Borrowed(text),
                });
            }
        };
        let content = files.take();
        let text = match missing {
            Missing::Empty if content.is_absent() => Vec::new(),
            _ => content.bytes().map_err(|source| TrustError::Read {
                file: file.clone(),
                source,
            })?,
        };
        Ok(Source {
            file,
            text: Cow::Owned(text),
        })
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TrustError> {
        let items = pem::certificates(&self.text).map_err(|error| self.no_pem(error))?;
        let decode = |item: &PemItem| {
            CertificateDer::from_pem_slice(item.text.as_bytes())
                .map_err(|error| self.no_pem(item.refused(error)))
        };
        items.iter().map(decode).collect()
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TrustError> {
        let item = pem::private_key(&self.text).map_err(|error| self.no_pem(error))?;
        let item = item.ok_or_else(|| TrustError::NoKey {
            file: self.file.to_owned(),
        })?;
        PrivateKeyDer::from_pem_slice(item.text.as_bytes())
            .map_err(|error| self.no_pem(item.refused(error)))
    }

    fn no_pem(&self, source: NotPem) -> TrustError {
        TrustError::Pem {
            file: self.file.to_owned(),
            source,
        }
    }

    fn authorities(&self) -> Result<RootCertStore, TrustError> {
        let mut roots = RootCertStore::empty();
        for (index, certificate) in self.certificates()?.into_iter().enumerate() {
            roots
                .add(certificate)
                .map_err(|source| TrustError::NotACa {
                    file: self.file.to_owned(),
                    number: index + 1,
                    source,
                })?;
        }
        if roots.is_empty() {
            return Err(TrustError::Empty {
                file: self.file.to_owned(),
            });
        }
        Ok(roots)
    }

    fn known(&self) -> Result<HashSet<Box<[u8]>>, TrustError> {
        let certificates = self.certificates()?;
        Ok(certificates
            .iter()
            .map(|der| Box::from(der.as_ref()))
            .collect())
    }

    /// This certificate, its chain behind it, and the key that belongs to it.
    fn with_key(
        &self,
        key: &Source<'_>,
        provider: &CryptoProvider,
    ) -> Result<Arc<SingleCertAndKey>, TrustError> {
        let chain = self.certificates()?;
        if chain.is_empty() {
            return Err(TrustError::Empty {
                file: self.file.to_owned(),
            });
        }
        let private = key.private_key()?;
        let certified = CertifiedKey::from_der(chain, private, provider).map_err(|source| {
            TrustError::OwnCertificate {
                file: self.file.to_owned(),
                key: key.file.to_owned(),
                source,
            }
        })?;
        Ok(Arc::new(SingleCertAndKey::from(certified)))
    }
}

/// Shows no text: it may be a key.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pem::File(file) => f.debug_tuple("File").field(file).finish(),
            Pem::Text(option, _) => f.debug_tuple("Text").field(option).finish(),
        }
    }
}
