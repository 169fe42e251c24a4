//! Where a dispatcher's HTTP listener is: the URL, taken apart.

use crate::Error;
use crate::dispatcher::Address;

/// The path below which the API is, behind whatever a proxy puts before it.
const API: &str = "/api/v1";

/// A URL as a worker is given it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    /// Where to connect to.
    pub(super) address: Address,
    pub(super) is_tls: bool,
    /// What `Host` says.
    pub(super) authority: String,
    /// Before the API's own paths.
    pub(super) base: String,
}

impl Url {
    /// Reads `http://HOST[:PORT][/PREFIX]`, the same with `https`, or `unix:/PATH`.
    ///
    /// # Errors
    ///
    /// If it is none of them.
    pub(super) fn read(url: &str) -> Result<Url, Error> {
        let wrong = |why: &str| {
            Error::invalid_input(format!(
                "dispatcher URL {url:?}: {why}; it is written as in \
                 https://dispatcher.example.net:3580, or unix:/PATH on its own machine"
            ))
        };
        if url.starts_with("unix:/") {
            return Ok(Url {
                address: Address::read(url, 80)?,
                is_tls: false,
                authority: "localhost".to_owned(),
                base: API.to_owned(),
            });
        }
        let (is_tls, rest) = match url.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return Err(wrong("begins with neither http:// nor https://")),
        };
        let (authority, prefix) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if authority.contains('@') {
            return Err(wrong(
                "a token is not part of it, others could read it there",
            ));
        }
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"?#\"<>\\".contains(&byte);
        if !rest.bytes().all(is_plain) {
            return Err(wrong("has characters that do not belong there"));
        }
        let default = if is_tls { 443 } else { 80 };
        let (host, port) = harp_proto::host_and_port(authority, default)
            .ok_or_else(|| wrong("has no host, or a port that is none"))?;
        let prefix = prefix.trim_end_matches('/');
        let prefix = prefix.strip_suffix(API).unwrap_or(prefix);
        Ok(Url {
            address: Address::Tcp {
                host: host.to_owned(),
                port,
            },
            is_tls,
            authority: authority.to_owned(),
            base: format!("{prefix}{API}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, address, is_tls, base) in [
            ("http://web:3580", "web:3580", false, "/api/v1"),
            ("http://web/", "web:80", false, "/api/v1"),
            ("https://web", "web:443", true, "/api/v1"),
            ("http://[::1]:7/a/b/", "[::1]:7", false, "/a/b/api/v1"),
            ("http://web:1/a/api/v1", "web:1", false, "/a/api/v1"),
            ("unix:/run/http", "unix:/run/http", false, "/api/v1"),
        ] {
            let place = Url::read(url).unwrap();
            let shown = place.address.to_string();
            let read = (shown.as_str(), place.is_tls, place.base.as_str());
            assert_eq!(read, (address, is_tls, base), "{url}");
        }
        for url in [
            "web:3580",
            "ftp://web",
            "http://",
            "http://:1",
            "http://web:x",
            "http://me:secret@web",
            "http://web/a b",
            "http://web/?q",
            "unix:relative",
        ] {
            let error = Url::read(url).unwrap_err().to_string();
            assert!(error.contains("dispatcher URL"), "{url}: {error}");
        }
    }
}
