//! Which trace a program's calls are part of.

use std::fmt;
use std::sync::Arc;

use harp_proto::Traceparent;

use crate::Error;

/// A function of the program that knows which trace is being worked on.
#[derive(Clone)]
pub(crate) struct CurrentTrace(Arc<Current>);

type Current = dyn Fn() -> Option<String> + Send + Sync;

impl CurrentTrace {
    pub(crate) fn new(current: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        CurrentTrace(Arc::new(current))
    }

    /// What it says, if that is a `traceparent`.
    pub(crate) fn ask(&self) -> Option<String> {
        (self.0)().filter(|text| text.parse::<Traceparent>().is_ok())
    }
}

/// Refuses what is no `traceparent`.
///
/// # Errors
///
/// How it is written.
pub(crate) fn check(text: &str) -> Result<(), Error> {
    match text.parse::<Traceparent>() {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::invalid_input(format!(
            "traceparent: {text:?} is none; W3C Trace Context writes it as \
             00-TRACE-SPAN-FLAGS, with 32, 16 and 2 hexadecimal digits"
        ))),
    }
}

impl fmt::Debug for CurrentTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CurrentTrace")
    }
}
