//! Files of the dispatcher that others could change.

use std::path::Path;

use harp_service::exposure::{self, Exposed};

use super::Config;
use crate::hosts::Discovery;
use crate::listener::settings::ListenerSettings;

/// Files that others could change, of all that say who may do what, which hosts there are and
/// how to get into them: the configuration, keys, certificates, tokens, the registry
/// script and the discovery program. Blocks.
///
/// # Errors
///
/// All of it, one a line, if this process is root's and `allow_unsafe_permissions` is not
/// set. Otherwise it is what to warn of.
pub fn exposed(file: &Path, config: &Config) -> Result<Vec<String>, String> {
    let mut files = vec![file];
    files.extend(config.registry.script.as_deref());
    let discovery = config.registry.discovery.as_ref();
    files.extend(discovery.into_iter().flat_map(Discovery::files));
    files.extend(config.tokens_file.as_deref());
    if let Some(cluster) = &config.cluster {
        files.push(&cluster.url_file);
        files.extend(cluster.ca_file.as_deref());
    }
    files.extend(config.trust.ca_file.as_deref());
    files.extend(config.trust.known_certs_file.as_deref());
    let listeners = config.listeners.iter();
    for tls in listeners.filter_map(|listener: &ListenerSettings| listener.tls.as_ref()) {
        files.extend([&*tls.certificate, &tls.private_key]);
        files.extend(tls.client_ca_file.as_deref());
    }
    let files = files.into_iter();
    let found: Vec<Exposed> = files
        .filter_map(|file| exposure::check(file, None).err())
        .collect();
    let told = found.iter().map(ToString::to_string).collect::<Vec<_>>();
    let is_root = rustix::process::geteuid().is_root();
    if told.is_empty() || !is_root || config.allow_unsafe_permissions {
        return Ok(told);
    }
    Err(format!(
        "{}\nthe dispatcher runs as root, so it does not go by what others could change \
         (allow_unsafe_permissions)",
        told.join("\n")
    ))
}
