//! Conversations with the dispatcher, byte for byte: what it has ever said to clients and
//! administrators, it goes on saying.
//!
//! A conversation is played, written down with `> ` before what is sent and `< ` before what
//! comes, and held against the file of its name in `recorded/`. What differs from one run to
//! the next has a name there: `JOB1`, `TIME`, `COUNT`, `PORT`, `PID`, `DIR`, `VERSION`.

mod administrators;
mod clients;
mod strangers;
mod transcript;
