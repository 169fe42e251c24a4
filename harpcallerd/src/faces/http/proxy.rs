//! Whom a trusted proxy speaks for: the headers `X-Forwarded-*`.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use harp_jobs::client::Peer;

use super::problem::Problem;
use super::settings::{HttpSettings, Trusted};

/// What a trusted proxy says of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Forwarded {
    /// The client that has sent it, if that is said.
    pub(super) sender: Option<IpAddr>,
    /// True if it came to the proxy by TLS; `None` if that is not said.
    pub(super) is_tls: Option<bool>,
    /// The host that was asked for, if that is said.
    pub(super) host: Option<String>,
    /// What stands before our paths in those that were asked for; empty if that is not said.
    pub(super) prefix: String,
}

impl Forwarded {
    /// What the peer of a connection says of a request; `None` if it is not trusted.
    ///
    /// # Errors
    ///
    /// A problem if it says something that cannot be understood.
    pub(super) fn by(
        peer: &Peer,
        settings: &HttpSettings,
        headers: &HeaderMap,
    ) -> Result<Option<Forwarded>, Problem> {
        let trusted = &settings.trusted_proxies;
        let is_trusted = match peer {
            Peer::Network(address) => is_proxy(trusted, address.ip()),
            Peer::Local { .. } => trusted.contains(&Trusted::Unix),
        };
        if !is_trusted {
            return Ok(None);
        }
        Ok(Some(Forwarded {
            sender: sender(trusted, headers)?,
            is_tls: last(headers, "x-forwarded-proto")?
                .map(|scheme| scheme.eq_ignore_ascii_case("https")),
            host: last(headers, "x-forwarded-host")?.map(|host| host.to_ascii_lowercase()),
            prefix: prefix(headers)?,
        }))
    }
}

fn is_proxy(trusted: &[Trusted], address: IpAddr) -> bool {
    trusted.iter().any(|trusted| trusted.includes(address))
}

/// The last one of those that are named that is no trusted proxy itself.
fn sender(trusted: &[Trusted], headers: &HeaderMap) -> Result<Option<IpAddr>, Problem> {
    const NAME: &str = "x-forwarded-for";
    let mut sender = None;
    for header in headers.get_all(NAME).iter().rev() {
        let header = header.to_str().map_err(|_| not_text(NAME))?;
        for named in header.rsplit(',') {
            let named = address(named.trim())
                .ok_or_else(|| Problem::field(NAME, "must be IP addresses"))?;
            sender = Some(named);
            if !is_proxy(trusted, named) {
                return Ok(sender);
            }
        }
    }
    Ok(sender)
}

/// An address, perhaps with a port behind it.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip());
    }
    let text = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    text.parse().ok()
}

/// What the nearest proxy says, which is last.
fn last(headers: &HeaderMap, name: &'static str) -> Result<Option<String>, Problem> {
    let Some(header) = headers.get_all(name).iter().next_back() else {
        return Ok(None);
    };
    let header = header.to_str().map_err(|_| not_text(name))?;
    let last = header.rsplit(',').next().unwrap_or_default();
    Ok(Some(last.trim().to_owned()))
}

/// What stands before our paths, without a slash at its end.
fn prefix(headers: &HeaderMap) -> Result<String, Problem> {
    const NAME: &str = "x-forwarded-prefix";
    let said = last(headers, NAME)?.unwrap_or_default();
    let prefix = said.trim_end_matches('/');
    let is_of_path =
        |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:@".contains(&byte);
    // Two slashes would begin another host's name.
    let is_rooted = prefix.starts_with('/') && !prefix.starts_with("//");
    if prefix.is_empty() || is_rooted && prefix.bytes().all(is_of_path) {
        Ok(prefix.to_owned())
    } else {
        Err(Problem::field(NAME, "must be a path"))
    }
}

fn not_text(name: &str) -> Problem {
    Problem::field(name, "must be text")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(peer: &str, header: &str) -> Option<Forwarded> {
        let settings = HttpSettings {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            ..HttpSettings::default()
        };
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", header.parse().unwrap());
        let peer = Peer::Network(peer.parse().unwrap());
        Forwarded::by(&peer, &settings, &headers).unwrap()
    }

    #[test]
    fn the_last_sender_that_is_no_proxy_counts() {
        let sender = |header| forwarded("10.0.0.1:5", header).unwrap().sender;
        let it = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        assert_eq!(sender("192.0.2.1"), it("192.0.2.1"));
        assert_eq!(sender("203.0.113.9, 192.0.2.1, 10.0.0.7"), it("192.0.2.1"));
        assert_eq!(sender("192.0.2.1:77,10.0.0.7"), it("192.0.2.1"));
        assert_eq!(sender("[2001:db8::1]:77"), it("2001:db8::1"));
        assert_eq!(sender("10.0.0.8, 10.0.0.7"), it("10.0.0.8"));
    }

    #[test]
    fn a_prefix_is_a_path_without_a_slash_at_its_end() {
        let of = |header: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-prefix", header.parse().unwrap());
            prefix(&headers).ok()
        };
        for (said, is) in [
            ("/Harp/", "/Harp"),
            ("/a, /b/c", "/b/c"),
            ("/", ""),
            ("", ""),
        ] {
            assert_eq!(of(said).as_deref(), Some(is), "{said}");
        }
        assert_eq!(of("harp"), None);
        assert_eq!(of("/a\"b"), None);
    }

    #[test]
    fn who_is_not_trusted_is_not_believed() {
        assert_eq!(forwarded("192.0.2.7:5", "192.0.2.1"), None);
    }
}
