//! The users file, and the judgement of a password.

mod file;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use harp_proto::Password;
use ring::hmac;
use ring::rand::SystemRandom;
use sha_crypt::{PasswordVerifier, ShaCrypt};
use tokio::sync::Semaphore;

pub use file::UsersFile;

/// Passwords longer than this, in bytes, are wrong unseen: hashing takes time that grows
/// with the square of the length, and nobody has to be authenticated to ask for it.
pub const MAX_PASSWORD: usize = 512;

/// Hash that an unknown user's password is compared to when the file has no users at all.
const NOBODY: &str = "$6$nobodynobodynobo$0000000000000000000000000000000000000000000000000000000000000000000000000000000000000.";

/// Rounds of a hash that does not name them (crypt(5)).
const DEFAULT_ROUNDS: u32 = 5000;

/// The users of one reading of the file.
pub struct Users {
    hashes: HashMap<String, String>,
    /// Hash that an unknown user's password is compared to: the costliest of the file, so
    /// that the answer comes no sooner than any user's.
    decoy: String,
    remembered: Remembered,
    /// Passwords that are hashed at once: more would only keep the processors from the
    /// calls.
    hashing: Arc<Semaphore>,
}

/// Why a users file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// It could not be read.
    #[error("cannot read the users file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Lines of it are wrong: each as `FILE:LINE: message`.
    #[error("{}", .0.join("\n"))]
    Wrong(Vec<String>),
    /// The system gave no random key for what is remembered.
    #[error("the system has no random numbers")]
    NoRandomness,
}

impl UsersError {
    /// True if there is no such file.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(self, UsersError::Unreadable { source, .. }
            if source.kind() == std::io::ErrorKind::NotFound)
    }
}

impl Users {
    /// The users of a file with nothing in it: nobody.
    ///
    /// # Errors
    ///
    /// [`UsersError::NoRandomness`].
    pub fn nobody() -> Result<Users, UsersError> {
        Users::parse("", "")
    }

    /// Reads lines `NAME:HASH`, with hashes of crypt(3) that begin with `$5$` or `$6$`
    /// (harpd configuration, `users_file`). Empty lines and those that begin with `#`
    /// are passed over.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or any line is wrong. Hashes are not shown.
    pub fn read(path: &Path) -> Result<Users, UsersError> {
        let text =
            harp_files::regular::read_to_string(path).map_err(|source| UsersError::Unreadable {
                path: path.to_owned(),
                source,
            })?;
        Users::parse(&text, &path.display().to_string())
    }

    /// Reads the text of a users file; `origin` is its name for messages.
    ///
    /// # Errors
    ///
    /// [`UsersError::Wrong`] with every line that is wrong. Hashes are not shown.
    pub fn parse(text: &str, origin: &str) -> Result<Users, UsersError> {
        let mut hashes = HashMap::new();
        let mut problems = Vec::new();
        let mut decoy = (Cost::default(), NOBODY);
        for (number, line) in (1..).zip(harp_files::text::lines(text)) {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match entry(line) {
                Ok((name, ..)) if hashes.contains_key(name) => {
                    problems.push(format!("{origin}:{number}: {name} is there twice"));
                }
                Ok((name, hash, cost)) => {
                    if cost > decoy.0 {
                        decoy = (cost, hash);
                    }
                    hashes.insert(name.to_owned(), hash.to_owned());
                }
                Err(problem) => problems.push(format!("{origin}:{number}: {problem}")),
            }
        }
        if !problems.is_empty() {
            return Err(UsersError::Wrong(problems));
        }
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Users {
            hashes,
            decoy: decoy.1.to_owned(),
            remembered: Remembered::new()?,
            hashing: Arc::new(Semaphore::new(processors)),
        })
    }

    /// How many users there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.hashes.len()
    }

    /// True if there is this user.
    #[must_use]
    pub fn has(&self, user: &str) -> bool {
        self.hashes.contains_key(user)
    }

    /// True if the user exists and this is the password. A password that was right
    /// before is recognised at once; any other costs a hash, on the blocking pool, and
    /// an unknown user costs no less than a known one.
    ///
    /// Cancel safe.
    pub async fn verify(self: &Arc<Users>, user: &str, password: &Password) -> bool {
        if self.remembered.knows(user, password) {
            return true;
        }
        if password.reveal().len() > MAX_PASSWORD {
            return false;
        }
        let Ok(permit) = Arc::clone(&self.hashing).acquire_owned().await else {
            // Nobody closes the semaphore.
            return false;
        };
        let users = Arc::clone(self);
        let (user, password) = (user.to_owned(), password.clone());
        let judgement = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            users.judge(&user, &password)
        });
        judgement.await.unwrap_or(false)
    }

    fn judge(&self, user: &str, password: &Password) -> bool {
        let hash = self.hashes.get(user);
        let compared = hash.unwrap_or(&self.decoy);
        let fits = ShaCrypt::default()
            .verify_password(password.reveal().as_bytes(), compared.as_str())
            .is_ok();
        let is_right = fits && hash.is_some();
        if is_right {
            self.remembered.remember(user, password);
        }
        is_right
    }
}

