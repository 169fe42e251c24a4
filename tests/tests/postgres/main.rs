//! Jobs that are kept in PostgreSQL, over a real server.

mod contract;
mod daemon;
mod lost_answers;
mod on_postgres;
mod relay;
