//! Operations in the background, and the bell that an event loop hears when one has ended.
//!
//! The thread in the background never touches the interpreter: it writes a byte into a
//! socket that the loop watches, and the loop's own thread collects what there is.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use harp_client::Error;
use pyo3::prelude::*;
use tokio::runtime::Runtime;
use tokio::task::AbortHandle;

use crate::failure;
use crate::words::Words;
use crate::work::{Answer, Work};

/// The bell of one event loop.
#[pyclass(frozen, module = "harp._harp")]
pub(crate) struct Bell(Arc<Rope>);

/// What rings it. It has both ends, so that neither finds the other closed.
struct Rope {
    heard: UnixStream,
    ringing: UnixStream,
    rung: Mutex<Rung>,
}

#[derive(Default)]
struct Rung {
    ended: Vec<(u64, Result<Answer, Error>)>,
    /// Clients that have something to say.
    talking: Vec<Words>,
}

/// An operation that was started.
#[pyclass(frozen, module = "harp._harp")]
pub(crate) struct Running(AbortHandle);

impl Bell {
    /// Starts an operation; what it comes to will be collected by this number.
    pub(crate) fn start(
        &self,
        runtime: &Runtime,
        mut work: Work,
        number: u64,
        words: Words,
    ) -> Running {
        let rope = Arc::clone(&self.0);
        let task = runtime.spawn(async move {
            let ended = loop {
                tokio::select! {
                    ended = &mut work => break ended,
                    () = words.more() => rope.ring(|rung| rung.talking.push(words.clone())),
                }
            };
            rope.ring(|rung| {
                rung.talking.push(words);
                rung.ended.push((number, ended));
            });
        });
        Running(task.abort_handle())
    }
}

#[pymethods]
impl Bell {
    #[new]
    fn new() -> PyResult<Bell> {
        let (heard, ringing) = UnixStream::pair()?;
        heard.set_nonblocking(true)?;
        ringing.set_nonblocking(true)?;
        Ok(Bell(Arc::new(Rope {
            heard,
            ringing,
            rung: Mutex::default(),
        })))
    }

    /// The descriptor that can be read once the bell has rung.
    fn fileno(&self) -> i32 {
        self.0.heard.as_raw_fd()
    }

    /// What has ended since the last time: the number, whether it went well, and the object or
    /// the exception.
    fn collect(&self, py: Python<'_>) -> PyResult<Vec<(u64, bool, Py<PyAny>)>> {
        let mut bytes = [0; 256];
        // Emptied before the list is taken, so that what is added later rings again.
        while matches!((&self.0.heard).read(&mut bytes), Ok(read) if read == bytes.len()) {}
        let rung = std::mem::take(&mut *self.0.rung());
        for words in rung.talking {
            words.log(py)?;
        }
        let ended = rung.ended.into_iter().map(|(number, ended)| {
            let made = match ended {
                Ok(answer) => answer.into_python(py),
                Err(error) => Err(failure::exception(py, &error)),
            };
            match made {
                Ok(object) => (number, true, object),
                Err(error) => (number, false, error.into_value(py).into_any()),
            }
        });
        Ok(ended.collect())
    }
}

#[pymethods]
impl Running {
    /// Gives it up, if it has not ended.
    fn cancel(&self) {
        self.0.abort();
    }
}

impl Rope {
    fn ring(&self, change: impl FnOnce(&mut Rung)) {
        change(&mut self.rung());
        // A full socket has been ringing for long.
        let _ = (&self.ringing).write(&[0]);
    }

    fn rung(&self) -> MutexGuard<'_, Rung> {
        // Whole at any time: whatever panics has added its entry or not.
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
