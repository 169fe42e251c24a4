//! What there has to be in the database: tables, and the functions that change them.

use crate::connection::Server;
use crate::fault::Fault;

/// The layout of the tables that this release knows.
pub const LAYOUT: i32 = 1;

const TABLES: &str = include_str!("sql/tables.sql");
const FUNCTIONS: &str = include_str!("sql/functions.sql");

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// There is no schema.
    #[error("the database has no schema of HarpCaller: \"harpcallerd cluster init\" makes it")]
    Missing,
    /// Another release has made it.
    #[error(
        "the database has layout {0}, and this release knows layouts up to {LAYOUT}: run the \
         newer release, or for an older layout \"harpcallerd cluster init\" of this one"
    )]
    Layout(i32),
    /// It cannot be reached, or does not do what it is asked.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The statements that make schema and functions, in one transaction; made again they change
/// nothing. A role other than the one that makes them is given what nodes need.
#[must_use]
pub fn statements(for_role: Option<&str>) -> String {
    let grants = for_role.map_or_else(String::new, |role| {
        let role = quoted(role);
        format!(
            "grant usage on schema harp to {role};\n\
             grant select, insert, update, delete on all tables in schema harp to {role};\n\
             grant usage on all sequences in schema harp to {role};\n\
             grant execute on all functions in schema harp to {role};\n"
        )
    });
    format!("begin;\n{TABLES}\n{FUNCTIONS}\n{grants}commit;\n")
}

/// A name as PostgreSQL reads it, whatever is in it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Makes schema and functions, or brings those of an earlier release up to this one.
///
/// # Errors
///
/// If the database cannot be reached, a newer release has made its schema, or the role may not
/// make one; nothing is changed then.
pub async fn make(server: &Server, for_role: Option<&str>) -> Result<(), Unfit> {
    match check(server).await {
        Ok(()) | Err(Unfit::Missing) => {}
        Err(Unfit::Layout(layout)) if layout < LAYOUT => {}
        Err(unfit) => return Err(unfit),
    }
    let connection = server.connect().await?.for_start();
    Ok(connection.batch(&statements(for_role)).await?)
}

/// Whether the database has what this release needs.
///
/// # Errors
///
/// [`Unfit`].
pub async fn check(server: &Server) -> Result<(), Unfit> {
    let connection = server.connect().await?.for_start();
    let there = connection.rows(
        "select 1 from pg_tables where schemaname = 'harp' and tablename = 'meta'",
        &[],
    );
    if there.await?.is_empty() {
        return Err(Unfit::Missing);
    }
    let layout = connection.rows("select layout from harp.meta", &[]).await?;
    match layout.first().map(|row| row.get(0)) {
        Some(LAYOUT) => Ok(()),
        Some(other) => Err(Unfit::Layout(other)),
        None => Err(Unfit::Missing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_a_name_and_nothing_else() {
        let statements = statements(Some("a\"; drop schema harp; --"));
        assert!(statements.contains("to \"a\"\"; drop schema harp; --\";"));
        assert!(!super::statements(None).contains("grant "));
    }
}
