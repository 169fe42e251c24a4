//! Tokens: what a client proves itself with in `hello` (client protocol, section 8).
//!
//! A token is 32 random bytes, which nobody guesses however fast a hash is. So the file
//! keeps a plain SHA-256 of each.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use harp_files::{Content, Kept, Look, Looks, text};
use harp_proto::Password;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;
use tokio::sync::watch;
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::client::{Identity, Proof};

/// What a token is known by: its SHA-256.
pub type TokenHash = [u8; 32];

/// The tokens file as it is now: read again when it has changed.
///
/// A change counts from the next look on. A file that has been deleted knows no token. A
/// file that cannot be used for another reason, unreadable or with a wrong line, changes
/// nothing. Either is told to the log once.
#[derive(Debug)]
pub struct TokensFile {
    kept: Arc<Mutex<Kept<Arc<Tokens>>>>,
    looks: Looks<Arc<Tokens>>,
}

/// One reading of a tokens file: hashes by the names of their owners.
#[derive(Debug, Default)]
pub struct Tokens(BTreeMap<String, TokenHash>);

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
    /// Reads lines `NAME:HASH`, as [`NewToken`] makes them. Empty lines and those that
    /// begin with `#` are passed over.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or any line is wrong.
    pub fn read(path: &Path) -> Result<TokensFile, TokensError> {
        let kept = Kept::read([path.to_owned()], |mut file| {
            Tokens::of_file(file.take()).map(Arc::new)
        })?;
        let kept = Arc::new(Mutex::new(kept));
        let (path, looked_at) = (path.to_owned(), Arc::clone(&kept));
        Ok(TokensFile {
            kept,
            looks: Looks::new(move || look(&path, &looked_at)),
        })
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
        self.looks.look().await.owner_of(hash)
    }
}

/// Reads the file again if it has changed. Blocks.
fn look(path: &Path, kept: &Mutex<Kept<Arc<Tokens>>>) -> Arc<Tokens> {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    let mut is_gone = false;
    let look = kept.look(|mut file| {
        let content = file.take();
        is_gone = content.is_absent();
        let tokens = if is_gone {
            Ok(Tokens::default())
        } else {
            Tokens::of_file(content)
        };
        tokens.map(Arc::new)
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
            warn!(%error, "tokens file unusable, its last good reading stays in force");
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

    /// Like [`TokenProof::of`], for a token that was shown before.
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
    fn of_file(content: Content) -> Result<Tokens, TokensError> {
        let path = content.path().to_owned();
        let origin = path.display().to_string();
        let text = content
            .text()
            .map_err(|source| TokensError::Unreadable { path, source })?;
        Tokens::parse(&text, &origin)
    }

    /// Reads the text of a tokens file; `origin` is its name for messages.
    ///
    /// # Errors
    ///
    /// [`TokensError::Wrong`] with every line that is wrong.
    pub fn parse(text: &str, origin: &str) -> Result<Tokens, TokensError> {
        let mut hashes = BTreeMap::new();
        let mut problems = Vec::new();
        for (number, line) in (1..).zip(text::lines(text)) {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let entry = line
                .split_once(':')
                .filter(|(name, _)| is_name(name))
                .and_then(|(name, hash)| Some((name, from_hex(hash)?)));
            match entry {
                Some((name, _)) if hashes.contains_key(name) => {
                    problems.push(format!("{origin}:{number}: {name} is there twice"));
                }
                Some((name, hash)) => {
                    hashes.insert(name.to_owned(), hash);
                }
                None => problems.push(format!(
                    "{origin}:{number}: must be NAME:HASH, as `harpcallerd new-token NAME` prints it"
                )),
            }
        }
        if problems.is_empty() {
            Ok(Tokens(hashes))
        } else {
            Err(TokensError::Wrong(problems))
        }
    }

    /// Whose token this is, if anybody's. Takes the same time for every wrong one.
    #[must_use]
    pub fn owner(&self, token: &Password) -> Option<Identity> {
        self.owner_of(&hash(token.reveal()))
    }

    fn owner_of(&self, hash: &TokenHash) -> Option<Identity> {
        let mut owner = None;
        // Every hash is compared, each in constant time.
        for (name, known) in &self.0 {
            if bool::from(known.ct_eq(hash)) {
                owner = Some(name);
            }
        }
        owner.map(|name| Identity::of_token(name))
    }
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
    /// The system has no random numbers.
    #[error("the system has no random numbers")]
    NoRandomness,
}

impl NewToken {
    /// Makes a token for a client of this name.
    ///
    /// # Errors
    ///
    /// [`NewTokenError`].
    pub fn make(name: &str) -> Result<NewToken, NewTokenError> {
        if !is_name(name) {
            return Err(NewTokenError::Name(name.to_owned()));
        }
        let mut secret = Zeroizing::new([0; 32]);
        SystemRandom::new()
            .fill(&mut secret[..])
            .map_err(|_| NewTokenError::NoRandomness)?;
        let token = Password::new(to_hex(&secret[..]));
        let line = format!("{name}:{}", to_hex(&hash(token.reveal())));
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
        let shop = NewToken::make("shop").unwrap();
        let other = NewToken::make("other").unwrap();
        assert_ne!(shop.token.reveal(), other.token.reveal());
        assert_eq!(shop.token.reveal().len(), 64);
        assert!(!shop.line.contains(shop.token.reveal()));
        let text = format!("# clients\n\n{}\n{}\n", shop.line, other.line);
        let tokens = Tokens::parse(&text, "f").unwrap();
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
        let tokens = Tokens::parse(line, "f").unwrap();
        assert_eq!(tokens.owner(&"abc".into()).unwrap().as_str(), "token:a");
    }

    #[test]
    fn wrong_lines_are_told_without_the_hash() {
        let hash = "0".repeat(64);
        let text = format!(
            "a\n:{hash}\nb c:{hash}\nd:0{hash}\ne:{}\nf:{hash}\nf:{hash}",
            "x".repeat(64)
        );
        let told = Tokens::parse(&text, "t").unwrap_err().to_string();
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(lines.len(), 6, "{told}");
        assert_eq!(lines[5], "t:7: f is there twice");
        assert!(!told.contains("000"), "{told}");
        assert!(NewToken::make("b c").is_err());
    }

    #[tokio::test]
    async fn a_change_of_the_file_counts_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens");
        let shop = NewToken::make("shop").unwrap();
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
        std::fs::remove_file(&path).unwrap();
        assert_eq!(file.identify(&shop.token).await, None);
    }
}
