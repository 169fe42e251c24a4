//! Login sessions of the page. One has two halves, and both are needed: a cookie, which browsers
//! send to whatever listens at another port of the host as well, and a key that the page keeps.
//!
//! A cookie is signed with a key that is kept beside the store, and says what the session is:
//! its id, when it began and was used last, and by which token. So nothing is kept of a session
//! but that it was ended before its time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use harp_jobs::client::{Identity, Proof};
use harp_service::private_file;
use harp_time::clock;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::warn;

use crate::identity::tokens::{TokenHash, TokenProof, TokensFile};

/// How long a session lasts behind its last use, in milliseconds.
const UNUSED: u64 = 12 * 3600 * 1000;

/// How long one lasts at most.
const LONGEST: u64 = 7 * 24 * 3600 * 1000;

/// How old the note of the last use may be in a cookie before there is a new one.
const NOTED: u64 = 10 * 60 * 1000;

/// Bytes of a session's id, of what a cookie says, and of its signature.
const ID: usize = 16;
const SAID: usize = ID + 8 + 8 + 32;
const SIGNED: usize = SAID + 32;

/// All sessions of this dispatcher.
#[derive(Debug)]
pub(super) struct Sessions {
    /// `None` if nothing of them is kept.
    file: Option<PathBuf>,
    key: hmac::Key,
    kept: Mutex<Kept>,
}

/// What is kept of them in the file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Kept {
    /// What cookies are signed with, in hexadecimal digits.
    key: String,
    /// Sessions that were ended before their time, and until when that has to be known.
    #[serde(default)]
    ended: BTreeMap<String, u64>,
}

/// A session, as its cookie says. Times are milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LoginSession {
    id: [u8; ID],
    began: u64,
    used: u64,
    token: TokenHash,
}

/// Proof of a client that came with both halves of a session.
#[derive(Debug)]
pub(super) struct SessionProof {
    session: LoginSession,
    token: TokenProof,
    sessions: Arc<Sessions>,
}

impl Sessions {
    /// The sessions whose file is in this directory; without one they end with the process.
    /// Blocks.
    ///
    /// # Errors
    ///
    /// What the system says, with the path in the message.
    pub(super) fn open(directory: Option<&Path>) -> std::io::Result<Sessions> {
        let file = directory.map(|directory| directory.join("sessions.json"));
        let kept = match &file {
            Some(file) => read(file)?,
            None => None,
        };
        let kept = kept.filter(|kept| from_hex::<32>(&kept.key).is_some());
        let is_new = kept.is_none();
        let kept = match kept {
            Some(kept) => kept,
            None => Kept {
                key: hex(&random::<32>()?),
                ended: BTreeMap::new(),
            },
        };
        let key = from_hex::<32>(&kept.key).unwrap_or_default();
        let sessions = Sessions {
            file,
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            kept: Mutex::new(kept),
        };
        if is_new {
            sessions.write()?;
        }
        Ok(sessions)
    }

    /// A session for the owner of a token.
    ///
    /// # Errors
    ///
    /// If the system has no random numbers.
    pub(super) fn begin(&self, token: TokenHash) -> std::io::Result<LoginSession> {
        let now = clock::now();
        Ok(LoginSession {
            id: random()?,
            began: now,
            used: now,
            token,
        })
    }

    /// The value of a session's cookie.
    pub(super) fn cookie(&self, session: &LoginSession) -> String {
        let said = session.said();
        let signature = hmac::sign(&self.key, &said);
        hex(&said) + &hex(signature.as_ref())
    }

    /// The half that the page keeps.
    pub(super) fn page_key(&self, session: &LoginSession) -> String {
        hex(hmac::sign(&self.key, &session.page()).as_ref())
    }

    /// The session of a cookie and a page key, and who it is of; `None` if the two are not of
    /// one session, or it is over.
    pub(super) async fn of(
        self: &Arc<Self>,
        cookie: &str,
        page_key: &str,
        tokens: &watch::Receiver<Option<Arc<TokensFile>>>,
    ) -> Option<(Identity, SessionProof)> {
        let signed: [u8; SIGNED] = from_hex(cookie)?;
        let (said, signature) = signed.split_at(SAID);
        hmac::verify(&self.key, said, signature).ok()?;
        let session = LoginSession::read(said)?;
        let page_key: [u8; 32] = from_hex(page_key)?;
        hmac::verify(&self.key, &session.page(), &page_key).ok()?;
        let (identity, token) = TokenProof::of_hash(session.token, tokens).await?;
        let proof = SessionProof {
            session,
            token,
            sessions: Arc::clone(self),
        };
        (!proof.is_over()).then_some((identity, proof))
    }

    /// Ends a session before its time. Blocks.
    ///
    /// # Errors
    ///
    /// What the system says: it is ended until the next start, then.
    pub(super) fn end(&self, session: &LoginSession) -> std::io::Result<()> {
        let now = clock::now();
        let mut kept = self.kept();
        kept.ended.retain(|_, until| *until > now);
        kept.ended.insert(hex(&session.id), session.began + LONGEST);
        drop(kept);
        self.write()
    }

