//! Lists of jobs, as an iterator.

use std::sync::Arc;

use super::driver::Driver;
use crate::{Error, ListedJob};

/// The jobs of a dispatcher, the newest first: [`crate::Jobs`]. An error is the last item.
#[derive(Debug)]
#[must_use = "iterators do nothing unless they are asked"]
pub struct Jobs {
    jobs: crate::Jobs,
    driver: Arc<Driver>,
    failed: bool,
}

impl Jobs {
    pub(super) fn new(jobs: crate::Jobs, driver: Arc<Driver>) -> Jobs {
        Jobs {
            jobs,
            driver,
            failed: false,
        }
    }
}

impl Iterator for Jobs {
    type Item = Result<ListedJob, Error>;

    fn next(&mut self) -> Option<Result<ListedJob, Error>> {
        if self.failed {
            return None;
        }
        let next = self.driver.run(self.jobs.next());
        self.failed = next.is_err();
        next.transpose()
    }
}
