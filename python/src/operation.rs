//! One thing that is asked, which Python waits for.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use harp_client::Error;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::background::{Bell, Running};
use crate::owned::Owned;
use crate::words::Words;
use crate::work::{Answer, Work};
use crate::{failure, runtime};

/// How often a thread that waits looks for signals.
const TICK: Duration = Duration::from_millis(100);

/// Something that is asked once it is waited for or started, once.
#[pyclass(frozen, module = "harp._harp")]
pub(crate) struct Operation {
    work: Mutex<Option<Owned<Work>>>,
    words: Words,
}

impl Operation {
    pub(crate) fn new(
        words: &Words,
        work: impl Future<Output = Result<Answer, Error>> + Send + 'static,
    ) -> Operation {
        let work: Work = Box::pin(work);
        Operation {
            work: Mutex::new(Some(Owned::new(work))),
            words: words.clone(),
        }
    }

    fn take(&self) -> PyResult<Work> {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = work.take().map(Owned::into_inner);
        taken.ok_or_else(|| PyRuntimeError::new_err("an operation is waited for once"))
    }
}

#[pymethods]
impl Operation {
    /// Waits for its end, with the interpreter free for other threads. A signal whose handler
    /// raises ends the wait, and what was asked is given up.
    fn wait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let runtime = runtime::waiting(py)?;
        let mut work = self.take()?;
        loop {
            let turn = py.detach(|| {
                // The timer belongs to the runtime, so it is made inside.
                runtime.block_on(async { tokio::time::timeout(TICK, &mut work).await })
            });
            self.words.log(py)?;
            match turn {
                Ok(Ok(answer)) => return answer.into_python(py),
                Ok(Err(error)) => return Err(failure::exception(py, &error)),
                Err(_) => py.check_signals()?,
            }
        }
    }

    /// Starts it in the background. The bell rings when it has ended; its `collect` then
    /// gives what it came to by this number.
    fn start(&self, py: Python<'_>, bell: &Bell, number: u64) -> PyResult<Running> {
        let runtime = runtime::background(py)?;
        Ok(bell.start(runtime, self.take()?, number, self.words.clone()))
    }
}
