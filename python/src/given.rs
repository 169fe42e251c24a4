//! What Python gives, as `harp-client` takes it.

use std::time::Duration;

use harp_client::Json;
use harp_client::tls::Fingerprint;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// JSON text that Python has made.
pub(crate) fn json(what: &str, text: &str) -> PyResult<Json> {
    text.parse()
        .map_err(|error| PyValueError::new_err(format!("{what}: cannot be sent: {error}")))
}

/// A certificate's SHA-256 in hexadecimal digits.
pub(crate) fn fingerprint(text: &str) -> PyResult<Fingerprint> {
    text.parse()
        .map_err(|error| PyValueError::new_err(format!("fingerprint {text:?}: {error}")))
}

/// A time limit; as long as can be for one that is longer than a clock counts.
pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}
