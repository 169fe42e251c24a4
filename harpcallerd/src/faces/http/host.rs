//! For which site a request is meant: a name that this server does not go by is another
//! one's, to which a browser may have been sent with our address.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::Uri;
use axum::http::header::HOST;

use super::Secured;
use super::problem::Problem;
use super::proxy::Forwarded;
use super::settings::HttpSettings;

/// The site that a request is meant for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// True if the client has come to it by TLS.
    pub is_tls: bool,
    /// Name or address, in small letters.
    pub host: String,
    /// The port that the client has asked for.
    pub port: u16,
}

impl Site {
    /// The site that a request names.
    ///
    /// # Errors
    ///
    /// A problem if it names none, or one that this server is not.
    pub(super) fn of(
        uri: &Uri,
        headers: &HeaderMap,
        settings: &HttpSettings,
        secured: Option<&Secured>,
        forwarded: Option<&Forwarded>,
    ) -> Result<Site, Problem> {
        let is_tls = forwarded
            .and_then(|forwarded| forwarded.is_tls)
            .unwrap_or(secured.is_some());
        let said = match forwarded.and_then(|forwarded| forwarded.host.clone()) {
            Some(host) => host,
            None => asked_for(uri, headers)?,
        };
        let site = Site::parse(&said, is_tls)
            .ok_or_else(|| Problem::field("host", "must be HOST or HOST:PORT"))?;
        if site.is_ours(settings, secured) {
            Ok(site)
        } else {
            Err(Problem::misdirected())
        }
    }

    /// Reads `HOST` or `HOST:PORT`.
    #[must_use]
    pub fn parse(text: &str, is_tls: bool) -> Option<Site> {
        let text = text.to_ascii_lowercase();
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, rest) = rest.split_once(']')?;
                let port = match rest {
                    "" => None,
                    rest => Some(rest.strip_prefix(':')?),
                };
                (address.to_owned(), port)
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host.to_owned(), Some(port)),
                None => (text.clone(), None),
            },
        };
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:%".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_host) {
            return None;
        }
        let usual = if is_tls { 443 } else { 80 };
        let port = match port {
            None | Some("") => usual,
            Some(port) => port.parse().ok()?,
        };
        Some(Site { is_tls, host, port })
    }

    /// The name of the cookie that a session of this site has.
    pub(super) fn cookie(&self) -> String {
        if self.is_tls {
            "__Host-harp".to_owned()
        } else {
            format!("harp_{}", self.port)
        }
    }

    /// True if a browser says this of a page of the site.
    #[must_use]
    pub fn is_origin(&self, said: &str) -> bool {
        let (is_tls, rest) = match said.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return false,
        };
        Site::parse(rest, is_tls).as_ref() == Some(self)
    }

    fn is_ours(&self, settings: &HttpSettings, secured: Option<&Secured>) -> bool {
        let host = self.host.strip_suffix('.').unwrap_or(&self.host);
        let certified = secured.map_or(&[][..], |secured| &secured.names);
        host.parse::<IpAddr>().is_ok()
            || host == "localhost"
            || settings.hosts.iter().any(|name| name == host)
            || certified.iter().any(|name| is_name(host, name))
    }
}

/// The authority of the target, or what `Host` says.
fn asked_for(uri: &Uri, headers: &HeaderMap) -> Result<String, Problem> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Problem::field("host", "stands here more than once"));
    }
    if let Some(authority) = uri.authority() {
        return Ok(authority.as_str().to_owned());
    }
    let host = host.ok_or_else(|| Problem::field("host", "missing"))?;
    let host = host.to_str();
    Ok(host
        .map_err(|_| Problem::field("host", "must be text"))?
        .to_owned())
}

/// True if a certificate's name is that of a host; `*` stands for its first label.
fn is_name(host: &str, certified: &str) -> bool {
    let certified = certified.to_ascii_lowercase();
    match certified.strip_prefix("*.") {
        None => certified == host,
        Some(domain) => host
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest == domain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_ours(said: &str) -> Option<bool> {
        let settings = HttpSettings {
            hosts: vec!["harp.example.net".to_owned()],
            ..HttpSettings::default()
        };
        let secured = Secured {
            names: vec!["*.example.org".to_owned()],
            is_http2: false,
        };
        Site::parse(said, true).map(|site| site.is_ours(&settings, Some(&secured)))
    }

    #[test]
    fn names_are_ours_or_not_whatever_the_port() {
        for ours in [
            "127.0.0.1:3580",
            "[::1]:3580",
            "[2001:db8::1]",
            "LOCALHOST",
            "Harp.Example.net:1",
            "a.example.org",
        ] {
            assert_eq!(is_ours(ours), Some(true), "{ours}");
        }
        for other in [
            "evil.example",
            "a.b.example.org",
            "example.org",
            "localhost.evil",
        ] {
            assert_eq!(is_ours(other), Some(false), "{other}");
        }
        for nonsense in ["", "a b", "user@localhost", "localhost:x", "[::1", "a:1:2"] {
            assert_eq!(is_ours(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let site = Site::parse("localhost:3580", false).unwrap();
        assert!(site.is_origin("http://localhost:3580"));
        for other in [
            "https://localhost:3580",
            "http://localhost",
            "null",
            "http://evil:3580",
        ] {
            assert!(!site.is_origin(other), "{other}");
        }
        let site = Site::parse("a.example.org", true).unwrap();
        assert!(
            site.is_origin("https://a.example.org") && site.is_origin("https://a.example.org:443")
        );
    }
}
