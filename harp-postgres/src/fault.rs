//! What can go wrong between a node and its database.

use std::sync::Arc;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The database cannot be used at present; what was asked may have been done.
    #[error("PostgreSQL: {0}")]
    Away(Arc<str>),
    /// The term of this node is over; nothing was done.
    #[error("another dispatcher has ended this node's term in the cluster")]
    Fenced,
    /// Others were in the way; nothing was done, and it can be asked again.
    #[error("PostgreSQL: {0}")]
    Busy(Arc<str>),
    /// It cannot be done, however often it is asked; nothing was done.
    #[error("PostgreSQL: {0}")]
    Refused(Arc<str>),
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Fault {
        let Some(said) = error.as_db_error() else {
            return Fault::Away(with_causes(&error).into());
        };
        let why = said.message().into();
        match said.code().code() {
            "HF001" => Fault::Fenced,
            // Deadlock, serialization, lock not available.
            "40P01" | "40001" | "55P03" => Fault::Busy(why),
            code if ["22", "23", "P0", "XX"].contains(&&code[..2]) => Fault::Refused(why),
            _ => Fault::Away(why),
        }
    }
}

/// What an error says, and what is behind it.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
