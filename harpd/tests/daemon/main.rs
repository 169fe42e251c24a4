//! harpd as its callers and its operator see it: the real binary, real TLS, real scripts.

mod cancel;
mod failures;
mod host;
mod operation;
mod output;
mod requests;
mod start;
