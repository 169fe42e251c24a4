//! What goes wrong, as Python's exceptions.

use harp_client::{Error, ErrorKind};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// The module that has the package's exceptions.
const MODULE: &str = "harp._errors";

/// The exception for an error: `ValueError` if the input cannot be used, else one of
/// `harp._errors`, which decides by the name of the kind.
pub(crate) fn exception(py: Python<'_>, error: &Error) -> PyErr {
    if error.kind() == ErrorKind::InvalidInput {
        return PyValueError::new_err(error.to_string());
    }
    let kind = match error.kind() {
        ErrorKind::Protocol => "protocol",
        ErrorKind::Unsupported => "unsupported",
        kind if kind.is_refusal() => "refused",
        ErrorKind::Remote => "remote",
        ErrorKind::Exception => "exception",
        ErrorKind::Cancelled => "cancelled",
        _ => "communication",
    };
    made(
        py,
        "of_client",
        (
            kind,
            error.to_string(),
            error.wire_type(),
            error.wire_message(),
            error.data().map(|data| data.as_str()),
            error.is_retryable(),
            error.phase(),
        ),
    )
}

/// The exception for a process that was forked from one that has used the package.
pub(crate) fn forked(py: Python<'_>) -> PyErr {
    made(py, "forked", ())
}

fn made<'py>(
    py: Python<'py>,
    function: &str,
    arguments: impl pyo3::call::PyCallArgs<'py>,
) -> PyErr {
    let made = py
        .import(MODULE)
        .and_then(|module| module.getattr(function)?.call1(arguments));
    match made {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}
