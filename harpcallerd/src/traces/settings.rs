//! The table `[traces]`.

use std::fmt;
use std::str::FromStr;

use harp_service::Table;

/// Where a collector takes spans when its address has no path.
const PATH: &str = "/v1/traces";

/// The port of collectors that is taken if none is given.
const PORT: u16 = 4318;

/// Where spans go, and of what.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceSettings {
    /// The collector.
    pub endpoint: Endpoint,
    /// Which part of what brings no trace begins one, from 0 to 1.
    pub sample: f64,
    /// What this dispatcher calls itself.
    pub service_name: String,
}

/// A collector that takes OTLP by HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name or address, as it stands in the URL.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The path.
    pub path: String,
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Endpoint, String> {
        let wrong = || format!("must be http://HOST:PORT or http://HOST:PORT/PATH, not {text:?}");
        if text.starts_with("https://") {
            return Err(
                "https is not spoken here: let a collector of this machine send spans on"
                    .to_owned(),
            );
        }
        let rest = text.strip_prefix("http://").ok_or_else(wrong)?;
        let (place, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let is_bare = place.ends_with(']') || !place.contains(':');
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !is_bare => (host, port.parse().map_err(|_| wrong())?),
            _ => (place, PORT),
        };
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if host.is_empty() || host.contains('@') || !is_plain(rest) || rest.contains('#') {
            return Err(wrong());
        }
        let path = match path {
            "" | "/" => PATH,
            path => path,
        };
        Ok(Endpoint {
            host: host.to_owned(),
            port,
            path: path.to_owned(),
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}{}", self.host, self.port, self.path)
    }
}

impl TraceSettings {
    /// Takes the table out of the configuration; `None` without an endpoint.
    pub(crate) fn take(table: &Table<'_>) -> Option<TraceSettings> {
        let traces = table.table("traces")?;
        let endpoint = traces.parsed::<Endpoint>("endpoint");
        let sample = traces.fraction("sample").unwrap_or(1.0);
        let service_name = traces.string("service_name");
        let endpoint = endpoint?;
        if !cfg!(feature = "traces") {
            traces.problem("endpoint", "this harpcallerd was built without traces");
        }
        Some(TraceSettings {
            endpoint,
            sample,
            service_name: service_name.unwrap_or_else(|| "harpcallerd".to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_has_a_place_and_a_path() {
        let read = |text: &str| {
            text.parse::<Endpoint>()
                .map(|endpoint| endpoint.to_string())
        };
        for (text, read_as) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://collector/", "http://collector:4318/v1/traces"),
            ("http://[::1]:9/x/y", "http://[::1]:9/x/y"),
            ("http://[::1]", "http://[::1]:4318/v1/traces"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(read_as));
        }
        for wrong in [
            "https://x:1",
            "x:1",
            "http://",
            "http://x:port",
            "http://u@x:1",
            "http://x y:1",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
