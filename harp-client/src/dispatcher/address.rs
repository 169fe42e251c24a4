//! Address of the dispatcher.

use std::fmt;
use std::net::IpAddr;
use std::os::unix::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use harp_proto::{CLIENT_PORT, host_and_port};

use crate::Error;

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

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Address, Error> {
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
        let (host, port) = host_and_port(text, CLIENT_PORT).ok_or_else(wrong)?;
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
            assert_eq!(text.parse::<Address>().unwrap().to_string(), shown);
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
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.to_string().contains("HOST:PORT"), "{error}");
        }
        for path in ["/long".repeat(30), "/a\0b".to_owned()] {
            let error = format!("unix:{path}").parse::<Address>().unwrap_err();
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
            let address: Address = text.parse().unwrap();
            assert_eq!(address.is_loopback(), loopback, "{text}");
        }
    }
}