/// Without the hashes.
impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

/// The passwords that were right, one for each user, as hashes under a key that lives as
/// long as this reading of the file.
struct Remembered {
    key: hmac::Key,
    tags: Mutex<HashMap<String, hmac::Tag>>,
}

impl Remembered {
    fn new() -> Result<Remembered, UsersError> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| UsersError::NoRandomness)?;
        Ok(Remembered {
            key,
            tags: Mutex::default(),
        })
    }

    fn knows(&self, user: &str, password: &Password) -> bool {
        let Some(tag) = self.tags().get(user).copied() else {
            return false;
        };
        hmac::verify(&self.key, password.reveal().as_bytes(), tag.as_ref()).is_ok()
    }

    fn remember(&self, user: &str, password: &Password) {
        let tag = hmac::sign(&self.key, password.reveal().as_bytes());
        self.tags().insert(user.to_owned(), tag);
    }

    fn tags(&self) -> std::sync::MutexGuard<'_, HashMap<String, hmac::Tag>> {
        self.tags.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cost of a comparison to a hash: its rounds, and whether they are of SHA-512. The
/// least is that of no hash.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    rounds: u32,
    is_sha512: bool,
}

/// Takes a line apart and checks that its hash is one that a password can be compared to.
fn entry(line: &str) -> Result<(&str, &str, Cost), &'static str> {
    let (name, hash) = line.split_once(':').ok_or("must be NAME:HASH")?;
    if name.is_empty() {
        return Err("must be NAME:HASH, the name is empty");
    }
    let cost = check_hash(hash)?;
    Ok((name, hash, cost))
}

