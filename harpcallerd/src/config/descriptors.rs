//! Whether the descriptors that the configuration speaks of fit the limit of open files.

use super::Config;

/// Descriptors for all but clients: the store, the log, names that are looked up, a few calls.
const OTHERS: u64 = 256;

/// Connections that there may be however low the limit is.
const LEAST: u64 = 16;

/// How many connections of clients fit this limit of open files, so that the rest is left for
/// calls, the registry, the store and administrators; at least 16.
#[must_use]
pub fn connections_that_fit(limit: Option<u64>) -> usize {
    let fit = limit.map_or(u64::MAX, |limit| limit.saturating_sub(OTHERS).max(LEAST));
    usize::try_from(fit).unwrap_or(usize::MAX)
}

/// What cannot be, and what can, if the connections that there may be do not fit this limit of
/// open files. Each takes a descriptor, and so does each running call, of whose number the
/// configuration does not say.
#[must_use]
pub fn too_many_descriptors(config: &Config, limit: Option<u64>) -> Option<String> {
    let limit = limit?;
    let connections = u64::try_from(config.clients.max_connections).unwrap_or(u64::MAX);
    let needed = connections.saturating_add(OTHERS);
    (needed > limit).then(|| {
        let fit = connections_that_fit(Some(limit));
        format!(
            "max_connections = {connections} takes {needed} descriptors with the {OTHERS} for all \
             else, and {limit} may be open: {fit} connections fit, more are refused; lower it, or \
             raise the limit (LimitNOFILE= of the unit, ulimit -Hn)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_and_what_fits_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("harpcaller.toml");
        let text = "stream_directory = '/s'\nhost_db_script = '/h'\nhost_db = '/c'\n\
                    max_connections = 1000\n";
        std::fs::write(&file, text).unwrap();
        let (config, _) = Config::read(&file).unwrap();
        assert_eq!(too_many_descriptors(&config, None), None);
        assert_eq!(too_many_descriptors(&config, Some(1256)), None);
        assert_eq!(connections_that_fit(None), usize::MAX);
        assert_eq!(connections_that_fit(Some(100)), 16);
        let told = too_many_descriptors(&config, Some(1024)).unwrap();
        for named in ["max_connections = 1000", "1256", "1024", "768 connections"] {
            assert!(told.contains(named), "{told}");
        }
    }
}
