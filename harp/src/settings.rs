//! The command's configuration file (harp(1), FILES).

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harp_client::tls::Fingerprint;
use harp_service::{Settings as File, SettingsError};

use crate::exit::Exit;
use crate::problem::Problem;

/// Content of the configuration file; all of it may be missing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The file, if there is one.
    pub(crate) file: Option<PathBuf>,
    pub(crate) dispatcher: Option<String>,
    /// The URL of its HTTP listener.
    pub(crate) url: Option<String>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) tls_name: Option<String>,
    /// A certificate of our own and its key.
    pub(crate) client_certificate: Option<(PathBuf, PathBuf)>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) reconnect_for: Option<Duration>,
    pub(crate) parallel: Option<u16>,
    pub(crate) direct: Direct,
}

/// The table `[direct]`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Direct {
    pub(crate) user: Option<String>,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) known_certs_file: Option<PathBuf>,
}

impl Settings {
    /// Reads the file that was named, or the user's own if there is one. Also what to
    /// warn of.
    ///
    /// # Errors
    ///
    /// If a file was named and is not there, or a file cannot be read or is wrong.
    pub(crate) fn read(named: Option<&Path>) -> Result<(Settings, Vec<String>), Problem> {
        let (path, required) = match (named, users_own()) {
            (Some(path), _) => (path.to_owned(), true),
            (None, Some(path)) => (path, false),
            (None, None) => return Ok((Settings::default(), Vec::new())),
        };
        match File::read(&path) {
            Ok(file) => Settings::take(&file, &path),
            Err(SettingsError::Unreadable { source, .. })
                if !required && source.kind() == std::io::ErrorKind::NotFound =>
            {
                Ok((Settings::default(), Vec::new()))
            }
            Err(error) => Err(wrong(&error)),
        }
    }

    fn take(file: &File, path: &Path) -> Result<(Settings, Vec<String>), Problem> {
        // A path in the file is relative to the file.
        let beside = |relative: PathBuf| match path.parent() {
            Some(directory) => directory.join(relative),
            None => relative,
        };
        let root = file.table();
        // Whom the command trusts, and who it says it is.
        root.guard(&[
            "ca_file",
            "fingerprint",
            "tls_name",
            "client_certificate",
            "client_key",
            "token_file",
            "direct",
        ]);
        let certificate = root.path("client_certificate").map(beside);
        let key = root.path("client_key").map(beside);
        let client_certificate = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                return Err(Problem::usage(format!(
                    "{}: client_certificate and client_key go together",
                    path.display()
                )));
            }
        };
        let mut settings = Settings {
            file: Some(path.to_owned()),
            dispatcher: root.string("dispatcher"),
            url: root.string("url"),
            ca_file: root.path("ca_file").map(beside),
            fingerprint: root.parsed("fingerprint"),
            tls_name: root.string("tls_name"),
            client_certificate,
            token_file: root.path("token_file").map(beside),
            connect_timeout: root.seconds("connect_timeout", 1),
            request_timeout: root.seconds("request_timeout", 1),
            reconnect_for: root.seconds("reconnect_for", 0),
            parallel: root
                .integer("parallel", 1..=u64::from(u16::MAX))
                .and_then(|hosts| u16::try_from(hosts).ok()),
            direct: Direct::default(),
        };
        if let Some(direct) = root.table("direct") {
            settings.direct = Direct {
                user: direct.string("user"),
                password_file: direct.path("password_file").map(beside),
                ca_file: direct.path("ca_file").map(beside),
                known_certs_file: direct.path("known_certs_file").map(beside),
            };
        }
        let warnings = file.finish().map_err(|error| wrong(&error))?;
        let warnings = warnings.iter().map(ToString::to_string).collect();
        Ok((settings, warnings))
    }
}

/// A variable of the environment; empty is as if it were not set.
pub(crate) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// `harp/config.toml` in `$XDG_CONFIG_HOME`, or in `~/.config`.
fn users_own() -> Option<PathBuf> {
    let directory = |name: &str| {
        let path = PathBuf::from(env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    let configurations =
        directory("XDG_CONFIG_HOME").or_else(|| Some(directory("HOME")?.join(".config")))?;
    Some(configurations.join("harp/config.toml"))
}

fn wrong(error: &SettingsError) -> Problem {
    Problem::new(Exit::Usage, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(text: &str) -> Result<(Settings, Vec<String>), Problem> {
        let path = Path::new("/home/op/.config/harp/config.toml");
        Settings::take(&File::parse(text, "config.toml").unwrap(), path)
    }

    #[test]
    fn every_key_is_read_and_paths_are_beside_the_file() {
        let (settings, warnings) = take(
            "dispatcher = 'd:1'\nurl = 'http://d'\nca_file = 'ca'\ntls_name = 's'\nclient_certificate = 'c'\n\
             client_key = 'k'\ntoken_file = 't'\nconnect_timeout = 2\nrequest_timeout = 3\nreconnect_for = 0\n\
             parallel = 4\n[direct]\nuser = 'u'\npassword_file = 'p'\nca_file = '/ca.pem'\n\
             known_certs_file = 'known.pem'\n",
        )
        .unwrap();
        let beside = |name: &str| Some(PathBuf::from("/home/op/.config/harp").join(name));
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(
            settings,
            Settings {
                file: beside("config.toml"),
                dispatcher: Some("d:1".to_owned()),
                url: Some("http://d".to_owned()),
                ca_file: beside("ca"),
                fingerprint: None,
                tls_name: Some("s".to_owned()),
                client_certificate: beside("c").zip(beside("k")),
                token_file: beside("t"),
                connect_timeout: Some(Duration::from_secs(2)),
                request_timeout: Some(Duration::from_secs(3)),
                reconnect_for: Some(Duration::ZERO),
                parallel: Some(4),
                direct: Direct {
                    user: Some("u".to_owned()),
                    password_file: beside("p"),
                    ca_file: Some(PathBuf::from("/ca.pem")),
                    known_certs_file: beside("known.pem"),
                },
            }
        );
    }

    #[test]
    fn an_unknown_key_is_warned_of_with_the_nearest() {
        let (_, warnings) = take("dispacher = 'd'\n").unwrap();
        assert_eq!(
            warnings,
            ["config.toml:1: dispacher: unknown key, ignored; did you mean dispatcher?"]
        );
    }

    #[test]
    fn a_key_near_one_of_trust_is_an_error() {
        for text in [
            "ca_fiel = 'c'",
            "finger_print = 'x'",
            "token = 't'",
            "[direct]\nknwon_certs_file = 'k'",
            "[direct]\npassword = 'k'",
            "[dirct]\nca_file = 'k'",
        ] {
            let problem = take(text).unwrap_err();
            assert!(
                problem.message.contains("unknown key"),
                "{text}: {problem:?}"
            );
        }
    }

    #[test]
    fn a_wrong_value_is_an_error() {
        let problem = take("parallel = 0\n").unwrap_err();
        assert_eq!(problem.exit, Exit::Usage);
        assert!(
            problem.message.contains("config.toml:1: parallel"),
            "{problem:?}"
        );
    }
}
