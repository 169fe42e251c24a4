//! Changes of papers.

use harp_jobs::ledger::{Edited, PaperEdit};

use super::{Round, Trouble};
use crate::store::papers;

impl Round<'_> {
    /// Writes, replaces or removes a paper, in one batch.
    pub(super) fn edit_paper(&mut self, edit: &PaperEdit) -> Result<Edited, Trouble> {
        // What is in the batch is read, and what follows has a batch of its own.
        self.apply().map_err(Trouble::Failed)?;
        let found = papers::read(self.engine, edit.id)?;
        let (found, parts_before) = match found {
            Some((paper, parts)) => (Some(paper), parts),
            None => (None, 0),
        };
        let wanted = match edit.over(found.as_ref()) {
            Ok(wanted) => wanted,
            Err(edited) => return Ok(edited),
        };
        self.becomes_newest();
        let parts = wanted.as_ref().map(papers::parts).unwrap_or_default();
        let mut count = 0;
        for part in parts {
            self.batch.insert(&papers::key(edit.id, count), &part);
            count += 1;
        }
        for left_over in count..parts_before {
            self.batch.remove(&papers::key(edit.id, left_over));
        }
        self.apply().map_err(Trouble::Failed)?;
        Ok(Edited::Done)
    }
}
