//! Files that a program is told to use by its operator.
//!
//! [`regular`] opens a file without waiting for anybody: a named pipe in its place is an
//! error, not a program that hangs. [`Kept`] is what was read from files, and reads them
//! again when they have changed. [`pem`] reads certificates and keys as people put them
//! there, [`certificate`] says which are outdated. [`append`] opens files that lines are added to. [`text`] passes over the byte order
//! marks that some editors write.
//!
//! Everything here blocks for as long as the file system takes; a task uses it by way of
//! [`Looks`], on threads that may block.

pub mod append;
pub mod certificate;
mod kept;
mod looks;
pub mod pem;
pub mod regular;
pub mod text;
mod watched;

pub use kept::{Content, Contents, Kept, Look};
pub use looks::Looks;
pub use watched::Watched;
