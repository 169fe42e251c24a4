//! A runner with what it takes to look, for each call, whether that could be started: on a
//! thread that may block, one look at a time. A procedure on a file system that hangs keeps
//! one thread and its own callers waiting, and nobody else.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use harp_files::Looks;

use crate::program::CannotStart;
use crate::runner::Runner;

/// A runner that is looked at before each start.
#[derive(Debug)]
pub struct Checked {
    runner: Arc<Runner>,
    looks: Looks<Result<PathBuf, Arc<CannotStart>>>,
}

impl Checked {
    /// Looks whether the procedure could be started now, and which file it is then; an empty
    /// path for a function. As long as the file system takes. Cancel safe.
    ///
    /// # Errors
    ///
    /// Why not.
    pub async fn look(&self) -> Result<PathBuf, Arc<CannotStart>> {
        match &*self.runner {
            // Its state changes by itself.
            Runner::Python(_) | Runner::Harpd => Ok(PathBuf::new()),
            Runner::Command(_) | Runner::Agent(_) => self.looks.look().await,
        }
    }
}

impl From<Runner> for Checked {
    fn from(runner: Runner) -> Checked {
        let runner = Arc::new(runner);
        let looked_at = Arc::clone(&runner);
        Checked {
            runner,
            looks: Looks::new(move || looked_at.check().map_err(Arc::new)),
        }
    }
}

impl Deref for Checked {
    type Target = Runner;

    fn deref(&self) -> &Runner {
        &self.runner
    }
}
