//! Tokens: what a client proves itself with in `hello` (client protocol, section 8).
//!
//! A token is 32 random bytes, which nobody guesses however fast a hash is. So the file
//! keeps a plain SHA-256 of each. A client may have several, so that one can be exchanged
//! for another without a gap, and each may have a time from which on it is not known.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use harp_files::{Content, Kept, Look, Looks, text};
use harp_jobs::client::{Identity, Proof};
use harp_proto::Password;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;
use tokio::sync::watch;
use tracing::{error, info, warn};
use zeroize::Zeroizing;

/// What a token is known by: its SHA-256.
pub type TokenHash = [u8; 32];

/// The tokens file as it is now: read again when it has changed.
///
/// A change counts from the next look on. A file that has been deleted knows no token. A
/// file that cannot be used for another reason, unreadable or with a wrong line, changes
/// nothing; at the start, when there is no reading before it, only the wrong lines count for
/// nothing. Either is told to the log once.
#[derive(Debug)]
pub struct TokensFile {
    kept: Arc<Mutex<Kept<Arc<Tokens>>>>,
    looks: Looks<Arc<Tokens>>,
}

/// One reading of a tokens file.
#[derive(Debug, Default)]
pub struct Tokens(Vec<Entry>);

/// One line of it.
#[derive(Debug)]
struct Entry {
    owner: String,
    hash: TokenHash,
    /// When it stops being known.
    until: Option<SystemTime>,
}

/// Why a tokens file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// It could not be read.
    #[error("cannot read the tokens file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Lines of it are wrong: each as `FILE:LINE: message`.
    #[error("{}", .0.join("\n"))]
    Wrong(Vec<String>),
}

impl TokensFile {
    /// Reads lines `NAME:HASH` or `NAME:HASH:TIME`, as [`NewToken`] makes them. Empty lines
    /// and those that begin with `#` are passed over, and so are wrong ones, with a word in
    /// the log: their clients are refused, and nobody else.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn read(path: &Path) -> Result<TokensFile, TokensError> {
        let kept = Kept::read([path.to_owned()], |mut file| {
            let (tokens, problems) = Tokens::of_file(file.take())?;
            for problem in problems {
                error!("{problem}; this client is refused");
            }
            Ok(Arc::new(tokens))
        })?;
        let kept = Arc::new(Mutex::new(kept));
        let (path, looked_at) = (path.to_owned(), Arc::clone(&kept));
        Ok(TokensFile {
            kept,
            looks: Looks::new(move || look(&path, &looked_at)),
        })
    }

    /// Whether a file has nothing wrong in it.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or any line is wrong.
    pub fn check(path: &Path) -> Result<(), TokensError> {
        Kept::read([path.to_owned()], |mut file| {
            match Tokens::of_file(file.take())? {
                (_, problems) if problems.is_empty() => Ok(()),
                (_, problems) => Err(TokensError::Wrong(problems)),
            }
        })?;
        Ok(())
    }

    /// Whose token this is, if anybody's. Takes the same time for every wrong one, and as long
    /// as the file system does. Cancel safe.
    pub async fn identify(&self, token: &Password) -> Option<Identity> {
        self.owner(&hash(token.reveal())).await
    }

    /// How many tokens there were when the file was looked at last.
    #[must_use]
    pub fn count(&self) -> usize {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.value().0.len()
    }

    async fn owner(&self, hash: &TokenHash) -> Option<Identity> {
        self.looks.look().await.owner_at(hash, SystemTime::now())
    }
}

/// Reads the file again if it has changed. Blocks.
fn look(path: &Path, kept: &Mutex<Kept<Arc<Tokens>>>) -> Arc<Tokens> {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    let mut is_gone = false;
    let look = kept.look(|mut file| {
        let content = file.take();
        is_gone = content.is_absent();
        if is_gone {
            return Ok(Arc::default());
        }
        match Tokens::of_file(content)? {
            (tokens, problems) if problems.is_empty() => Ok(Arc::new(tokens)),
            (_, problems) => Err(TokensError::Wrong(problems)),
        }
    });
    match look {
        Look::New if is_gone => {
            warn!(file = %path.display(), "the tokens file is gone, no token is valid");
        }
        Look::New => info!(tokens = kept.value().0.len(), "tokens file read again"),
        Look::Again => info!("tokens file is usable again"),
        Look::Failed {
            error,
            is_news: true,
        } => {
            error!(%error, "tokens file unusable, its last good reading stays in force");
        }
        Look::Same | Look::Touched | Look::Failed { .. } => {}
    }
    Arc::clone(kept.value())
}

/// Proof that a client has shown a token which is in the file of the moment.
#[derive(Debug)]
pub struct TokenProof {
    identity: Identity,
    hash: TokenHash,
    tokens: watch::Receiver<Option<Arc<TokensFile>>>,
}

impl TokenProof {
    /// Whose token this is, if anybody's, and the proof of it. Takes the same time for every
    /// wrong one, and as long as the file system does. Cancel safe.
    pub async fn of(
        token: &Password,
        tokens: &watch::Receiver<Option<Arc<TokensFile>>>,
    ) -> Option<(Identity, TokenProof)> {
        TokenProof::of_hash(hash(token.reveal()), tokens).await
    }

