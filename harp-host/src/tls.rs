//! Judging a host's certificate (daemon, "How a host's certificate is judged"). A
//! dispatcher's is judged by the same rules.
//!
//! A [`Trust`] stands for the operator's choice: a CA file, a file of known
//! certificates, both or neither. It gives out a TLS configuration for each host it is
//! asked for, and looks at the files before every call: a change takes effect with the
//! next handshake, and no resumed session outlives the decision that it was made under.

mod certificate;
mod explain;
mod files;
mod verifier;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use harp_files::pem::NotPem;
use harp_files::{Kept, Look, Looks};
use harp_proto::host::kept;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;

pub use crate::fingerprint::{Fingerprint, NotAFingerprint};
pub use explain::{Peer, explain};
use files::TrustAnchors;
pub use files::{Pem, Sources};
use verifier::HostVerifier;

use crate::endpoint::Endpoint;
use crate::race::Answered;

/// TLS sessions remembered for one host. A host hands out two tickets a handshake.
const SESSIONS_PER_HOST: usize = 8;

/// Hosts whose configuration is kept. Beyond that all are dropped and made again as they
/// are needed, which costs full handshakes and nothing else.
const CACHED_HOSTS: usize = 4096;

/// Files of the certificates that make a host trusted. With neither file any
/// certificate is accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustFiles {
    /// PEM certificates of the CAs whose signature makes a host's certificate good.
    pub ca_file: Option<PathBuf>,
    /// PEM certificates of hosts, good as they are. The file may be missing.
    pub known_certs_file: Option<PathBuf>,
    /// With `ca_file`: the certificate must name the host's address or its `tls_name`.
    pub verify_hostname: bool,
}

impl From<TrustFiles> for Sources {
    fn from(files: TrustFiles) -> Sources {
        Sources {
            authorities: files.ca_file.map(Pem::File),
            known: files.known_certs_file.map(Pem::File),
            own: None,
            verify_hostname: files.verify_hostname,
        }
    }
}

/// What a caller offers by ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Offer {
    /// Nothing, as callers do that know one protocol.
    Nothing,
    /// `harp/1`: a host that agrees is a harpd like ours.
    Plain,
    /// That calls outlive their connection, or `harp/1` where the host keeps none.
    Kept,
}

