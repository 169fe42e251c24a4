//! Address of the dispatcher.

use std::fmt;
use std::net::IpAddr;
use std::os::unix::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use harp_proto::{CLIENT_PORT, host_and_port};

use crate::Error;

/// Port of `harps://` unless another is named.
const TLS_PORT: u16 = 3503;

/// What a user names a dispatcher by: one address or several with commas between them, and
/// before them perhaps a scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// True for `harps://`, false for `harp://`, `None` without a scheme.
    pub(crate) is_tls: Option<bool>,
    /// At least one.
    pub(crate) all: Vec<Address>,
}

impl FromStr for Addresses {
    type Err = Error;

    fn from_str(text: &str) -> Result<Addresses, Error> {
        let (is_tls, port, rest) = if let Some(rest) = text.strip_prefix("harps://") {
            (Some(true), TLS_PORT, rest)
        } else if let Some(rest) = text.strip_prefix("harp://") {
            (Some(false), CLIENT_PORT, rest)
        } else {
            (None, CLIENT_PORT, text)
        };
        // The slash that ends an address in other programs is none of a name.
        let rest = match is_tls {
            Some(_) => rest.strip_suffix('/').unwrap_or(rest),
            None => rest,
        };
        let all: Result<Vec<Address>, Error> = rest
            .split(',')
            .map(|one| Address::read(one.trim(), port))
            .collect();
        Ok(Addresses { is_tls, all: all? })
    }
}

/// `HOST`, `HOST:PORT` or `unix:/PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp {
        /// A name or an IP address, without brackets.
        host: String,
        port: u16,
    },
    /// A Unix socket, by its absolute path.
    Unix(PathBuf),
}

impl Address {
    /// True if this is certain to be the machine that we are on.
    pub(crate) fn is_loopback(&self) -> bool {
        match self {
            Address::Tcp { host, .. } => match host.parse::<IpAddr>() {
                Ok(address) => address.is_loopback(),
                Err(_) => host.eq_ignore_ascii_case("localhost"),
            },
            Address::Unix(_) => true,
        }
    }
}

impl Address {
    /// Reads one address, whose port is this one if it names none.
    ///
    /// # Errors
    ///
    /// If it has another form.
    pub(crate) fn read(text: &str, port: u16) -> Result<Address, Error> {
        let wrong = || {
            Error::invalid_input(format!(
                "dispatcher address {text:?}: expected HOST, HOST:PORT, [IPV6]:PORT or \
                 unix:/PATH, as in dispatcher.example.net:3502"
            ))
        };
        // No port begins with a slash, so that a host may be called `unix`.
        if let Some(path) = text
            .strip_prefix("unix:")
            .filter(|path| path.starts_with('/'))
        {
            return match SocketAddr::from_pathname(path) {
                Ok(_) => Ok(Address::Unix(path.into())),
                Err(error) => Err(Error::invalid_input(format!(
                    "dispatcher address {text:?}: no path that a Unix socket can have ({error})"
                ))),
            };
        }
        let (host, port) = host_and_port(text, port)
            .filter(|(host, _)| !host.contains('/'))
            .ok_or_else(wrong)?;
        Ok(Address::Tcp {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Address, Error> {
        Address::read(text, CLIENT_PORT)
    }

    #[test]
    fn schemes_and_several_addresses() {
        let shown = |text: &str| {
            let Addresses { is_tls, all } = text.parse()?;
            let all: Vec<String> = all.iter().map(ToString::to_string).collect();
            Ok::<_, Error>((is_tls, all.join(" ")))
        };
        for (text, is_tls, all) in [
            ("a", None, "a:3502"),
            ("a, b:7,unix:/c", None, "a:3502 b:7 unix:/c"),
            ("harp://a,b", Some(false), "a:3502 b:3502"),
            ("harps://a/", Some(true), "a:3503"),
            ("harps://a:9,[::1]", Some(true), "a:9 [::1]:3503"),
        ] {
            assert_eq!(shown(text).unwrap(), (is_tls, all.to_owned()));
        }
        for text in ["", "a,", "harps://", "http://a", "harp://a/b"] {
            assert!(shown(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_names_addresses_and_ports() {
        for (text, shown) in [
            ("web", "web:3502"),
            ("web:1", "web:1"),
            ("10.0.0.1:99", "10.0.0.1:99"),
            ("::1", "[::1]:3502"),
            ("[::1]", "[::1]:3502"),
            ("[::1]:7", "[::1]:7"),
            ("unix:7", "unix:7"),
            ("unix:/run/clients", "unix:/run/clients"),
        ] {
            assert_eq!(read(text).unwrap().to_string(), shown);
        }
        for text in [
            "",
            ":1",
            "web:",
            "web:x",
            "web:0",
            "web:70000",
            "[web]:1",
            "[::1]7",
            "a b",
            "unix:",
            "unix:clients",
        ] {
            let error = read(text).unwrap_err();
            assert!(error.to_string().contains("HOST:PORT"), "{error}");
        }
        for path in ["/long".repeat(30), "/a\0b".to_owned()] {
            let error = read(&format!("unix:{path}")).unwrap_err();
            assert!(error.to_string().contains("Unix socket"), "{error}");
        }
    }

    #[test]
    fn this_machine_is_known() {
        for (text, loopback) in [
            ("127.0.0.5", true),
            ("[::1]:7", true),
            ("LocalHost", true),
            ("unix:/run/clients", true),
            ("unix", false),
            ("192.0.2.1", false),
        ] {
            let address = read(text).unwrap();
            assert_eq!(address.is_loopback(), loopback, "{text}");
        }
    }
}
