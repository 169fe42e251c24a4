//! The trust files: what they say, and whether they still say it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{Fingerprint, TrustError};

/// A file changed again within these seconds can look unchanged, on a file system that
/// counts whole ones; until then it is read again.
const UNSETTLED: i64 = 2;

/// Where a PEM text comes from.
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

/// What the sources say.
#[derive(Debug)]
pub(super) struct Rules {
    /// With a CA file.
    pub(super) authorities: Option<RootCertStore>,
    /// With a file of known certificates.
    pub(super) known: Option<HashSet<Box<[u8]>>>,
    /// What we show to a peer that asks who we are.
    pub(super) own: Option<Arc<SingleCertAndKey>>,
    /// Whether a certificate that a CA signed must name the host.
    pub(super) verify_hostname: bool,
}

/// The files as they were when read.
#[derive(Debug)]
pub(super) struct Files {
    watched: Vec<Seen>,
    /// True if nothing was changed shortly before the reading.
    settled: bool,
    rules: Arc<Rules>,
}

/// One file at the time of its reading.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    file: PathBuf,
    stamp: Option<Stamp>,
    content: Fingerprint,
}

/// What is looked at to see a change; `None` in its place stands for a missing file. The
/// time of the last change of its inode is set by the system alone; the other times may
/// be set by anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Files {
    pub(super) fn read(sources: &Sources, provider: &CryptoProvider) -> Result<Files, TrustError> {
        let read_at = SystemTime::now();
        let mut watched = Vec::new();
        let rules = Rules {
            authorities: sources
                .authorities
                .as_ref()
                .map(|pem| Source::read(pem, Missing::Refused, &mut watched)?.authorities())
                .transpose()?,
            known: sources
                .known
                .as_ref()
                .map(|pem| Source::read(pem, Missing::Empty, &mut watched)?.known())
                .transpose()?,
            own: sources
                .own
                .as_ref()
                .map(|(certificate, key)| {
                    let certificate = Source::read(certificate, Missing::Refused, &mut watched)?;
                    let key = Source::read(key, Missing::Refused, &mut watched)?;
                    certificate.with_key(&key, provider)
                })
                .transpose()?,
            verify_hostname: sources.verify_hostname,
        };
        Ok(Files {
            settled: watched.iter().all(|seen| seen.is_settled(read_at)),
            watched,
            rules: Arc::new(rules),
        })
    }

    pub(super) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules)
    }

    /// True if the files need not be read again.
    pub(super) fn are_current(&self) -> bool {
        let unchanged = |seen: &Seen| Stamp::of(&seen.file).is_ok_and(|stamp| stamp == seen.stamp);
        self.settled && self.watched.iter().all(unchanged)
    }

    /// True if a second reading found the very same files.
    pub(super) fn are_the_same(&self, other: &Files) -> bool {
        self.watched == other.watched
    }

    pub(super) fn with_rules_of(mut self, other: &Files) -> Files {
        self.rules = other.rules();
        self
    }
}

impl Seen {
    /// True if a change after `read_at` is sure to show in the stamp.
    fn is_settled(&self, read_at: SystemTime) -> bool {
        let Ok(now) = read_at.duration_since(SystemTime::UNIX_EPOCH) else {
            return false;
        };
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        self.stamp.is_none_or(|stamp| {
            let (last, _) = stamp.modified.max(stamp.changed);
            now.saturating_sub(last) > UNSETTLED
        })
    }
}

impl Stamp {
    fn of(file: &Path) -> io::Result<Option<Stamp>> {
        match std::fs::metadata(file) {
            Ok(metadata) => Ok(Some(Stamp {
                device: metadata.dev(),
                inode: metadata.ino(),
                size: metadata.len(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
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
        watched: &mut Vec<Seen>,
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
        let unreadable = |source| TrustError::Read {
            file: file.clone(),
            source,
        };
        // Looked at before reading: what changes in between shows at the next call.
        let stamp = Stamp::of(file).map_err(unreadable)?;
        let text = match std::fs::read(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && missing == Missing::Empty => {
                Vec::new()
            }
            Err(error) => return Err(unreadable(error)),
        };
        watched.push(Seen {
            file: file.clone(),
            stamp,
            content: Fingerprint::of(&text),
        });
        Ok(Source {
            file,
            text: Cow::Owned(text),
        })
    }

    fn certificates(&self) -> impl Iterator<Item = Result<CertificateDer<'static>, TrustError>> {
        CertificateDer::pem_slice_iter(&self.text).map(|certificate| {
            certificate.map_err(|source| TrustError::Pem {
                file: self.file.to_owned(),
                source,
            })
        })
    }

    fn authorities(&self) -> Result<RootCertStore, TrustError> {
        let mut roots = RootCertStore::empty();
        for (index, certificate) in self.certificates().enumerate() {
            roots
                .add(certificate?)
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
        self.certificates()
            .map(|certificate| Ok(Box::from(certificate?.as_ref())))
            .collect()
    }

    /// This certificate, its chain behind it, and the key that belongs to it.
    fn with_key(
        &self,
        key: &Source<'_>,
        provider: &CryptoProvider,
    ) -> Result<Arc<SingleCertAndKey>, TrustError> {
        let chain: Vec<_> = self.certificates().collect::<Result<_, _>>()?;
        if chain.is_empty() {
            return Err(TrustError::Empty {
                file: self.file.to_owned(),
            });
        }
        let private = PrivateKeyDer::from_pem_slice(&key.text).map_err(|source| match source {
            pem::Error::NoItemsFound => TrustError::NoKey {
                file: key.file.to_owned(),
            },
            source => TrustError::Pem {
                file: key.file.to_owned(),
                source,
            },
        })?;
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
