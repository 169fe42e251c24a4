//! `HOST:PORT`, as addresses are written everywhere.

use std::net::Ipv6Addr;

/// Takes `HOST`, `HOST:PORT`, `[IPV6]:PORT` or an IPv6 address apart: the host without
/// brackets, and the port or else `default`. `None` if it is none of them; port 0 is none.
#[must_use]
pub fn host_and_port(text: &str, default: u16) -> Option<(&str, u16)> {
    let (host, port) = if text.parse::<Ipv6Addr>().is_ok() {
        (text, None)
    } else if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        match rest {
            "" => (host, None),
            _ => (host, Some(rest.strip_prefix(':')?)),
        }
    } else {
        match text.split_once(':') {
            None => (text, None),
            Some((host, port)) => (host, Some(port)),
        }
    };
    let port = match port {
        None => default,
        Some(port) => port.parse().ok()?,
    };
    let is_host = !host.is_empty() && !host.contains(char::is_whitespace);
    (is_host && port != 0).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_told_apart() {
        for (text, host, port) in [
            ("web", "web", 7),
            ("web:1", "web", 1),
            ("10.0.0.1:99", "10.0.0.1", 99),
            ("::1", "::1", 7),
            ("[::1]", "::1", 7),
            ("[::1]:65535", "::1", 65535),
        ] {
            assert_eq!(host_and_port(text, 7), Some((host, port)), "{text}");
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
            "[::1",
            "a b",
        ] {
            assert_eq!(host_and_port(text, 7), None, "{text}");
        }
    }
}
