//! Jobs that are kept in PostgreSQL, over a real server.

mod chaos;
mod contract;
mod daemon;
mod lost_answers;
mod nodes;
mod on_postgres;
mod relay;
mod two_nodes;