    /// What the token is known by.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        self.hash
    }

    /// Finds what [`TokenProof::of`] does, for a token that was shown before.
    pub async fn of_hash(
        hash: TokenHash,
        tokens: &watch::Receiver<Option<Arc<TokensFile>>>,
    ) -> Option<(Identity, TokenProof)> {
        let file = tokens.borrow().clone()?;
        let identity = file.owner(&hash).await?;
        let proof = TokenProof {
            identity: identity.clone(),
            hash,
            tokens: tokens.clone(),
        };
        Some((identity, proof))
    }
}

impl Proof for TokenProof {
    /// False also once there is no tokens file any more.
    fn holds(&self) -> BoxFuture<'_, bool> {
        Box::pin(async {
            let file = self.tokens.borrow().clone();
            let owner = match file {
                Some(file) => file.owner(&self.hash).await,
                None => None,
            };
            owner.as_ref() == Some(&self.identity)
        })
    }
}

impl Tokens {
    fn of_file(content: Content) -> Result<(Tokens, Vec<String>), TokensError> {
        let path = content.path().to_owned();
        let origin = path.display().to_string();
        let text = content
            .text()
            .map_err(|source| TokensError::Unreadable { path, source })?;
        Ok(Tokens::parse(&text, &origin))
    }

    /// Reads the text of a tokens file; `origin` is its name for messages. Also gives a
    /// message for every line that is wrong.
    #[must_use]
    pub fn parse(text: &str, origin: &str) -> (Tokens, Vec<String>) {
        let mut entries: Vec<Entry> = Vec::new();
        let mut problems = Vec::new();
        for (number, line) in (1..).zip(text::lines(text)) {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match Entry::read(line) {
                Ok(entry) => match entries.iter().find(|known| known.hash == entry.hash) {
                    Some(known) => problems.push(format!(
                        "{origin}:{number}: the hash of {} is that of {} in a line above",
                        entry.owner, known.owner
                    )),
                    None => entries.push(entry),
                },
                Err(why) => problems.push(format!("{origin}:{number}: {why}")),
            }
        }
        (Tokens(entries), problems)
    }

    /// Whose token this is, if anybody's. Takes the same time for every wrong one.
    #[must_use]
    pub fn owner(&self, token: &Password) -> Option<Identity> {
        self.owner_at(&hash(token.reveal()), SystemTime::now())
    }

    fn owner_at(&self, hash: &TokenHash, now: SystemTime) -> Option<Identity> {
        let mut found = None;
        // Every hash is compared, each in constant time.
        for entry in &self.0 {
            if bool::from(entry.hash.ct_eq(hash)) {
                found = Some(entry);
            }
        }
        found
            .filter(|entry| entry.until.is_none_or(|until| now < until))
            .map(|entry| Identity::of_token(&entry.owner))
    }
}

impl Entry {
    fn read(line: &str) -> Result<Entry, &'static str> {
        const FORM: &str = "must be NAME:HASH or NAME:HASH:TIME, as `harpcallerd new-token NAME` \
                            prints it";
        let mut parts = line.splitn(3, ':');
        let owner = parts.next().filter(|name| is_name(name)).ok_or(FORM)?;
        let hash = parts.next().and_then(from_hex).ok_or(FORM)?;
        let until = parts.next().map(expiry).transpose()?;
        Ok(Entry {
            owner: owner.to_owned(),
            hash,
            until,
        })
    }
}

/// The time from which on a token is not known any more: a day, which it does not see, or a
/// moment of one, in UTC.
///
/// # Errors
///
/// What it has to look like.
pub fn expiry(text: &str) -> Result<SystemTime, &'static str> {
    let day = format!("{text}T00:00:00Z");
    humantime::parse_rfc3339(if text.len() == 10 { &day } else { text })
        .map_err(|_| "a token's time must be 2030-12-31 or 2030-12-31T23:59:59Z, in UTC")
}

/// A token that has just been made.
#[derive(Debug)]
pub struct NewToken {
    /// Text for the client: 64 hexadecimal digits.
    pub token: Password,
    /// The line for the tokens file.
    pub line: String,
}

/// Why no token could be made.
#[derive(Debug, thiserror::Error)]
pub enum NewTokenError {
    /// The name cannot stand in a tokens file.
    #[error("a token's name is 1 to 64 letters, digits and the characters . _ - @, not {0:?}")]
    Name(String),
    /// Its end is no time.
    #[error("{0}")]
    Expiry(&'static str),
    /// The system has no random numbers.
    #[error("the system has no random numbers")]
    NoRandomness,
}

impl NewToken {
    /// Makes a token for a client of this name, for always or until the time that
    /// [`expiry`] reads.
    ///
    /// # Errors
    ///
    /// [`NewTokenError`].
    pub fn make(name: &str, until: Option<&str>) -> Result<NewToken, NewTokenError> {
        if let Some(text) = until {
            expiry(text).map_err(NewTokenError::Expiry)?;
        }
        if !is_name(name) {
            return Err(NewTokenError::Name(name.to_owned()));
        }
        let mut secret = Zeroizing::new([0; 32]);
        SystemRandom::new()
            .fill(&mut secret[..])
            .map_err(|_| NewTokenError::NoRandomness)?;
        let token = Password::new(to_hex(&secret[..]));
        let mut line = format!("{name}:{}", to_hex(&hash(token.reveal())));
        if let Some(text) = until {
            line.push(':');
            line.push_str(text);
        }
        Ok(NewToken { token, line })
    }
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte))
}

