//! The keys of a `[[listen_http]]` that are not those of every listener.

use std::net::IpAddr;
use std::str::FromStr;

use harp_service::Table;

/// What one `[[listen_http]]` says beside its place, TLS and whether clients have to
/// authenticate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpSettings {
    /// The faces that it serves.
    pub serve: Serve,
    /// Names that `Host` may have beside those that it may have anyway, in small letters.
    pub hosts: Vec<String>,
    /// Pages of these origins may use the API.
    pub cors_origins: Vec<Origin>,
    /// Peers that are believed to speak for others.
    pub trusted_proxies: Vec<Trusted>,
}

/// Which faces are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Serve {
    /// `/api/v1`.
    pub api: bool,
    /// The page for people.
    pub page: bool,
    /// `/metrics`.
    pub metrics: bool,
    /// `/topchef/v1` and `/topchef/v2`.
    pub topchef: bool,
    /// A TopChef face at the root, in place of all others.
    pub root: Option<Generation>,
}

/// A generation of the TopChef faces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// The one of the Python client.
    First,
    /// The one of the Java and MATLAB clients.
    Second,
}

impl Generation {
    /// The generation of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Generation> {
        match name {
            "v1" => Some(Generation::First),
            "v2" => Some(Generation::Second),
            _ => None,
        }
    }
}

/// What may be served.
const FACES: [&str; 6] = [
    "api",
    "page",
    "metrics",
    "topchef",
    "topchef-v1",
    "topchef-v2",
];

/// What a listener for HTTP goes by at the moment.
#[derive(Debug, Clone)]
pub struct Door {
    /// Its own keys.
    pub settings: HttpSettings,
    /// False if clients have to authenticate.
    pub may_be_stranger: bool,
    /// True for a Unix socket.
    pub is_local: bool,
}

/// Scheme, host and port of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

/// This is not the origin of a page.
#[derive(Debug, thiserror::Error)]
#[error("must be an origin such as \"https://app.example.net\", without a path")]
pub struct NotAnOrigin;

/// A peer that is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trusted {
    /// An address, or all whose first bits are these.
    Network {
        /// An address of it.
        address: IpAddr,
        /// How many bits count.
        bits: u32,
    },
    /// Whoever can open the Unix socket.
    Unix,
}

/// This is neither an address nor a prefix of one, nor `unix`.
#[derive(Debug, thiserror::Error)]
#[error("must be an IP address, a prefix such as \"10.0.0.0/8\", or \"unix\"")]
pub struct NotAProxy;

impl HttpSettings {
    /// Takes the keys of one table. What is wrong is noted in the settings.
    pub(crate) fn take(table: &Table<'_>) -> HttpSettings {
        table.guard(&["hosts", "cors_origins", "trusted_proxies", "serve"]);
        if cfg!(not(feature = "http")) {
            table.problem("address", "this build has no HTTP face (feature \"http\")");
        }
        let hosts = table.strings("hosts").unwrap_or_default();
        HttpSettings {
            serve: Serve::take(table),
            hosts: hosts.iter().map(|name| name.to_ascii_lowercase()).collect(),
            cors_origins: table.parsed_strings("cors_origins").unwrap_or_default(),
            trusted_proxies: table.parsed_strings("trusted_proxies").unwrap_or_default(),
        }
    }
}

impl Serve {
    fn take(table: &Table<'_>) -> Serve {
        let Some(names) = table.strings("serve") else {
            return Serve::default();
        };
        let has = |name: &str| names.iter().any(|there| there == name);
        for name in &names {
            if !FACES.contains(&name.as_str()) {
                let problem = format!("must be of {}, not {name:?}", FACES.join(", "));
                table.problem("serve", problem);
            }
        }
        if names.is_empty() {
            table.problem("serve", "must have at least one face");
        }
        if has("page") && !has("api") {
            table.problem("serve", "\"page\" needs \"api\" beside it");
        }
        let roots = ["topchef-v1", "topchef-v2"].into_iter();
        let root = roots.into_iter().find(|name| has(name));
        if root.is_some() && names.len() > 1 {
            table.problem(
                "serve",
                "\"topchef-v1\" and \"topchef-v2\" are served alone",
            );
        }
        Serve {
            topchef: has("topchef"),
            root: root.and_then(|name| Generation::named(name.trim_start_matches("topchef-"))),
            api: has("api"),
            page: has("page"),
            metrics: has("metrics"),
        }
    }
}

impl Default for Serve {
    fn default() -> Serve {
        Serve {
            api: true,
            page: true,
            metrics: true,
            topchef: false,
            root: None,
        }
    }
}

impl Origin {
    /// True if a browser says this of the page that asks.
    #[must_use]
    pub fn is(&self, said: &str) -> bool {
        self.0.eq_ignore_ascii_case(said)
    }
}

impl FromStr for Origin {
    type Err = NotAnOrigin;

    fn from_str(text: &str) -> Result<Origin, NotAnOrigin> {
        let (scheme, rest) = text.split_once("://").ok_or(NotAnOrigin)?;
        let is_name = !rest.is_empty() && !rest.contains(['/', '?', '#', '@', ' ', '*']);
        match scheme {
            "http" | "https" if is_name => Ok(Origin(text.to_ascii_lowercase())),
            _ => Err(NotAnOrigin),
        }
    }
}

impl Trusted {
    /// True for an address that is meant.
    #[must_use]
    pub fn includes(&self, other: IpAddr) -> bool {
        let Trusted::Network { address, bits } = self else {
            return false;
        };
        match (address, other.to_canonical()) {
            (IpAddr::V4(address), IpAddr::V4(other)) => {
                let differing = u32::from(*address) ^ u32::from(other);
                differing.leading_zeros() >= *bits
            }
            (IpAddr::V6(address), IpAddr::V6(other)) => {
                let differing = u128::from(*address) ^ u128::from(other);
                differing.leading_zeros() >= *bits
            }
            _ => false,
        }
    }
}

impl FromStr for Trusted {
    type Err = NotAProxy;

    fn from_str(text: &str) -> Result<Trusted, NotAProxy> {
        if text == "unix" {
            return Ok(Trusted::Unix);
        }
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NotAProxy)?;
        let all = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        let bits = match bits {
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= all),
            None => Some(all),
        };
        let bits = bits.ok_or(NotAProxy)?;
        Ok(Trusted::Network { address, bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_includes_whose_first_bits_are_its_own() {
        let includes = |prefix: &str, address: &str| {
            let prefix: Trusted = prefix.parse().unwrap();
            prefix.includes(address.parse().unwrap())
        };
        assert!(includes("10.0.0.0/8", "10.1.2.3"));
        assert!(includes("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(!includes("10.0.0.0/8", "11.0.0.1"));
        assert!(includes("0.0.0.0/0", "192.0.2.1"));
        assert!(!includes("0.0.0.0/0", "2001:db8::1"));
        assert!(includes("2001:db8::/32", "2001:db8:1::1"));
        assert!(!includes("192.0.2.1", "192.0.2.2"));
        assert!(!includes("unix", "127.0.0.1"));
        for wrong in ["", "10.0.0.0/33", "10.0.0.0/-1", "x", "10.0.0/8"] {
            assert!(wrong.parse::<Trusted>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_origin_has_no_path() {
        let origin: Origin = "https://App.example.net:8443".parse().unwrap();
        assert!(origin.is("https://app.example.net:8443"));
        assert!(!origin.is("https://app.example.net"));
        for wrong in ["*", "https://", "app.example.net", "https://a/", "null"] {
            assert!(wrong.parse::<Origin>().is_err(), "{wrong}");
        }
    }
}