/// `$5$SALT$HASH` or `$6$SALT$HASH`, with `rounds=N$` before the salt or not.
fn check_hash(hash: &str) -> Result<Cost, &'static str> {
    const FORM: &str = "the hash must be one of crypt(3), $5$... or $6$...; \
                        `openssl passwd -6` makes one";
    let (digest_length, rest) = if let Some(rest) = hash.strip_prefix("$5$") {
        (43, rest)
    } else if let Some(rest) = hash.strip_prefix("$6$") {
        (86, rest)
    } else {
        return Err(FORM);
    };
    let (rounds, rest) = match rest.strip_prefix("rounds=") {
        Some(rest) => rest
            .split_once('$')
            .map(|(rounds, rest)| (Some(rounds), rest))
            .ok_or(FORM)?,
        None => (None, rest),
    };
    let rounds = rounds
        .map_or(Ok(DEFAULT_ROUNDS), str::parse)
        .ok()
        .filter(|rounds| (1000..=999_999_999).contains(rounds))
        .ok_or("the rounds of the hash must be from 1000 to 999999999")?;
    let (salt, digest) = rest.split_once('$').ok_or(FORM)?;
    let is_alphabet = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/'))
    };
    let is_whole = (1..=16).contains(&salt.len()) && digest.len() == digest_length;
    if is_whole && is_alphabet(salt) && is_alphabet(digest) {
        Ok(Cost {
            rounds,
            is_sha512: digest_length == 86,
        })
    } else {
        Err(FORM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `openssl passwd`; the password is `secret`.
    const LINES: &str = "\
# users
five:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA
six:$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1

rounds:$6$rounds=5000$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1
";

    fn users(text: &str) -> Arc<Users> {
        Arc::new(Users::parse(text, "users").unwrap())
    }

    #[tokio::test]
    async fn hashes_of_crypt_are_understood() {
        let users = users(LINES);
        assert_eq!(users.count(), 3);
        for user in ["five", "six", "rounds"] {
            assert!(users.verify(user, &"secret".into()).await, "{user}");
            assert!(!users.verify(user, &"Secret".into()).await, "{user}");
            assert!(!users.verify(user, &"".into()).await, "{user}");
        }
        assert!(!users.verify("nobody", &"secret".into()).await);
        assert!(!users.verify("", &"secret".into()).await);
    }

    #[tokio::test]
    async fn a_right_password_is_remembered_and_no_other() {
        let users = users(LINES);
        let right = Password::from("secret");
        assert!(!users.remembered.knows("six", &right));
        assert!(users.verify("six", &right).await);
        assert!(users.remembered.knows("six", &right));
        assert!(!users.remembered.knows("five", &right));
        assert!(!users.remembered.knows("six", &"secrets".into()));
    }

    #[tokio::test]
    async fn a_file_without_users_lets_nobody_in() {
        check_hash(NOBODY).unwrap();
        let users = users("");
        assert!(!users.verify("nobody", &"".into()).await);
    }

    #[test]
    fn an_unknown_user_costs_as_much_as_the_costliest_known_one() {
        let hash = |form: &str, length| format!("{form}$salt${}", "x".repeat(length));
        let sha256 = hash("$5", 43);
        let sha512 = hash("$6", 86);
        let few = hash("$6$rounds=4999", 86);
        let many = hash("$5$rounds=10000", 43);
        for (hashes, costliest) in [
            (vec![], NOBODY),
            (vec![&few], &few),
            (vec![&few, &sha256], &sha256),
            (vec![&sha256, &sha512, &few], &sha512),
            (vec![&sha512, &many, &sha256], &many),
        ] {
            let lines = hashes.iter().enumerate();
            let text: String = lines.map(|(n, hash)| format!("{n}:{hash}\n")).collect();
            assert_eq!(users(&text).decoy, costliest, "{text}");
        }
    }

    #[tokio::test]
    async fn hashes_are_not_shown() {
        let users = users(LINES);
        assert!(users.verify("six", &"secret".into()).await);
        assert_eq!(format!("{users:?}"), "Users { count: 3, .. }");
    }

    #[tokio::test]
    async fn a_huge_password_is_wrong_at_once() {
        let users = users(LINES);
        assert!(!users.verify("six", &"x".repeat(16 << 20).into()).await);
    }

    #[test]
    fn wrong_lines_are_told_without_the_hash() {
        let text = "a\n:x\nb:plain\nc:$1$salt$hash\nd:$6$salt$short\ne:$6$rounds=10$s$h\n";
        let told = Users::parse(text, "u").unwrap_err().to_string();
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(lines.len(), 6, "{told}");
        assert!(lines[0].starts_with("u:1: must be NAME:HASH"), "{told}");
        assert!(lines[5].starts_with("u:6: the rounds"), "{told}");
        assert!(!told.contains("plain"), "{told}");

        let twice = format!("{LINES}six:$6$saltsalt${}\n", "x".repeat(86));
        let told = Users::parse(&twice, "u").unwrap_err().to_string();
        assert_eq!(told, "u:6: six is there twice");
    }
}
