//! Judging a host's certificate (daemon, "How a host's certificate is judged"). A
//! dispatcher's is judged by the same rules.
//!
//! A [`Trust`] stands for the operator's choice: a CA file, a file of known
//! certificates, both or neither. It looks at the files before every call: a change takes
//! effect with the next handshake, and no resumed session outlives the decision that it was
//! made under.

pub use harp_host::tls::{Fingerprint, NotAFingerprint, Trust, TrustError, TrustFiles};