/// Why the trust files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file cannot be read, or the CA file is missing.
    #[error("cannot read {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Something in a file is no PEM.
    #[error("{}: not PEM: {source}", file.display())]
    Pem {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        source: NotPem,
    },
    /// The CA file holds no certificate.
    #[error("{}: no PEM certificate in it (-----BEGIN CERTIFICATE-----)", file.display())]
    Empty {
        /// The file.
        file: PathBuf,
    },
    /// A certificate of the CA file cannot be one of a CA.
    #[error("{}: certificate {number} cannot be used as a CA: {source}", file.display())]
    NotACa {
        /// The file.
        file: PathBuf,
        /// Its place in the file, from 1.
        number: usize,
        /// What is wrong.
        source: rustls::Error,
    },
    /// A file that should hold a private key holds none.
    #[error("{}: no PEM private key in it (-----BEGIN PRIVATE KEY-----)", file.display())]
    NoKey {
        /// The file.
        file: PathBuf,
    },
    /// Our own certificate and its key cannot be used.
    #[error("{} with the key {}: cannot be used: {source}", file.display(), key.display())]
    OwnCertificate {
        /// The certificate's file.
        file: PathBuf,
        /// The key's.
        key: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// The TLS library refuses to be set up.
    #[error("cannot set up TLS: {0}")]
    Setup(#[from] rustls::Error),
    /// One of these, as several calls have met it at the same time.
    #[error(transparent)]
    Shared(Arc<TrustError>),
}

impl TrustError {
    /// What the system said, if a file could not be read.
    #[must_use]
    pub fn unreadable(&self) -> Option<&std::io::Error> {
        match self {
            TrustError::Read { source, .. } => Some(source),
            TrustError::Shared(error) => error.unreadable(),
            _ => None,
        }
    }
}

/// The rules by which certificates of hosts are judged, and what is remembered of hosts that
/// were called under them: TLS sessions, and the addresses that answered.
#[derive(Debug)]
pub struct Trust {
    accepts_anything: bool,
    provider: Arc<CryptoProvider>,
    looks: Looks<Result<Seen, Arc<TrustError>>>,
    configs: Mutex<Configs>,
    answered: Answered,
}

/// What a look at the files has found.
#[derive(Debug, Clone)]
struct Seen {
    anchors: Arc<TrustAnchors>,
    /// Goes up whenever the files have been written, even if they say what they said.
    edition: u64,
}

/// TLS configurations that were made under one edition of the files, never kept beyond it.
#[derive(Debug, Default)]
struct Configs {
    edition: u64,
    by_host: HashMap<(Endpoint, Offer), Arc<ClientConfig>>,
}

impl Trust {
    /// Reads the files. Blocks for as long as that takes.
    ///
    /// # Errors
    ///
    /// [`TrustError`] if a file is broken or cannot be read, or the CA file is missing.
    pub fn new(files: TrustFiles) -> Result<Trust, TrustError> {
        Trust::from_sources(files.into())
    }

    /// Makes what [`Trust::new`] does, of PEM texts, with a certificate of our own where wanted.
    ///
    /// # Errors
    ///
    /// Those of [`Trust::new`].
    pub fn from_sources(sources: Sources) -> Result<Trust, TrustError> {
        Trust::telling(sources, |_| {})
    }

    /// Makes what [`Trust::from_sources`] does. `tell` is called once when the files cannot be
    /// used any more, and for each further reason, and with `None` when they can be used again.
    ///
    /// # Errors
    ///
    /// Those of [`Trust::new`].
    pub fn telling(sources: Sources, tell: fn(Option<&TrustError>)) -> Result<Trust, TrustError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let accepts_anything = sources.authorities.is_none() && sources.known.is_none();
        Ok(Trust {
            accepts_anything,
            looks: looks(sources, Arc::clone(&provider), tell)?,
            provider,
            configs: Mutex::default(),
            answered: Answered::default(),
        })
    }

    /// True if neither file is set, so that every certificate is accepted from a host
    /// without a fingerprint of its own.
    #[must_use]
    pub fn accepts_anything(&self) -> bool {
        self.accepts_anything
    }

    /// Which of their addresses the hosts have answered at that were called under it.
    pub(crate) fn answered(&self) -> &Answered {
        &self.answered
    }

    /// The TLS configuration for a call to this host that starts now. Looks whether the
    /// files have changed, and reads them again if so: as long as the file system takes, to
    /// be bounded in time. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`TrustError`] if a file changed and cannot be used any more. What it said before
    /// is forgotten.
    pub async fn client_config(
        &self,
        endpoint: &Endpoint,
    ) -> Result<Arc<ClientConfig>, TrustError> {
        self.client_config_offering(endpoint, Offer::Nothing).await
    }

    /// Makes what [`Trust::client_config`] does, with protocols to choose from.
    ///
    /// # Errors
    ///
    /// Those of [`Trust::client_config`].
    pub async fn client_config_offering(
        &self,
        endpoint: &Endpoint,
        offer: Offer,
    ) -> Result<Arc<ClientConfig>, TrustError> {
        let seen = self.looks.look().await;
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = match seen {
            Ok(seen) => seen,
            // Nobody is trusted by files that cannot be read.
            Err(error) => {
                configs.by_host.clear();
                return Err(TrustError::Shared(error));
            }
        };
        // Another look may have been later, and its caller sooner here.
        if seen.edition > configs.edition {
            configs.edition = seen.edition;
            configs.by_host.clear();
        }
        let key = (endpoint.clone(), offer);
        let is_newest = seen.edition == configs.edition;
        if is_newest && let Some(config) = configs.by_host.get(&key) {
            return Ok(Arc::clone(config));
        }
        let config = self.make_config(seen.anchors, endpoint, offer)?;
        if is_newest {
            if configs.by_host.len() >= CACHED_HOSTS {
                configs.by_host.clear();
            }
            configs.by_host.insert(key, Arc::clone(&config));
        }
        Ok(config)
    }

    fn make_config(
        &self,
        rules: Arc<TrustAnchors>,
        endpoint: &Endpoint,
        offer: Offer,
    ) -> Result<Arc<ClientConfig>, TrustError> {
        let own = rules.own.clone();
        let verifier = HostVerifier::new(rules, endpoint.fingerprint, &self.provider);
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(rustls::ALL_VERSIONS)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match own {
            Some(own) => builder.with_client_cert_resolver(own),
            None => builder.with_no_client_auth(),
        };
        let protocols: &[&[u8]] = match offer {
            Offer::Nothing => &[],
            Offer::Plain => &[kept::ALPN_PLAIN],
            Offer::Kept => &[kept::ALPN, kept::ALPN_PLAIN],
        };
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        config.resumption = Resumption::in_memory_sessions(SESSIONS_PER_HOST);
        Ok(Arc::new(config))
    }
}

/// Reads the files, and gives what reads them again.
fn looks(
    sources: Sources,
    provider: Arc<CryptoProvider>,
    tell: fn(Option<&TrustError>),
) -> Result<Looks<Result<Seen, Arc<TrustError>>>, TrustError> {
    let kept = Kept::read(sources.files(), |files| sources.judge(files, &provider))?;
    let state = Mutex::new((kept, 0, true));
    Ok(Looks::new(move || {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let (kept, edition, is_usable) = &mut *state;
        match kept.look(|files| sources.judge(files, &provider)) {
            Look::Same | Look::Again => {}
            // An operator who writes a file again may want nobody to go on with an old session.
            Look::New | Look::Touched => *edition += 1,
            Look::Failed { error, is_news } => {
                *edition += 1;
                *is_usable = false;
                if is_news {
                    tell(Some(&error));
                }
                return Err(Arc::new(error));
            }
        }
        if !std::mem::replace(is_usable, true) {
            tell(None);
        }
        Ok(Seen {
            anchors: Arc::clone(kept.value()),
            edition: *edition,
        })
    }))
}
