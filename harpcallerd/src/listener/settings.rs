//! The tables `[[listener]]` and `[[listen_http]]` of the configuration.

use harp_service::{ListenAddress, Table};

use super::{TlsFiles, UnixPlace};
use crate::faces::http::settings::HttpSettings;

/// One `[[listener]]`, or one `[[listen_http]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Place at which it listens.
    pub place: ListenerPlace,
    /// TLS, on an address; plain TCP without.
    pub tls: Option<TlsFiles>,
    /// Whether a client has to authenticate before it may ask anything.
    pub requires_authentication: bool,
    /// What is spoken there.
    pub speaks: Speaks,
}

/// The wires that clients come by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Speaks {
    /// The client protocol.
    Lines,
    /// HTTP. In a box, since few listeners have it.
    Http(Box<HttpSettings>),
}

/// Place at which a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerPlace {
    /// An address of the network.
    Address(ListenAddress),
    /// A Unix socket.
    Path(UnixPlace),
}

impl ListenerSettings {
    /// Takes the keys of one `[[listen_http]]`, as [`ListenerSettings::take`] does.
    pub(crate) fn take_http(table: &Table<'_>, has_tokens: bool) -> Option<ListenerSettings> {
        let speaks = Speaks::Http(Box::new(HttpSettings::take(table)));
        let settings = ListenerSettings::take(table, has_tokens)?;
        Some(ListenerSettings { speaks, ..settings })
    }

    /// What is to be said of a listener for HTTP without TLS that others can reach.
    #[must_use]
    pub fn in_the_clear(&self) -> Option<String> {
        let (Speaks::Http(_), None, ListenerPlace::Address(address)) =
            (&self.speaks, &self.tls, &self.place)
        else {
            return None;
        };
        (!address.is_loopback()).then(|| {
            format!(
                "listen_http: others can reach {address}, and it has no TLS: who listens in \
                 between reads tokens and everything else; set certificate and private_key, or \
                 listen on loopback behind a proxy that has TLS"
            )
        })
    }

    /// Takes the keys of one `[[listener]]`. `has_tokens` says whether there is a `tokens_file`.
    /// `None` if it does not say where to listen, which is then noted as a problem.
    pub(crate) fn take(table: &Table<'_>, has_tokens: bool) -> Option<ListenerSettings> {
        let address = table.parsed::<ListenAddress>("address");
        let path = table.path("path");
        let tls = take_tls(table);
        let requires_authentication = table.boolean("require_authentication").unwrap_or(true);
        let mode = take_mode(table);
        let (owner, group) = (table.string("owner"), table.string("group"));
        let place = match (address, path) {
            (Some(_), Some(_)) => {
                table.problem("path", "cannot stand beside address");
                return None;
            }
            (Some(address), None) => {
                for key in ["mode", "owner", "group"] {
                    if table.ignore(key) {
                        table.problem(key, "is for a Unix socket, which has a path");
                    }
                }
                let has_certificates = tls.as_ref().is_some_and(|tls| tls.client_ca_file.is_some());
                if requires_authentication && !has_certificates && !has_tokens {
                    table.problem(
                        "require_authentication",
                        "nobody could authenticate here: set tokens_file, or client_ca_file, \
                         or require_authentication = false",
                    );
                }
                ListenerPlace::Address(address)
            }
            (None, Some(path)) => {
                if tls.is_some() {
                    table.problem(
                        "certificate",
                        "TLS is for an address, not for a Unix socket",
                    );
                }
                ListenerPlace::Path(UnixPlace {
                    path,
                    mode,
                    owner,
                    group,
                })
            }
            (None, None) => {
                if !table.ignore("address") && !table.ignore("path") {
                    table.problem("address", "missing: either address or path must be set");
                }
                return None;
            }
        };
        Some(ListenerSettings {
            place,
            tls,
            requires_authentication,
            speaks: Speaks::Lines,
        })
    }
}

fn take_tls(table: &Table<'_>) -> Option<TlsFiles> {
    let certificate = table.path("certificate");
    let private_key = table.path("private_key");
    let client_ca_file = table.path("client_ca_file");
    if certificate.is_none() && private_key.is_none() {
        if client_ca_file.is_some() {
            table.problem("client_ca_file", "needs certificate and private_key");
        }
        return None;
    }
    Some(TlsFiles {
        certificate: table.required("certificate", certificate)?,
        private_key: table.required("private_key", private_key)?,
        client_ca_file,
    })
}

/// The permission bits of a Unix socket, in octal.
fn take_mode(table: &Table<'_>) -> u32 {
    const DEFAULT: u32 = 0o660;
    let Some(text) = table.string("mode") else {
        return DEFAULT;
    };
    match u32::from_str_radix(&text, 8) {
        Ok(mode) if mode <= 0o777 => mode,
        _ => {
            let problem = format!("must be octal permission bits such as \"0660\", not {text:?}");
            table.problem("mode", problem);
            DEFAULT
        }
    }
}
