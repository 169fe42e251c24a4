//! The runtimes that drive operations: one on the threads that wait, one in the background.

use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pyo3::prelude::*;
use tokio::runtime::{Builder, Runtime};

use crate::failure;

/// The process that has used a runtime; 0 as long as none has.
static USER: AtomicU32 = AtomicU32::new(0);

/// Runs on whichever thread waits, so that nothing goes on when nobody does.
static WAITING: OnceLock<Runtime> = OnceLock::new();

/// Runs on one thread of its own: for asyncio, whose loop must not stand still.
static BACKGROUND: OnceLock<Runtime> = OnceLock::new();

/// How long a thread that has looked at files or a name for others stays idle. Next to nothing,
/// so that none is left when nobody waits any more.
const IDLE: Duration = Duration::from_millis(1);

/// The runtime for a thread that waits.
///
/// # Errors
///
/// `harp.ForkedError` in a process that was forked from one that has used a runtime.
pub(crate) fn waiting(py: Python<'_>) -> PyResult<&'static Runtime> {
    claim(py)?;
    Ok(started(&WAITING, || {
        Builder::new_current_thread()
            .thread_keep_alive(IDLE)
            .enable_all()
            .build()
    })?)
}

/// The runtime in the background.
///
/// # Errors
///
/// Those of [`waiting`].
pub(crate) fn background(py: Python<'_>) -> PyResult<&'static Runtime> {
    claim(py)?;
    Ok(started(&BACKGROUND, || {
        Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("harp")
            .thread_keep_alive(IDLE)
            .enable_all()
            .build()
    })?)
}

/// True in a process that was forked from one that has used a runtime: its connections are
/// still those of that one, and whatever the runtime is told would be told to both.
pub(crate) fn is_forked() -> bool {
    let user = USER.load(Ordering::Relaxed);
    user != 0 && user != process::id()
}

fn claim(py: Python<'_>) -> PyResult<()> {
    if is_forked() {
        return Err(failure::forked(py));
    }
    USER.store(process::id(), Ordering::Relaxed);
    Ok(())
}

fn started(
    place: &'static OnceLock<Runtime>,
    build: impl Fn() -> std::io::Result<Runtime>,
) -> std::io::Result<&'static Runtime> {
    if let Some(runtime) = place.get() {
        return Ok(runtime);
    }
    let built = build()?;
    // Another thread may have been faster.
    Ok(place.get_or_init(|| built))
}
