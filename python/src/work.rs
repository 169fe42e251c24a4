//! What operations do and what they come to.

use std::pin::Pin;

use harp_client::Error;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;

/// What an operation does; nothing happens before it is polled.
pub(crate) type Work = Pin<Box<dyn Future<Output = Result<Answer, Error>> + Send>>;

/// What it comes to, once there is an interpreter to make an object of it.
pub(crate) struct Answer(Box<MadeLater>);

type MadeLater = dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send;

impl Answer {
    pub(crate) fn new<T>(value: T) -> Answer
    where
        T: for<'py> IntoPyObject<'py> + Send + 'static,
    {
        Answer(Box::new(|py| value.into_py_any(py)))
    }

    pub(crate) fn none() -> Answer {
        Answer(Box::new(|py| Ok(py.None())))
    }

    pub(crate) fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        (self.0)(py)
    }
}
