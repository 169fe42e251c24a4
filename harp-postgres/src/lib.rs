//! The ledger of dispatchers that keep their jobs in PostgreSQL.
//!
//! [`Postgres`] is a ledger behind the core's door. What is decided about jobs is decided in the
//! database, by functions that each statement calls one of ([`schema`]): the commit that frees a
//! place gives it to the next. ARCHITECTURE.md, "Jobs in PostgreSQL",
//! describes how requests come to it.

mod act;
mod columns;
mod connection;
mod digest;
mod fault;
mod lanes;
mod postgres;
mod record;
pub mod schema;
mod told;

pub use self::connection::Server;
pub use self::fault::Fault;
pub use self::postgres::{Node, NotOpened, Options, Postgres};
