//! The trust files: what they say, and whether they still say it.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::{Fingerprint, TrustError, TrustFiles};

/// A file changed again within this time can look unchanged, on a file system that
/// counts whole seconds; until then it is read again.
const UNSETTLED: Duration = Duration::from_secs(2);

/// What the trust files say.
#[derive(Debug)]
pub(super) struct Rules {
    /// With a CA file.
    pub(super) authorities: Option<RootCertStore>,
    /// With a file of known certificates.
    pub(super) known: Option<HashSet<Box<[u8]>>>,
    /// Whether a certificate that a CA signed must name the host.
    pub(super) verify_hostname: bool,
}

/// The trust files as they were when read.
#[derive(Debug)]
pub(super) struct Files {
    authorities: Option<Seen>,
    known: Option<Seen>,
    /// True if nothing was changed shortly before the reading.
    settled: bool,
    rules: Arc<Rules>,
}

/// One file at the time of its reading.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    stamp: Option<Stamp>,
    content: Fingerprint,
}

/// What is looked at to see a change; `None` in its place stands for a missing file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: SystemTime,
    inode: u64,
}

impl Files {
    pub(super) fn read(paths: &TrustFiles) -> Result<Files, TrustError> {
        let read_at = SystemTime::now();
        let authorities = paths
            .ca_file
            .as_deref()
            .map(|file| Source::read(file, Missing::Refused))
            .transpose()?;
        let known = paths
            .known_certs_file
            .as_deref()
            .map(|file| Source::read(file, Missing::Empty))
            .transpose()?;
        let rules = Rules {
            authorities: authorities.as_ref().map(Source::authorities).transpose()?,
            known: known.as_ref().map(Source::known).transpose()?,
            verify_hostname: paths.verify_hostname,
        };
        let settled = [&authorities, &known]
            .into_iter()
            .flatten()
            .all(|source| source.settled(read_at));
        Ok(Files {
            authorities: authorities.map(|source| source.seen),
            known: known.map(|source| source.seen),
            settled,
            rules: Arc::new(rules),
        })
    }

    pub(super) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules)
    }

    /// True if the files need not be read again.
    pub(super) fn are_current(&self, paths: &TrustFiles) -> bool {
        let unchanged = |file: Option<&Path>, seen: &Option<Seen>| match (file, seen) {
            (Some(file), Some(seen)) => Stamp::of(file).is_ok_and(|stamp| stamp == seen.stamp),
            _ => true,
        };
        self.settled
            && unchanged(paths.ca_file.as_deref(), &self.authorities)
            && unchanged(paths.known_certs_file.as_deref(), &self.known)
    }

    /// True if a second reading found the very same files.
    pub(super) fn are_the_same(&self, other: &Files) -> bool {
        self.authorities == other.authorities && self.known == other.known
    }

    pub(super) fn with_rules_of(mut self, other: &Files) -> Files {
        self.rules = other.rules();
        self
    }
}

impl Stamp {
    fn of(file: &Path) -> io::Result<Option<Stamp>> {
        match std::fs::metadata(file) {
            Ok(metadata) => Ok(Some(Stamp {
                size: metadata.len(),
                modified: metadata.modified()?,
                inode: metadata.ino(),
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

/// A file's text while it is being read.
struct Source<'a> {
    file: &'a Path,
    text: Vec<u8>,
    seen: Seen,
}

impl<'a> Source<'a> {
    fn read(file: &'a Path, missing: Missing) -> Result<Source<'a>, TrustError> {
        let unreadable = |source| TrustError::Read {
            file: file.to_owned(),
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
        let content = Fingerprint::of(&text);
        Ok(Source {
            file,
            text,
            seen: Seen { stamp, content },
        })
    }

    /// True if a change after `read_at` is sure to show in the stamp.
    fn settled(&self, read_at: SystemTime) -> bool {
        self.seen.stamp.is_none_or(|stamp| {
            read_at
                .duration_since(stamp.modified)
                .is_ok_and(|age| age > UNSETTLED)
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
}
