//! The extension of the Python package `harp`: what `harp-client` does, as operations that
//! Python waits for.
//!
//! JSON goes in and out as text; `lib/harp` makes values of it, and everything else that a
//! user of the package sees. Every verb gives an [`Operation`](operation::Operation), which
//! is waited for by the thread that asks, or started in the background for asyncio.

#![forbid(unsafe_code)]

mod background;
mod dispatcher;
mod failure;
mod given;
mod host;
mod job;
mod operation;
mod outcome;
mod owned;
mod runtime;
mod words;
mod work;

use pyo3::prelude::pymodule;

/// What `harp` is built on; no part of its interface.
#[pymodule]
mod _harp {
    #[pymodule_export]
    use crate::background::{Bell, Running};
    #[pymodule_export]
    use crate::dispatcher::Dispatcher;
    #[pymodule_export]
    use crate::host::{DirectCall, Host};
    #[pymodule_export]
    use crate::job::{Job, Packets};
    #[pymodule_export]
    use crate::operation::Operation;
}
