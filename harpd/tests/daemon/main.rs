//! harpd as its callers and its operator see it: the real binary, real TLS, real scripts.

mod cancel;
mod choria;
mod choria_packages;
mod descendants;
mod error_types;
mod exposed;
mod failures;
mod host;
mod kept;
mod last_words;
mod memory;
mod operation;
mod original;
mod output;
mod progress;
mod python;
mod python_server;
mod requests;
mod standstill;
mod start;
mod stop;
mod streams;
mod surroundings;
mod terminal;
mod tls;
mod users;
