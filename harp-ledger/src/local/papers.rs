//! Papers: what is kept beside jobs. All that are durable are in memory, too.

use harp_jobs::ledger::*;
use harp_values::JobId;
use tokio::sync::oneshot;

use super::{Local, lost, unexpected};
use crate::store::{Change, Deed, Done, Made, Reply, StoreError};

impl Local {
    pub(super) fn edit_paper(&self, edit: PaperEdit) -> Answer<Edited, Lost> {
        let state = self.state();
        if state.is_closed {
            return Answer::now(Err(Lost::Closed));
        }
        let longest = edit.text.as_ref().map_or(0, bytes::Bytes::len);
        if longest > Paper::LONGEST {
            let why = format!("a paper has {} bytes at most", Paper::LONGEST);
            return Answer::now(Err(Lost::Refused(why.into())));
        }
        let (answer, receipt) = Local::receipt();
        let reply = Editing {
            ledger: self.clone(),
            edit: edit.clone(),
            answer,
        };
        let change = Change::Deed(Deed::Paper(edit));
        self.0
            .store
            .push(JobId::NONE, longest, change, Box::new(reply));
        receipt
    }

    pub(super) fn read_papers(&self, kind: PaperKind) -> Answer<Vec<Paper>, Unreadable> {
        self.look(|state| {
            let papers = state.papers.values();
            papers
                .filter(|paper| paper.id.kind == kind)
                .cloned()
                .collect()
        })
    }
}

/// A change of a paper on its way to the disk.
struct Editing {
    ledger: Local,
    edit: PaperEdit,
    answer: oneshot::Sender<Result<Edited, Lost>>,
}

impl Reply for Editing {
    fn done(self: Box<Self>, done: Result<Done, StoreError>) {
        let edited = match done {
            Ok(Done::Made(Made::Edited(edited))) => {
                self.edited(&edited);
                Ok(edited)
            }
            Ok(_) => Err(unexpected()),
            Err(error) => Err(lost(error)),
        };
        // Whoever asked may be gone.
        let _ = self.answer.send(edited);
    }
}

impl Editing {
    fn edited(&self, edited: &Edited) {
        if *edited != Edited::Done {
            return;
        }
        let mut state = self.ledger.state();
        let id = self.edit.id;
        match self.edit.over(state.papers.get(&id)) {
            Ok(Some(paper)) => drop(state.papers.insert(id, paper)),
            Ok(None) => drop(state.papers.remove(&id)),
            // It was there before.
            Err(_) => {}
        }
    }
}
