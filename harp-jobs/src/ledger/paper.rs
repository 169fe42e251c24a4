//! Papers: what is kept beside jobs, such as the services whose jobs workers fetch. A paper
//! is replaced whole, by whoever knows which one was there.

use bytes::Bytes;

/// Which paper is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PaperId {
    /// What it is about.
    pub kind: PaperKind,
    /// Its name among those of its kind.
    pub name: u128,
}

/// What papers are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PaperKind {
    /// A service whose jobs workers fetch.
    Service = b's',
    /// What a worker has said so far of a job that goes on.
    Draft = b'd',
    /// What is known of devices.
    Devices = b'v',
    /// What a host has said of its procedures.
    Learned = b'l',
}

/// A paper as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paper {
    /// Which one it is.
    pub id: PaperId,
    /// How often it has been written, from 1 on.
    pub revision: u64,
    /// What it says; at most [`Paper::LONGEST`] bytes.
    pub text: Bytes,
}

impl PaperKind {
    /// All of them.
    pub const ALL: [PaperKind; 4] = [
        PaperKind::Service,
        PaperKind::Draft,
        PaperKind::Devices,
        PaperKind::Learned,
    ];
}

impl Paper {
    /// The greatest length of a text, in bytes.
    pub const LONGEST: usize = 1024 * 1024 * 1024;
}

/// A change of one paper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaperEdit {
    /// Which one.
    pub id: PaperId,
    /// The revision that it replaces; 0 if there is none.
    pub over: u64,
    /// What it says from now on; `None` if there is to be none.
    pub text: Option<Bytes>,
}

/// What a change of a paper has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edited {
    /// It is made. Made again, it comes to the same.
    Done,
    /// Nothing is changed: this is there, and it is not the one that was to be replaced.
    Other(Option<Paper>),
}

impl PaperEdit {
    /// What the change comes to where this paper is found: what is to be there then, or why
    /// nothing is changed.
    ///
    /// # Errors
    ///
    /// What the edit has come to without a change.
    pub fn over(&self, found: Option<&Paper>) -> Result<Option<Paper>, Edited> {
        let revision = found.map_or(0, |paper| paper.revision);
        let wanted = self.text.clone().map(|text| Paper {
            id: self.id,
            revision: self.over + 1,
            text,
        });
        match () {
            // As this one was asked for before.
            () if found == wanted.as_ref() => Err(Edited::Done),
            () if revision == self.over => Ok(wanted),
            () => Err(Edited::Other(found.cloned())),
        }
    }
}
