//! Drives a future to its end.

use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::Error;

/// A runtime of one's own, on the thread that waits.
#[derive(Debug)]
pub(super) struct Driver {
    /// Taken when it is dropped.
    runtime: Option<Runtime>,
}

impl Driver {
    pub(super) fn start() -> Result<Arc<Driver>, Error> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| {
                Error::own_system(format!(
                    "blocking: this system cannot start a runtime: {error}"
                ))
                .with_source(error)
            })?;
        Ok(Arc::new(Driver {
            runtime: Some(runtime),
        }))
    }

    /// Runs the future to its end. From several threads at once, too.
    pub(super) fn run<T>(
        &self,
        future: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        match &self.runtime {
            Some(runtime) if Handle::try_current().is_err() => runtime.block_on(future),
            _ => Err(Error::invalid_input(
                "harp_client::blocking: called inside an async runtime, whose other tasks would \
                 stand still; use harp_client::HarpCaller and HarpServer there",
            )),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // The usual end waits for a look-up that is under way, which an async runtime
            // around it would not allow.
            runtime.shutdown_background();
        }
    }
}