fn hash(token: &str) -> TokenHash {
    let mut hash = TokenHash::default();
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}

fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn from_hex(text: &str) -> Option<TokenHash> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut hash = TokenHash::default();
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let value = digit(pair[0])? * 16 + digit(pair[1])?;
        *byte = u8::try_from(value).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_is_known_by_its_line_alone() {
        let shop = NewToken::make("shop", None).unwrap();
        let other = NewToken::make("other", None).unwrap();
        assert_ne!(shop.token.reveal(), other.token.reveal());
        assert_eq!(shop.token.reveal().len(), 64);
        assert!(!shop.line.contains(shop.token.reveal()));
        let text = format!("# clients\n\n{}\n{}\n", shop.line, other.line);
        let (tokens, problems) = Tokens::parse(&text, "f");
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(tokens.owner(&shop.token).unwrap().as_str(), "token:shop");
        assert_eq!(tokens.owner(&other.token).unwrap().as_str(), "token:other");
        for wrong in ["", "shop", &shop.line, &shop.token.reveal()[1..]] {
            assert_eq!(tokens.owner(&wrong.into()), None, "{wrong}");
        }
    }

    #[test]
    fn the_hash_is_that_of_sha256sum() {
        // printf abc | sha256sum
        let line = "a:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let (tokens, _) = Tokens::parse(line, "f");
        assert_eq!(tokens.owner(&"abc".into()).unwrap().as_str(), "token:a");
    }

    #[test]
    fn wrong_lines_are_told_without_the_hash_and_the_others_count() {
        let hash = "0".repeat(64);
        let shop = NewToken::make("shop", None).unwrap();
        let text = format!(
            "a\n:{hash}\nb c:{hash}\nd:0{hash}\ne:{}\nf:{hash}\ng:{hash}\n\
             h:{}:tomorrow\n{}\n",
            "x".repeat(64),
            "1".repeat(64),
            shop.line,
        );
        let (tokens, told) = Tokens::parse(&text, "t");
        assert_eq!(told.len(), 7, "{told:?}");
        assert_eq!(told[5], "t:7: the hash of g is that of f in a line above");
        assert!(
            told[6].starts_with("t:8: a token's time must be"),
            "{told:?}"
        );
        assert!(!told.concat().contains("000"), "{told:?}");
        assert!(tokens.owner(&shop.token).is_some());
        assert!(NewToken::make("b c", None).is_err());
    }

    #[test]
    fn a_client_may_have_several_and_each_its_time() {
        let old = NewToken::make("shop", Some("2030-01-31T12:00:00Z")).unwrap();
        let new = NewToken::make("shop", Some("2031-01-31")).unwrap();
        let (tokens, told) = Tokens::parse(&format!("{}\n{}\n", old.line, new.line), "t");
        assert_eq!(told, [""; 0]);
        let known = |made: &NewToken, at: &str| {
            let at = humantime::parse_rfc3339(at).unwrap();
            let owner = tokens.owner_at(&hash(made.token.reveal()), at);
            owner.is_some_and(|owner| owner.as_str() == "token:shop")
        };
        assert!(known(&old, "2030-01-31T11:59:59Z") && known(&new, "2030-01-31T11:59:59Z"));
        assert!(!known(&old, "2030-01-31T12:00:00Z") && known(&new, "2031-01-30T23:59:59Z"));
        assert!(!known(&new, "2031-01-31T00:00:00Z"));
        for wrong in ["", "2031", "2031-02-31", "31.1.2031", "2031-01-31T12:00:00"] {
            let made = NewToken::make("shop", Some(wrong));
            assert!(matches!(made, Err(NewTokenError::Expiry(_))), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_change_of_the_file_counts_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens");
        let shop = NewToken::make("shop", None).unwrap();
        std::fs::write(&path, "").unwrap();
        let file = TokensFile::read(&path).unwrap();
        assert_eq!(file.identify(&shop.token).await, None);
        std::fs::write(&path, &shop.line).unwrap();
        assert!(file.identify(&shop.token).await.is_some());
        std::fs::write(&path, "nonsense").unwrap();
        assert!(
            file.identify(&shop.token).await.is_some(),
            "the last good reading"
        );
        // There is none before it at a start: what is right counts.
        std::fs::write(&path, format!("nonsense\n{}", shop.line)).unwrap();
        let started = TokensFile::read(&path).unwrap();
        assert!(started.identify(&shop.token).await.is_some());
        std::fs::remove_file(&path).unwrap();
        assert_eq!(file.identify(&shop.token).await, None);
    }
}