    fn write(&self) -> std::io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let text = serde_json::to_vec(&*self.kept())?;
        let written = private_file::write(file, &text);
        if let Err(error) = &written {
            warn!(%error, "what is kept of sessions cannot be written");
        }
        written
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        // A std mutex: held for a few map operations.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is kept in this file; `None` if it is not there, or says nothing.
fn read(file: &Path) -> std::io::Result<Option<Kept>> {
    match std::fs::read(file) {
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let why = format!("cannot read {}: {error}", file.display());
            Err(std::io::Error::new(error.kind(), why))
        }
    }
}

impl LoginSession {
    fn said(&self) -> [u8; SAID] {
        let mut said = [0; SAID];
        said[..ID].copy_from_slice(&self.id);
        said[ID..ID + 8].copy_from_slice(&self.began.to_be_bytes());
        said[ID + 8..ID + 16].copy_from_slice(&self.used.to_be_bytes());
        said[ID + 16..].copy_from_slice(&self.token);
        said
    }

    fn read(said: &[u8]) -> Option<LoginSession> {
        let (id, rest) = said.split_first_chunk::<ID>()?;
        let (began, rest) = rest.split_first_chunk::<8>()?;
        let (used, token) = rest.split_first_chunk::<8>()?;
        Some(LoginSession {
            id: *id,
            began: u64::from_be_bytes(*began),
            used: u64::from_be_bytes(*used),
            token: token.try_into().ok()?,
        })
    }

    /// What the page's half is the signature of.
    fn page(&self) -> Vec<u8> {
        [b"page", &self.id[..]].concat()
    }

    /// When it ends unless it is used, in milliseconds since 1970.
    pub(super) fn expires(&self) -> u64 {
        (self.used + UNUSED).min(self.began + LONGEST)
    }
}

impl SessionProof {
    /// The session.
    pub(super) fn session(&self) -> &LoginSession {
        &self.session
    }

    /// The session with a newer note of its use, if it is time for one.
    pub(super) fn renewed(&self) -> Option<LoginSession> {
        let now = clock::now();
        let is_old = now.saturating_sub(self.session.used) >= NOTED;
        is_old.then_some(LoginSession {
            used: now,
            ..self.session
        })
    }

    fn is_over(&self) -> bool {
        self.session.expires() <= clock::now()
            || self
                .sessions
                .kept()
                .ended
                .contains_key(&hex(&self.session.id))
    }
}

impl Proof for SessionProof {
    fn holds(&self) -> BoxFuture<'_, bool> {
        Box::pin(async { !self.is_over() && self.token.holds().await })
    }
}

fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| std::io::Error::other("the system has no random numbers"))?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16).unwrap_or_default();
        // Below 256.
        *byte = (digit(pair[0]) * 16 + digit(pair[1])) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tokens::NewToken;

    fn tokens(line: &str) -> watch::Receiver<Option<Arc<TokensFile>>> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens");
        std::fs::write(&path, line).unwrap();
        let file = TokensFile::read(&path).unwrap();
        // The file stays, as long as the test does.
        std::mem::forget(directory);
        watch::channel(Some(Arc::new(file))).1
    }

    #[tokio::test]
    async fn both_halves_are_needed_and_a_restart_ends_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Arc::new(Sessions::open(Some(directory.path())).unwrap());
        let sessions = open();
        let new = NewToken::make("shop", None).unwrap();
        let tokens = tokens(&new.line);
        let (_, token) = TokenProof::of(&new.token, &tokens).await.unwrap();
        let session = sessions.begin(token.hash()).unwrap();
        let (cookie, page_key) = (sessions.cookie(&session), sessions.page_key(&session));
        let (identity, proof) = sessions.of(&cookie, &page_key, &tokens).await.unwrap();
        assert_eq!(identity.as_str(), "token:shop");
        assert!(proof.holds().await && proof.renewed().is_none());

        let other = sessions.begin(token.hash()).unwrap();
        assert!(
            sessions
                .of(&cookie, &sessions.page_key(&other), &tokens)
                .await
                .is_none()
        );
        let mut forged = cookie.clone();
        forged.replace_range(40..41, if &cookie[40..41] == "0" { "1" } else { "0" });
        for (cookie, page_key) in [
            (&*forged, &*page_key),
            ("", &*page_key),
            (&*cookie, ""),
            (&cookie[2..], &*page_key),
        ] {
            assert!(
                sessions.of(cookie, page_key, &tokens).await.is_none(),
                "{cookie}"
            );
        }

        let sessions = open();
        assert!(sessions.of(&cookie, &page_key, &tokens).await.is_some());
        sessions.end(&session).unwrap();
        assert!(sessions.of(&cookie, &page_key, &tokens).await.is_none());
        assert!(open().of(&cookie, &page_key, &tokens).await.is_none());
        let late = LoginSession {
            used: clock::now() - UNUSED,
            ..other
        };
        let (cookie, page_key) = (sessions.cookie(&late), sessions.page_key(&late));
        assert!(sessions.of(&cookie, &page_key, &tokens).await.is_none());
    }
}
